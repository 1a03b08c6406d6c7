"""Leases: never more at once than people allow, to nobody who works, and over by themselves."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks.bench_outcome import Outcome
from checks.finding import Action, Finding, Verdict
from controller import events
from controller.bench_events import (
    BenchAsked,
    BenchEnded,
    BenchJudged,
    BenchRunEnded,
    BenchStopped,
    BenchWaiting,
    LeaseEnded,
    LeaseGranted,
)
from controller.policy import folding
from controller.policy.belief import Belief
from controller.policy.benching.bench_rules import BenchRules
from controller.policy.benching.leasing import leased_in
from controller.policy.benching.orders import order_id
from controller.policy.rules import Freeze
from controller.policy.scopes import FLEET, Scope
from tests.support.bench_policy import BenchRun, memory_read, result_of

FINE = result_of(memory_read(2_600.0))
NODES = tuple(f"n{number}" for number in range(1, 13))


def cell(**at_once: int) -> BenchRun:
    """Return twelve idle nodes, three in each of four racks, below two leaf switches."""
    made = BenchRun()
    rules = BenchRules(at_once=at_once or {"fleet": 100}, idle_by="slurm")
    made.run.rules = replace(made.run.rules, bench=rules)
    for number, node in enumerate(NODES):
        made.nodes(node, rack=f"r{number // 3}", leaf=f"leaf-{number // 6}")
    return made


def leased(made: BenchRun) -> list[str]:
    return sorted(made.run.belief.bench.leased)


def skipped(made: BenchRun) -> dict[str, str]:
    judged = [entry.event for entry in made.run.log if isinstance(entry.event, BenchJudged)]
    return {event.node: event.because for event in judged if event.outcome == Outcome.SKIP}


def waits(made: BenchRun) -> list[str]:
    return [entry.event.for_what for entry in made.run.log if isinstance(entry.event, BenchWaiting)]


def working(node: str, *jobs: str, unknown: str = "", at: float = 0.0, free: bool = True) -> events.ScheduleObserved:
    return events.ScheduleObserved(node, free, "", "", list(jobs), at, None, unknown)


def test_idle_nodes_are_leased_in_the_order_that_was_asked_for() -> None:
    made = cell()
    made.ask("n3", "n1", benchmarks=("gpu_bandwidth", "gemm"))
    assert [(lease.nodes, lease.benchmark) for lease in made.granted()] == [
        (["n3"], "gpu_bandwidth"),
        (["n1"], "gpu_bandwidth"),
    ]
    made.come_back("n3", FINE)
    assert [(lease.nodes, lease.benchmark) for lease in made.granted()][2:] == [(["n3"], "gemm")]


@pytest.mark.parametrize(
    ("at_once", "expected"),
    [
        ({"fleet": 2}, ["n1", "n2"]),
        ({"rack": 1}, ["n1", "n10", "n4", "n7"]),
        ({"leaf": 1}, ["n1", "n7"]),
        ({"sku": 3}, ["n1", "n2", "n3"]),
        ({"fleet": 0}, []),
    ],
)
def test_bounds_hold_in_every_scope(at_once: dict[str, int], expected: list[str]) -> None:
    made = cell(**at_once)
    made.ask(*NODES)
    assert leased(made) == expected
    (kind,) = at_once
    assert waits(made) and waits(made)[0].startswith("bounds of ")
    assert kind == "fleet" or kind in waits(made)[0]


def test_what_a_bound_held_back_goes_on_when_one_ends() -> None:
    made = cell(fleet=1)
    made.ask(*NODES)
    for number, node in enumerate(NODES):
        assert leased(made) == [node]
        made.come_back(node, FINE)
        assert len(made.granted()) == min(number + 2, len(NODES))
    run = made.run.belief.bench.runs["run-1"]
    assert (run.outcome, run.ended_because) == ("pass", "12 pass.")


def test_the_most_urgent_run_goes_first() -> None:
    made = cell(fleet=1)
    made.ask("n1", run_id="now")
    for run_id, purpose in (("later", "idle"), ("people", "operator"), ("repair", "verify")):
        made.ask("n2", run_id=run_id, purpose=purpose)
    made.come_back("n1", FINE)
    assert made.granted()[-1].run_id == "repair"


def test_a_lease_expires_by_itself_and_its_node_is_free() -> None:
    made = cell()
    made.ask("n1")
    lease = made.granted()[0]
    assert lease.expires_at == made.run.now + 90.0
    made.run.wait(89.9)
    assert leased(made) == ["n1"]
    decided = made.run.wait(0.2)
    assert [event.outcome for event in decided if isinstance(event, LeaseEnded)] == ["expired"]
    assert [event.outcome for event in decided if isinstance(event, BenchJudged)] == ["error"]
    assert [event.outcome for event in decided if isinstance(event, BenchRunEnded)] == ["error"]
    assert leased(made) == []


def test_what_comes_back_late_is_judged_all_the_same() -> None:
    made = cell()
    made.ask("n1")
    lease = made.granted()[0]
    made.run.wait(100.0)
    made.run.say(BenchEnded("n1", lease.lease_id, FINE, made.run.now, made.run.now))
    assert made.run.belief.bench.newest["n1"]["gpu_bandwidth"].outcome == "pass"


@pytest.mark.parametrize("lease_id", ["lease-000002", "lease-999999", ""])
def test_what_has_no_lease_of_its_own_proves_nothing(lease_id: str) -> None:
    made = cell()
    made.ask("n1", "n2")
    made.run.say(BenchEnded("n1", lease_id, FINE, 0.0, 0.0))
    assert made.run.belief.bench.newest == {}


@pytest.mark.parametrize(
    ("seen", "because"),
    [
        (working("n1", "4711"), "it has work: 4711"),
        (working("n1", unknown="its jobs cannot be read"), "nobody can tell whether it is idle: its jobs cannot be"),
        (working("n1", free=False), "the scheduler keeps it out"),
        (events.ScheduleObserved("n1", True, "", "", [], 0.0, False), "the scheduler's daemon on it does not answer"),
        (events.ScheduleObserved("n1", False, "", "memory test by hand", [], 0.0), "somebody else holds it (memory"),
        (events.PresenceChanged("n1", "lost", "its connection broke"), "its agent is lost"),
    ],
)
def test_i1_what_is_not_known_to_be_idle_is_skipped_with_a_sentence(seen: events.Event, because: str) -> None:
    made = cell()
    made.run.say(seen)
    made.ask("n1")
    assert made.granted() == []
    assert skipped(made)["n1"].startswith(f"n1: {because}")
    assert made.run.belief.bench.runs["run-1"].outcome == "skip"


def test_an_unknown_node_is_skipped() -> None:
    made = cell()
    made.ask("nobody")
    assert skipped(made) == {"nobody": "nobody: no such node is known."}


def test_a_node_at_work_is_waited_for_as_long_as_was_said() -> None:
    made = cell()
    made.run.say(working("n1", "4711"))
    made.ask("n1", wait_s=600.0)
    assert (skipped(made), waits(made)) == ({}, ["node"])
    made.run.wait(599.0)
    made.run.say(working("n1", at=1.0))
    assert leased(made) == ["n1"]


def test_a_job_that_comes_takes_the_lease_back() -> None:
    made = cell()
    made.ask("n1")
    decided = made.run.say(working("n1", "4711", at=1.0))
    assert [event.outcome for event in decided if isinstance(event, LeaseEnded)] == ["revoked"]
    assert skipped(made) == {"n1": "n1: it has work: 4711."}


def test_a_run_that_is_stopped_leaves_no_lease() -> None:
    made = cell(fleet=1)
    made.ask(*NODES)
    made.run.say(BenchStopped("run-1", "kim", "enough"))
    assert leased(made) == []
    run = made.run.belief.bench.runs["run-1"]
    assert (run.outcome, run.ended_because) == ("stopped", "enough")
    made.run.wait(1_000.0)
    assert len(made.granted()) == 1


def test_an_order_that_is_refused_ends_the_lease() -> None:
    made = cell()
    made.ask("n1")
    order = order_id(made.granted()[0].lease_id, "n1")
    made.run.say(events.OrderEnded("n1", order, "refused", "this node runs no benchmarks", 0.0, 0.0))
    assert (leased(made), skipped(made)) == ([], {"n1": "n1 did not take the order: this node runs no benchmarks."})


def test_tier_three_is_for_cordoned_nodes_alone() -> None:
    made = cell()
    made.ask("n1", tier=3)
    assert skipped(made)["n1"] == "n1: a benchmark of tier 3 runs on a cordoned node alone."
    made.run.say(events.OperatorActed("cordon", "n1", "kim", ""))
    made.run.end(made.run.under_way("n1")[0])
    made.ask("n1", run_id="deep", tier=3)
    assert leased(made) == ["n1"]


def test_no_node_is_measured_while_another_incident_repairs_it() -> None:
    made = cell()
    finding = Finding("gpu.xid", "GPU-0", "79", Verdict.FAILED, Action.REBOOT, "It fell off the bus.")
    made.run.rules = replace(made.run.rules, playbooks=type(made.run)().rules.playbooks)
    made.run.raise_on("n1", finding)
    for _ in range(20):
        intent = made.run.under_way("n1")[0]
        if intent.verb == "reboot":
            break
        (made.run.order_ended if intent.verb in {"collect", "verify"} else made.run.end)(intent)
    assert made.run.under_way("n1")[0].verb == "reboot"
    made.ask("n1")
    assert skipped(made)["n1"].startswith("n1: inc-000001 repairs it now: reboot")


@pytest.mark.parametrize(
    ("idle_by", "trust", "simulated", "leases"),
    [("none", False, False, 0), ("none", True, False, 1), ("none", False, True, 1), ("", True, True, 0)],
)
def test_without_a_scheduler_people_must_trust_nodes(idle_by: str, trust: bool, simulated: bool, leases: int) -> None:
    made = BenchRun()
    made.run.rules = replace(made.run.rules, bench=BenchRules(idle_by=idle_by, trust_nodes=trust))
    made.run.nodes("n1", simulated=simulated)
    made.ask("n1")
    assert len(made.granted()) == leases


@pytest.mark.parametrize(
    "scope", [FLEET, Scope("rack", "r0"), Scope("node", "n1"), Scope("check", "bench.gpu_bandwidth")]
)
def test_i3_a_pause_holds_back_all_but_the_verification_of_a_repair(scope: Scope) -> None:
    made = cell()
    made.run.say(events.OperatorActed("pause", str(scope), "kim", "visitors"))
    made.ask("n1")
    assert (leased(made), waits(made)) == ([], [f"pause of {scope.words}"])
    made.ask("n1", run_id="repair", purpose="verify")
    assert leased(made) == ["n1"]
    made.come_back("n1", FINE)
    made.run.say(events.OperatorActed("resume", str(scope), "kim", ""))
    assert leased(made) == ["n1"]


def test_a_freeze_window_holds_back_too() -> None:
    made = cell()
    freeze = Freeze(Scope("rack", "r0"), "the review", begins=made.run.now - 1.0, ends=made.run.now + 100.0)
    made.run.rules = replace(made.run.rules, freezes=(freeze,))
    made.ask("n1", "n4")
    assert (leased(made), waits(made)) == (["n4"], ["freeze window of rack r0"])
    made.run.wait(101.0)
    assert "n1" in leased(made)


def test_a_group_is_leased_whole_or_not_at_all() -> None:
    made = cell(fleet=100, leaf=1)
    made.ask("n1", "n2", "n3", together=True)
    assert [lease.nodes for lease in made.granted()] == [["n1", "n2", "n3"]]
    made.ask("n4", "n7", run_id="other", together=True)
    assert len(made.granted()) == 1
    for node in ("n1", "n2", "n3"):
        made.come_back(node, FINE)
    assert [lease.nodes for lease in made.granted()][1:] == [["n4", "n7"]]
    run = made.run.belief.bench.runs["run-1"]
    assert (sorted(run.results), run.ended_at > 0.0) == (["n1", "n2", "n3"], True)


def test_a_group_with_one_node_at_work_is_skipped_whole() -> None:
    made = cell()
    made.run.say(working("n2", "4711"))
    made.ask("n1", "n2", together=True)
    assert (made.granted(), sorted(skipped(made))) == ([], ["n1", "n2"])


def test_asking_for_the_same_run_again_changes_nothing() -> None:
    made = cell()
    made.ask("n1")
    made.ask("n2")
    assert (leased(made), len(made.run.belief.bench.runs)) == (["n1"], 1)


ENOUGH_WAITS = 25 * 6 + 2
"""One lease after the other, each until it expires, for every node of every run that a test asks for."""

ACTS = st.one_of(
    st.tuples(
        st.just("ask"), st.lists(st.sampled_from(NODES), min_size=1, max_size=6, unique=True), st.booleans(),
        st.sampled_from(["verify", "operator", "idle"]),
    ),
    st.tuples(st.just("back"), st.sampled_from(NODES), st.sampled_from(list(Outcome))),
    st.tuples(st.just("wait"), st.floats(0.1, 200.0)),
    st.tuples(st.just("work"), st.sampled_from(NODES), st.booleans()),
    st.tuples(st.just("stop"), st.integers(0, 20)),
    st.tuples(st.just("lose"), st.sampled_from(NODES)),
)  # fmt: skip


def act(made: BenchRun, number: int, what: tuple[object, ...]) -> None:
    """Let one thing happen."""
    bench = made.run.belief.bench
    match what:
        case ("ask", list(nodes), bool(together), str(purpose)):
            made.ask(*nodes, run_id=f"run-{number}", purpose=purpose, together=together, wait_s=50.0)
        case ("back", str(node), Outcome() as outcome) if node in bench.leased:
            made.come_back(node, result_of(memory_read(1_000.0), outcome=outcome))
        case ("wait", float(seconds)):
            made.run.wait(seconds)
        case ("work", str(node), bool(begins)):
            made.run.say(working(node, *(["4711"] if begins else []), at=float(number)))
        case ("stop", int(run)):
            made.run.say(BenchStopped(f"run-{run}", "kim", "enough"))
        case ("lose", str(node)):
            made.run.say(events.PresenceChanged(node, "lost", "so"), events.PresenceChanged(node, "online", "so"))


@settings(max_examples=150, deadline=None)
@given(
    acts=st.lists(ACTS, max_size=25),
    at_once=st.fixed_dictionaries(
        {"fleet": st.integers(0, 6), "rack": st.integers(0, 2), "leaf": st.integers(0, 3), "sku": st.integers(0, 6)}
    ),
)
def test_i2_no_bound_is_ever_exceeded_and_every_lease_ends(
    acts: list[tuple[object, ...]], at_once: dict[str, int]
) -> None:
    """At no entry of the log are there more leases in any scope than allowed, two on one node, or one on a node at
    work; none outlives its time; and whatever happened, all of them end."""
    made = cell(**at_once)
    for number, what in enumerate(acts):
        act(made, number, what)
        assert all(lease.expires_at > made.run.now for lease in made.run.belief.bench.leases.values())
    again = Belief()
    for entry in made.run.log:
        if isinstance(entry.event, LeaseGranted):
            assert not any(again.nodes[node].jobs or node in again.bench.leased for node in entry.event.nodes)
        folding.apply(again, entry)
        for scope, count in leased_in(again).items():
            assert count <= at_once.get(scope.kind, count), f"{count} leases in {scope}"
    assert again == made.run.belief
    for _ in range(ENOUGH_WAITS if all(at_once.values()) else 2):
        made.run.wait(100.0)
        if not made.run.belief.bench.open_runs:
            break
    assert made.run.belief.bench.leases == {}
    assert made.run.belief.bench.open_runs == {} or not all(at_once.values())


def test_i12_a_log_replays_to_the_same_decisions() -> None:
    said: list[events.Event] = [
        BenchAsked("run-1", list(NODES), ["gpu_bandwidth", "gemm"], 1, "operator", "kim", "so"),
        working("n3", "4711", at=1.0),
        BenchStopped("run-1", "kim", "enough"),
    ]
    first, second = cell(rack=1), cell(rack=1)
    for made in (first, second):
        for event in said:
            made.run.say(event)
            made.run.wait(30.0)
    assert first.run.log == second.run.log
