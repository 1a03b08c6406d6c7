"""A node that was never seen, or has other parts, is measured first, and kept out meanwhile if people want that."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller import events
from controller.bench_events import BenchAsked, BenchEnded
from controller.policy.benching.bench_rules import BenchRules
from controller.policy.benching.scheduling import scheduled
from controller.policy.benching.when import Admission, WhenRules
from controller.policy.folds.admissions import FOUND_S
from controller.policy.playbook import ADMISSION
from controller.policy.rules import BreakerRule, Budget, Rules
from controller.policy.scopes import FLEET
from tests.support.bench_policy import result_like
from tests.support.policy import PolicyRun
from tests.support.shipped import SHIPPED
from wire.messages import NodeFacts

BOOK = next(each for each in SHIPPED if each.name == "node_admission")
ORDERS = ["bench", "run_checks"]


def facts(*serials: str, orders: list[str] = ORDERS, host: str = "") -> NodeFacts:
    devices = {
        f"GPU-{number}": f"gpu {number} NVIDIA H100 serial {serial} at 0000:{number:02x}:00"
        for number, serial in enumerate(serials)
    }
    return NodeFacts(gpu_count=len(serials), devices=devices, orders_allowed=orders, serial=host)


def a_fleet(admission: Admission = Admission.HOLD, *, budget: int = 4) -> PolicyRun:
    """Return a fleet of one node, an hour old."""
    bench, when = BenchRules(idle_by="slurm"), WhenRules(admission=admission)
    rules = Rules((BOOK,), Budget(nodes=budget), domains=(), bench=bench, when=when)
    run = PolicyRun(rules)
    come(run, "old", facts("A", "B", host="S1"))
    run.wait(FOUND_S + 1)
    return run


def come(run: PolicyRun, name: str, what: NodeFacts) -> list[events.Event]:
    """A node says what it is, and its scheduler that it is free."""
    return run.say(
        events.PresenceChanged(name, "online", "so"),
        events.ScheduleObserved(name, True, "", "", [], run.now, responding=True),
        events.NodeSeen(name, "boot-1", what),
    )


def due(run: PolicyRun) -> dict[str, str]:
    return {name: each.because for name, each in run.belief.bench.due.items()}


def end_run(run: PolicyRun, outcome: str) -> None:
    """Every benchmark of the new node's open run comes back so."""
    while (lease := run.belief.bench.lease_of("n1")) is not None:
        run.say(BenchEnded("n1", lease.lease_id, result_like(outcome, lease.benchmark), run.now, run.now))


def test_who_is_new() -> None:
    run = a_fleet(Admission.OFF)
    assert due(run) == {}, "who was there from the beginning is not new"
    come(run, "n1", facts("C"))
    come(run, "n2", facts("D", orders=["run_checks"]))
    come(run, "n3", facts())
    assert due(run) == {"n1": "n1 was never seen before."}, "who cannot be measured is not waited for"


def test_who_has_other_parts() -> None:
    run = a_fleet(Admission.OFF)
    come(run, "old", facts("A", "C", host="S1"))
    assert due(run) == {"old": "old has other parts: C."}


def test_who_is_another_machine() -> None:
    run = a_fleet(Admission.OFF)
    come(run, "old", facts("A", "B", host="S2"))
    assert due(run) == {"old": "old is another machine: its serial number was S1, and is S2."}


def test_a_part_that_is_back_is_no_new_one() -> None:
    """A GPU that fell off the bus is missing until the reboot."""
    run = a_fleet(Admission.OFF)
    come(run, "old", facts("A", host="S1"))
    come(run, "old", facts("B", "A", host="S1"))
    assert (due(run), run.belief.bench.departed) == ({}, {})
    come(run, "old", facts("B", host="S1"))
    come(run, "n1", facts("X"))
    come(run, "n1", facts("X", "A"))
    assert due(run)["n1"] == "n1 has other parts: A.", "it was in another node before"


def test_a_driver_that_answers_late_brings_no_new_parts() -> None:
    run = a_fleet(Admission.OFF)
    come(run, "old", facts(host="S1"))
    come(run, "old", facts("A", "B", host="S1"))
    assert due(run) == {}


def test_measured_first_when_it_is_idle() -> None:
    run = a_fleet(Admission.MEASURE)
    assert come(run, "n1", facts("C")) == []
    first, second = scheduled(run.belief, run.rules, run.now)
    assert (first.nodes, first.purpose, len(first.benchmarks)) == (["n1"], "admission", 5)
    assert first.because.startswith("n1 was never seen before. GPU-minutes that each")
    assert second.purpose == "idle"
    run.say(first)
    end_run(run, "pass")
    assert due(run) == {}


def test_what_others_ask_for_admits_nobody() -> None:
    run = a_fleet(Admission.MEASURE)
    come(run, "n1", facts("C"))
    run.say(BenchAsked("run-1", ["n1"], ["storage"], 1, "operator", "kim", "to see"))
    end_run(run, "pass")
    assert due(run) == {"n1": "n1 was never seen before."}


@pytest.mark.parametrize("outcome", ["skip", "error", "fail"])
def test_what_was_not_measured_is_still_due(outcome: str) -> None:
    run = a_fleet(Admission.MEASURE)
    come(run, "n1", facts("C"))
    run.say(scheduled(run.belief, run.rules, run.now)[0])
    end_run(run, outcome)
    assert due(run) == {"n1": "n1 was never seen before."}
    assert all(each.nodes != ["n1"] for each in scheduled(run.belief, run.rules, run.now)), "not at once again"


def held(run: PolicyRun) -> None:
    """A new node is cordoned and empty, and its fresh look passed."""
    come(run, "n1", facts("C"))
    assert run.verbs("n1") == ["cordon"]
    for _ in ("cordon", "drain"):
        run.end(run.under_way("n1")[0])
    run.order_ended(run.under_way("n1")[0])


def test_i6_held_until_its_benchmarks_passed() -> None:
    run = a_fleet()
    held(run)
    (asked,) = run.belief.bench.open()
    assert (asked.benchmarks, asked.purpose) == (("gpu_bandwidth", "gemm", "nccl_all_reduce"), "verify")
    end_run(run, "pass")
    assert run.verbs("n1")[-1] == "uncordon"
    run.end(run.under_way("n1")[0])
    assert run.incident().outcome == "returned"
    assert ADMISSION not in run.belief.nodes["n1"].findings
    assert due(run) == {}
    come(run, "n1", facts("C"))
    assert due(run) == {}, "it is known now"


def test_a_failure_is_for_people_and_the_node_stays_out() -> None:
    run = a_fleet()
    held(run)
    end_run(run, "fail")
    assert run.verbs("n1")[-1] == "ticket"
    assert list(run.belief.held) == ["n1"]


def test_a_node_without_the_means_is_let_in_and_not_held_again() -> None:
    run = a_fleet()
    held(run)
    for _ in range(2):
        end_run(run, "skip")
        run.wait(10)
        run.order_ended(run.under_way("n1")[0])
    end_run(run, "skip")
    run.end(run.under_way("n1")[0])
    assert run.incident().outcome == "returned"
    assert (due(run), ADMISSION in run.belief.nodes["n1"].findings, len(run.belief.incidents)) == ({}, False, 1)


def test_a_clock_that_is_set_back_lets_the_policy_rest() -> None:
    run = a_fleet()
    held(run)
    run.now -= 1_000.0
    end_run(run, "pass")
    assert ADMISSION in run.belief.nodes["n1"].findings
    run.wait(1_001.0)
    assert ADMISSION not in run.belief.nodes["n1"].findings


def test_i5_a_person_who_lets_it_in_is_not_contradicted() -> None:
    run = a_fleet()
    held(run)
    run.say(events.OperatorActed("uncordon", "n1", "kim", "it is needed"))
    run.end(run.under_way("n1")[0])
    assert run.incident().outcome == "cancelled"
    run.wait(3600)
    assert (len(run.belief.incidents), due(run)) == (1, {})


def test_i2_new_nodes_count_in_the_budget_and_open_no_breaker() -> None:
    run = a_fleet(budget=3)
    breaker = BreakerRule(FLEET, Budget(nodes=1), window_s=600.0, cooldown_s=600.0)
    run.rules = replace(run.rules, breakers=(breaker,))
    for number in range(6):
        come(run, f"new{number}", facts(f"S{number}"))
    assert len(run.belief.held) == 3
    assert {each.fault_class for each in run.belief.open_incidents.values()} == {"node_admission"}
    assert run.belief.failures.recent == [], "it is no failure of the node"


def test_a_change_of_mind_lets_go_of_those_that_are_not_out_yet() -> None:
    run = a_fleet(budget=0)
    come(run, "n1", facts("C"))
    assert run.belief.open_incidents
    run.rules = replace(run.rules, when=WhenRules(admission=Admission.MEASURE))
    run.decide()
    assert not run.belief.open_incidents
    assert run.incident().outcome == "recovered"
