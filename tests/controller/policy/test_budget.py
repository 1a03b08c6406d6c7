"""Budgets in every scope (I2), breakers with their canary, pauses and freezes; none of them holds a way home (I3)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks.finding import FindingKey
from controller import events
from controller.policy.freezes import in_force, minute_of_week
from controller.policy.incident import Incident
from controller.policy.playbook import BREAKER_CLASS, Playbook
from controller.policy.rules import BreakerRule, Budget, Freeze, Limit, Rules
from controller.policy.scopes import FLEET, Scope, parse
from tests.support.policy import AGENT_LOST, GPU_LOST, GPU_MEMORY, START, PolicyRun, xid
from wire.messages import NodeFacts

FREE = Budget(nodes=100)


def racked(run: PolicyRun, nodes: int, *, racks: int = 2) -> PolicyRun:
    """Make n0, n1, ... known, by turns in the racks r0, r1, ..."""
    run.nodes(*(f"n{i}" for i in range(nodes)))
    for i in range(nodes):
        run.say(events.NodePlaced(f"n{i}", {"rack": [f"r{i % racks}"], "leaf": [f"l{i % 8}", f"l{(i + 1) % 8}"]}))
    return run


def run_with(*limits: Limit, breakers: tuple[BreakerRule, ...] = (), freezes: tuple[Freeze, ...] = ()) -> PolicyRun:
    playbooks: tuple[Playbook, ...] = (GPU_LOST, GPU_MEMORY, AGENT_LOST)
    return PolicyRun(Rules(playbooks, FREE, limits=limits, breakers=breakers, freezes=freezes, domains=()))


def waits(run: PolicyRun) -> dict[str, str]:
    """Return node → what its open incident waits for."""
    return {i.node: i.waiting_for for i in run.belief.open_incidents.values() if i.waiting_for}


def last_reason(run: PolicyRun) -> events.Reason:
    return [e.event.reason for e in run.log if isinstance(e.event, events.IncidentWaiting)][-1]


def finish(run: PolicyRun, node: str) -> None:
    """Take a node's GPU_LOST incident to its return."""
    run.clear_on(node, xid("79"))
    while under_way := run.under_way(node):
        intent = under_way[0]
        if intent.verb in {"wait", "probation"}:
            run.wait(61)
        elif intent.verb == "verify":
            run.order_ended(intent)
        else:
            run.end(intent)


def test_i2_a_rack_has_a_budget_of_its_own_and_says_so() -> None:
    run = racked(run_with(Limit(Scope("rack"), Budget(nodes=1), "one node of a rack at a time")), 6)
    for i in range(4):
        run.raise_on(f"n{i}", xid("79"))
    assert set(run.belief.held) == {"n0", "n1"}
    assert waits(run) == {"n2": "budget of rack r0", "n3": "budget of rack r1"}
    reason = last_reason(run)
    assert reason.because == (
        "Waiting: 1 node is out already and the budget of rack r1 is 1 node (one node of a rack at a time)."
    )
    assert reason.inputs == {"scope": "rack=r1", "held": "n1", "limit": "1", "nodes": "3"}
    finish(run, "n0")
    assert waits(run) == {"n3": "budget of rack r1"}
    assert "n2" in run.belief.held


def test_i2_a_share_is_counted_of_the_scope() -> None:
    run = racked(run_with(Limit(Scope("rack", "r0"), Budget(percent=50.0))), 12)
    for i in range(0, 12, 2):
        run.raise_on(f"n{i}", xid("79"))
    assert len(run.belief.held) == 3


@pytest.mark.parametrize(
    ("scope", "facts"),
    [
        (Scope("sku", "H100"), NodeFacts(gpu_model="H100")),
        (Scope("driver"), NodeFacts(driver_version="550.54.15")),
        (Scope("check", "gpu.xid"), NodeFacts()),
        (Scope("playbook", "gpu_lost"), NodeFacts()),
    ],
)
def test_i2_budgets_of_what_a_node_is_and_of_what_judged_it(scope: Scope, facts: NodeFacts) -> None:
    run = run_with(Limit(scope, Budget(nodes=1))).nodes("n0", "n1", "n2")
    run.say(*(events.NodeSeen(f"n{i}", "boot-1", facts) for i in range(3)))
    for i in range(3):
        run.raise_on(f"n{i}", xid("79"))
    assert len(run.belief.held) == 1


def test_i2_the_nodes_of_one_job() -> None:
    run = run_with(Limit(Scope("job"), Budget(nodes=1))).nodes("n0", "n1", "n2")
    for name, job in (("n0", "17"), ("n1", "17"), ("n2", "18")):
        run.say(events.ScheduleObserved(name, True, "", "", [job], run.now))
        run.raise_on(name, xid("79"))
    assert (set(run.belief.held), waits(run)) == ({"n0", "n2"}, {"n1": "budget of job 17"})


def test_i2_a_node_that_moves_while_it_is_held_counts_where_it_stands() -> None:
    run = racked(run_with(Limit(Scope("rack"), Budget(nodes=1))), 4)
    run.raise_on("n0", xid("79"))
    run.say(events.NodePlaced("n0", {"rack": ["r1"]}))
    run.raise_on("n2", xid("79"))
    run.raise_on("n1", xid("79"))
    assert (set(run.belief.held), waits(run)) == ({"n0", "n2"}, {"n1": "budget of rack r1"})
    assert run.belief.residents["rack", "r1"] == {"n0", "n1", "n3"}


def test_the_most_urgent_gets_the_place_that_comes_free() -> None:
    run = racked(run_with(Limit(FLEET, Budget(nodes=1))), 4)
    run.raise_on("n0", xid("79"))
    run.raise_on("n1", xid("94"))
    run.raise_on("n2", xid("79"))
    assert waits(run) == {"n1": "budget", "n2": "budget"}
    finish(run, "n0")
    assert set(run.belief.held) == {"n2"}


RULE = BreakerRule(Scope("check"), Budget(nodes=3), window_s=600.0, cooldown_s=300.0, because="too many")


def breakers_open(run: PolicyRun) -> list[Incident]:
    return [i for i in run.belief.open_on("") if i.fault_class == BREAKER_CLASS]


def tripped_run() -> PolicyRun:
    """Return a run whose breaker of gpu.xid opened at the fourth node, with its page sent."""
    run = racked(run_with(breakers=(RULE,)), 8)
    for i in range(5):
        run.raise_on(f"n{i}", xid("79"))
    run.end(run.under_way("")[0] if run.under_way("")[0].verb == "page" else page_of(run))
    return run


def page_of(run: PolicyRun) -> events.StepIntended:
    return next(i for i in run.under_way() if i.verb == "page")


def test_a_breaker_opens_pages_once_and_stops_the_taking() -> None:
    run = racked(run_with(breakers=(RULE,)), 8)
    for i in range(5):
        run.raise_on(f"n{i}", xid("79"))
    assert set(run.belief.held) == {"n0", "n1", "n2"}
    assert waits(run) == {"n3": "breaker of check gpu.xid", "n4": "breaker of check gpu.xid"}
    (breaker,) = breakers_open(run)
    assert breaker.because == (
        "The breaker of check gpu.xid opened: 3 nodes were taken out within 10 minutes: too many."
    )
    assert [i.verb for i in run.under_way() if not i.node] == ["page"]


def test_a_rate_is_forgotten_after_its_window() -> None:
    run = racked(run_with(breakers=(RULE,)), 8)
    for i in range(6):
        run.raise_on(f"n{i}", xid("79"))
        run.wait(201)
    assert (len(run.belief.held), breakers_open(run)) == (6, [])


def test_i3_an_open_breaker_holds_no_way_home() -> None:
    run = tripped_run()
    finish(run, "n0")
    assert run.incident(0).outcome == "returned"


def test_a_half_open_breaker_lets_one_canary_go_and_closes_when_it_was_mended() -> None:
    run = tripped_run()
    run.wait(301)
    (breaker,) = breakers_open(run)
    assert breaker.canary == next(i.id for i in run.belief.open_on("n3"))
    assert waits(run) == {"n4": "breaker of check gpu.xid"}
    assert last_reason(run).because.startswith("Waiting: the breaker of check gpu.xid is open (inc-000005)")
    finish(run, "n3")
    assert (breakers_open(run), breaker.outcome, waits(run)) == ([], "recovered", {})
    assert "n4" in run.belief.held


def test_a_canary_that_had_nothing_to_mend_opens_the_breaker_again() -> None:
    run = tripped_run()
    run.wait(301)
    run.end(next(i for i in run.under_way("n3")))
    run.say(events.OperatorActed("uncordon", "n3", "kim", "it is fine"))
    run.end(next(i for i in run.under_way("n3") if i.verb == "uncordon"))
    (again,) = breakers_open(run)
    assert again.because.startswith("The breaker of check gpu.xid opened again: its canary ")
    assert waits(run)["n4"] == "breaker of check gpu.xid"


def test_a_canary_that_somebody_else_holds_makes_room_for_another() -> None:
    run = tripped_run()
    run.wait(301)
    run.end(next(i for i in run.under_way("n3")), "refused", "by hand")
    (breaker,) = breakers_open(run)
    assert breaker.canary == next(i.id for i in run.belief.open_on("n4"))


def test_a_person_closes_a_breaker_and_passes_by_one() -> None:
    run = tripped_run()
    run.say(events.OperatorActed("cordon", "n7", "kim", "mine"))
    assert "n7" in run.belief.held
    (breaker,) = breakers_open(run)
    run.wait(601)
    run.say(events.OperatorActed("abort", breaker.id, "kim", "planned work"))
    assert (breaker.outcome, breakers_open(run)) == ("aborted", [])
    assert {"n3", "n4"} <= set(run.belief.held)


@pytest.mark.parametrize("scope", ["rack=r0", "check=gpu.xid", "playbook=gpu_lost", "leaf=l0", "n0"])
def test_i3_a_pause_of_a_scope_stops_what_is_begun_there(scope: str) -> None:
    run = racked(run_with(), 4)
    run.say(events.OperatorActed("pause", scope, "kim", "work"))
    run.raise_on("n0", xid("79"))
    assert waits(run)["n0"].startswith("pause of ")
    assert last_reason(run).unless == f"the pause is lifted by `fleetmend resume {scope}`"
    run.say(events.OperatorActed("resume", scope, "kim", ""))
    assert set(run.belief.held) == {"n0"}


MONDAY = 1_790_553_600.0
"""2026-09-28 00:00 UTC, a Monday."""


@pytest.mark.parametrize(
    ("begins", "ends", "hours", "held"),
    [
        ("Fri 18:00", "Mon 08:00", 4 * 24 + 17.99, False),
        ("Fri 18:00", "Mon 08:00", 4 * 24 + 18.0, True),
        ("Fri 18:00", "Mon 08:00", 6 * 24, True),
        ("Fri 18:00", "Mon 08:00", 7.99, True),
        ("Fri 18:00", "Mon 08:00", 8.0, False),
        ("Tue 09:00", "Tue 17:00", 24 + 9.0, True),
        ("Tue 09:00", "Tue 17:00", 24 + 17.0, False),
    ],
)
def test_a_weekly_freeze(begins: str, ends: str, hours: float, held: bool) -> None:
    freeze = Freeze(FLEET, "so", weekly_begins=minute_of_week(begins), weekly_ends=minute_of_week(ends))
    assert in_force(freeze, MONDAY + hours * 3600) is held


def test_a_weekly_freeze_goes_by_its_own_zone() -> None:
    freeze = Freeze(FLEET, "so", weekly_begins=0, weekly_ends=60, zone="Asia/Tokyo")
    assert in_force(freeze, MONDAY - 9 * 3600)
    assert not in_force(freeze, MONDAY)


def test_i3_a_freeze_is_waited_out_and_holds_no_way_home() -> None:
    freeze = Freeze(Scope("rack", "r0"), "the annual review", begins=START + 100, ends=START + 10_000)
    run = racked(run_with(freezes=(freeze,)), 4)
    run.raise_on("n0", xid("79"))
    run.wait(200)
    run.raise_on("n1", xid("79"))
    run.raise_on("n2", xid("79"))
    assert waits(run) == {"n2": "freeze window of rack r0"}
    assert last_reason(run).because.startswith("Frozen: the annual review (rack r0, until 1970-01-12 ")
    run.end(next(i for i in run.under_way("n0")))
    assert waits(run)["n0"] == "freeze window of rack r0"
    run.wait(10_000)
    assert waits(run) == {}


@given(
    picks=st.lists(st.tuples(st.integers(0, 15), st.sampled_from(["raise", "finish", "move"])), max_size=40),
)
@settings(max_examples=60, deadline=None)
def test_i2_holds_in_every_scope_at_every_instant(picks: list[tuple[int, str]]) -> None:
    limits = (
        Limit(FLEET, Budget(nodes=5)),
        Limit(Scope("rack"), Budget(nodes=2)),
        Limit(Scope("leaf"), Budget(nodes=1)),
    )
    run = racked(run_with(*limits), 16, racks=4)
    for number, what in picks:
        name = f"n{number}"
        match what:
            case "raise":
                run.raise_on(name, xid("79"))
            case "finish":
                finish(run, name)
            case "move" if name not in run.belief.held:
                run.say(events.NodePlaced(name, {"rack": [f"r{number % 3}"], "leaf": [f"l{number % 5}"]}))
        for scope, held in run.belief.ledger.held_in.items():
            for limit in (limit for limit in limits if limit.scope.covers(scope)):
                assert len(held) <= limit.budget.limit(0)
        held = {i.node for i in run.belief.open_incidents.values() if i.holding}
        assert held == set(run.belief.held)


def test_a_scope_is_written_as_it_is_read() -> None:
    for text in ("fleet", "rack=r12", "n1", "check=gpu.xid"):
        assert str(parse(text)) == text
    assert parse("") == FLEET


def test_a_check_that_joins_counts_too() -> None:
    run = racked(run_with(), 2)
    run.raise_on("n0", xid("79"))
    other = replace(xid("79"), check="gpu.count", code="missing")
    run.raise_on("n0", other)
    assert run.belief.ledger.held_in[Scope("check", "gpu.count")] == {"n0"}
    assert FindingKey("gpu.count", "GPU-0", "missing") in run.incident().condemned_by
