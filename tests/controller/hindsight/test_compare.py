"""A candidate over history: the same policy differs in nothing, another one in exactly what it should."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks.finding import Verdict
from controller import events
from controller.assembly import rules_of
from controller.events import Logged
from controller.hindsight.compare import Compare
from controller.hindsight.limits import MEASURES, crossed
from controller.hindsight.result import Comparison
from controller.policy.playbook import Answers, Mode, Playbook, Verb
from controller.policy.replaying.again import CannotReplay
from controller.policy.rules import Budget, Rules
from controller.settings import ControllerSettings
from controller.simulation.fleet import racks_and_leaves
from controller.simulation.model import load_model
from controller.simulation.run import Asked, simulate
from tests.controller.policy.replaying.test_again import begun as begun_with
from tests.controller.policy.test_engine_invariants import more_acts, rules
from tests.controller.policy.test_invariants import Act
from tests.support.policy import AGENT_LOST, GPU_LOST, GPU_MEMORY, HAND_OVER_STEPS, PolicyRun, steps, xid
from wire.messages import NodeFacts

HOUR_S, DAY_S = 3_600.0, 86_400.0

ON_A_DECOY = Playbook(
    name="strict",
    summary="A program's own fault takes the node out.",
    fault_class="strict",
    severity="warning",
    precedence=200,
    answers=(Answers("gpu.xid", frozenset({"31"}), frozenset({Verdict.DEGRADED})),),
    steps=steps(Verb.CORDON, Verb.DRAIN, Verb.REBOOT, Verb.VERIFY, Verb.UNCORDON),
    hand_over=HAND_OVER_STEPS,
)


def by(*playbooks: Playbook, nodes: int = 3) -> Rules:
    return Rules(playbooks, Budget(nodes=nodes), breakers=(), domains=())


USUAL = by(GPU_LOST, GPU_MEMORY, AGENT_LOST)


def begun(policy: Rules = USUAL) -> PolicyRun:
    run = PolicyRun(policy)
    run.say(events.RulesLoaded(policy.digest(), "The controller started."))
    for name in ("n1", "n2", "n3"):
        run.say(
            events.NodeSeen(name, "boot-1", NodeFacts(gpu_count=8)),
            events.PresenceChanged(name, "online", "the agent connected"),
            events.ScheduleObserved(name, True, "", "", ["job-1"], run.now),
        )
    return run


def hold(run: PolicyRun, node: str) -> None:
    """Have the cordon of a node be done."""
    (intent,) = run.under_way(node)
    assert intent.verb == Verb.CORDON
    run.end(intent)


def mend(run: PolicyRun, node: str) -> None:
    """Have every step of the incident of a node end as it should, up to its return."""
    while run.under_way(node):
        (intent,) = run.under_way(node)
        run.now += 30.0
        match Verb(intent.verb):
            case Verb.REBOOT:
                boot = f"boot-after-{intent.key}"
                run.say(
                    events.AgentStarted(node, boot, "boot-1", True, "1", run.now),
                    *[events.FindingCleared(node, key, "gone", run.now) for key in run.belief.nodes[node].findings],
                )
            case Verb.VERIFY:
                checks = dict.fromkeys(intent.parameters["checks"].split(","), "ok")
                run.say(events.OrderEnded(node, intent.key, "done", "looked", run.now, run.now, checks))
            case Verb.PROBATION:
                run.wait(60.0)
            case _:
                run.end(intent)


def one_fault(policy: Rules = USUAL) -> PolicyRun:
    """Return history: a GPU was lost on n1, and a reboot mended it."""
    run = begun(policy)
    run.now += 10.0
    run.raise_on("n1", xid("79"))
    mend(run, "n1")
    assert not run.belief.open_incidents
    return run


def compared(log: list[Logged], candidate: Rules, *, forward: bool = False, seed: int = 1) -> Comparison:
    comparing = Compare(candidate, model=load_model() if forward else None, seed=seed)
    comparing.take_all(log)
    return comparing.result()


def differs_in_nothing(found: Comparison) -> bool:
    return found.history == found.candidate and not (found.added or found.avoided or found.moved or found.unknown)


@settings(max_examples=120, deadline=None)
@given(history=st.lists(more_acts, min_size=1, max_size=40))
def test_the_same_policy_differs_in_nothing_whatever_happens(history: list[Act]) -> None:
    run = begun_with(rules(GPU_LOST))
    for act in history:
        act(run)
        run.now += 0.01
    changes = events.PlaybooksTrusted | events.RolloutBegan | events.RolloutSettled
    stretch = [place for place, entry in enumerate(run.log) if entry.event_id > 1 and isinstance(entry.event, changes)]
    assert differs_in_nothing(compared(run.log[: stretch[0]] if stretch else run.log, rules(GPU_LOST)))


@pytest.mark.parametrize("forward", [False, True])
def test_the_same_policy_differs_in_nothing_over_a_simulated_fleet(*, forward: bool) -> None:
    policy = replace(rules_of(ControllerSettings(state=Path("/nonexistent"))), simulated_speedup=1.0)
    log: list[Logged] = []
    simulate(Asked(racks_and_leaves(48), 6.0, 3, load_model(rate=60.0)), policy, heard=log.append)
    found = compared(log, policy, forward=forward)
    assert found.history.cordons > 5
    assert found.history.right_cordons > 3
    assert differs_in_nothing(found)
    assert found.same_cordons == found.history.cordons


def test_figures_of_one_fault() -> None:
    run = one_fault()
    found = compared(run.log, USUAL)
    out_s = 30.0 * 4 + 60.0 + 30.0
    assert found.history == found.candidate
    assert (found.candidate.cordons, found.candidate.right_cordons) == (1, 1)
    assert found.candidate.node_hours_out == pytest.approx(out_s / HOUR_S, rel=0.05)
    assert found.candidate.gpu_hours_out == pytest.approx(8 * found.candidate.node_hours_out)
    assert found.candidate.missed_fault_node_hours == pytest.approx(30.0 / HOUR_S, rel=0.01)


def test_a_laxer_candidate_avoids_the_cordon_and_says_why() -> None:
    run = one_fault()
    found = compared(run.log, by(GPU_MEMORY, AGENT_LOST))
    assert [(row.node, row.incident_id, row.truth) for row in found.avoided] == [("n1", "inc-000001", "right")]
    assert found.avoided[0].other_because == "No playbook answers gpu.xid 79 when it is failed."
    assert found.avoided[0].because == "Xid 79 on GPU-0."
    assert (found.added, found.candidate.cordons) == ([], 0)
    assert [row.why for row in found.unknown] == ["history began a reboot here, the candidate did not"]


def test_until_history_repairs_the_fault_stands_for_the_candidate_and_afterwards_nobody_knows() -> None:
    run = one_fault()
    run.wait(4 * HOUR_S)
    run.say(events.PresenceChanged("n2", "online", "said again"))
    (reboot,) = [e.at for e in run.log if isinstance(e.event, events.StepIntended) and e.event.verb == Verb.REBOOT]
    (raised,) = [e.at for e in run.log if isinstance(e.event, events.FindingRaised)]
    found = compared(run.log, by(GPU_MEMORY, AGENT_LOST))
    assert found.candidate.missed_fault_node_hours == pytest.approx((reboot - raised) / HOUR_S)
    (course,) = found.unknown
    assert (course.at, course.until) == (reboot, run.now)
    assert found.unknown_gpu_hours == pytest.approx(8 * (run.now - reboot) / HOUR_S)


def test_shadow_mode_avoids_it_and_is_named() -> None:
    found = compared(one_fault().log, by(replace(GPU_LOST, mode=Mode.SHADOW)))
    (row,) = found.avoided
    assert row.other_because == (
        "inc-000001 (gpu_lost) ended shadowed: Shadow mode: decided and recorded, nothing done."
    )


def test_a_budget_that_is_too_small_is_named() -> None:
    run = begun()
    run.now += 10.0
    run.raise_on("n1", xid("79"))
    hold(run, "n1")
    run.now += 1.0
    run.raise_on("n2", xid("79"))
    hold(run, "n2")
    found = compared(run.log, by(GPU_LOST, nodes=1))
    (row,) = found.avoided
    assert row.node == "n2"
    assert "inc-000002 (gpu_lost) waits: " in row.other_because
    assert "budget" in row.other_because


def decoy(run: PolicyRun) -> None:
    """A program fails on n2, and that is over after a minute."""
    run.now += 10.0
    run.raise_on("n2", xid("31", verdict=Verdict.DEGRADED))
    run.wait(60.0)
    run.clear_on("n2", xid("31"))


STRICT = by(GPU_LOST, GPU_MEMORY, AGENT_LOST, ON_A_DECOY)


def test_a_stricter_candidate_adds_exactly_the_cordon_that_it_should() -> None:
    run = one_fault()
    decoy(run)
    run.wait(2 * DAY_S)
    run.say(events.PresenceChanged("n3", "online", "said again"))
    found = compared(run.log, STRICT)
    (row,) = found.added
    (raised,) = [e.at for e in run.log if isinstance(e.event, events.FindingRaised) and e.event.node == "n2"]
    assert (row.node, row.playbook, row.at) == ("n2", "strict", raised)
    assert row.other_because == "No playbook answers gpu.xid 31 when it is degraded."
    assert (row.truth, found.candidate.false_cordons) == ("false", 1)
    assert (found.avoided, found.moved, found.same_cordons) == ([], [], 1)
    assert [course.why for course in found.unknown] == ["the candidate came to this, history did not: drain of n2"]


def test_nobody_knows_of_a_decoy_when_the_log_ends_the_same_day() -> None:
    run = begun()
    decoy(run)
    run.wait(HOUR_S)
    run.say(events.PresenceChanged("n3", "online", "said again"))
    (row,) = compared(run.log, STRICT).added
    assert row.truth == "unknown"


def test_what_history_took_out_later_was_right() -> None:
    run = begun(by(replace(GPU_LOST, confirm_s=600.0)))
    run.now += 10.0
    run.raise_on("n1", xid("79"))
    run.wait(600.0)
    hold(run, "n1")
    found = compared(run.log, by(GPU_LOST))
    (row,) = found.moved
    assert row.later_s == pytest.approx(-600.0, abs=1.0)
    assert (found.added, found.avoided) == ([], [])


def test_an_idle_node_is_drained_at_once_and_what_a_reboot_does_is_unknown() -> None:
    run = begun()
    run.say(events.ScheduleObserved("n2", True, "", "", [], run.now))
    decoy(run)
    found = compared(run.log, STRICT)
    assert [course.why for course in found.unknown] == ["the candidate came to this, history did not: reboot of n2"]


def test_a_cordon_that_people_took_back_is_false() -> None:
    run = begun()
    run.now += 10.0
    run.raise_on("n1", xid("79"))
    hold(run, "n1")
    run.now += 5.0
    run.say(events.OperatorActed("uncordon", "n1", "ada", "it computes well"))
    found = compared(run.log, by(AGENT_LOST))
    (row,) = found.avoided
    assert (row.truth, row.truth_because) == ("false", "ada took it back: it computes well")
    assert (found.history.false_cordons, found.candidate.false_cordons) == (1, 0)


def test_a_drill_is_a_fault_that_is_known() -> None:
    run = begun()
    run.now += 10.0
    run.say(events.DrillStarted("n1", "xid", "drill-1", {}, "ada"))
    run.raise_on("n1", xid("79"))
    hold(run, "n1")
    found = compared(run.log, by(AGENT_LOST))
    assert [(row.truth, row.truth_because) for row in found.avoided] == [("right", "A drill made the fault.")]


def test_a_node_takes_part_again_and_its_next_fault_is_compared() -> None:
    run = one_fault()
    run.wait(2 * HOUR_S)
    run.raise_on("n1", xid("95"))
    found = compared(run.log, by(GPU_MEMORY, AGENT_LOST))
    assert found.unknown[0].until == run.now
    assert not found.added
    hold(run, "n1")
    found = compared(run.log, by(GPU_MEMORY, AGENT_LOST))
    assert (found.same_cordons, len(found.avoided)) == (1, 1)


def test_hand_overs_count_tickets_and_pages_even_where_history_did_not_come_to_them() -> None:
    people = replace(GPU_LOST, steps=steps(Verb.CORDON))
    watch = replace(ON_A_DECOY, steps=(), drain_needed=False)
    run = begun(by(people))
    decoy(run)
    run.wait(HOUR_S)
    run.say(events.PresenceChanged("n3", "online", "said again"))
    found = compared(run.log, by(people, watch))
    assert (found.candidate.tickets, found.candidate.pages) == (0, 0)
    failing = replace(watch, steps=steps(Verb.VERIFY))
    found = compared(run.log, by(people, failing))
    assert (found.candidate.tickets, found.candidate.pages, found.history.pages) == (1, 1, 0)


def test_forward_draws_what_history_does_not_know_and_keeps_it_apart() -> None:
    run = one_fault()
    run.wait(30 * DAY_S)
    run.say(events.PresenceChanged("n3", "online", "said again"))
    late = by(replace(GPU_LOST, confirm_s=120.0))
    found = compared(run.log, late, forward=True)
    assert found.drawn is not None
    assert (found.seed, found.unknown[0].drawn, found.unknown_gpu_hours) == (1, "F1", 0.0)
    assert found.drawn.gpu_hours_out > found.candidate.gpu_hours_out
    assert found == compared(run.log, late, forward=True)
    others = {compared(run.log, late, forward=True, seed=seed).drawn for seed in range(2, 8)}
    assert others - {found.drawn}
    without = compared(run.log, late)
    assert (without.drawn, without.candidate) == (None, found.candidate)


def test_forward_leaves_unknown_what_the_model_does_not_know() -> None:
    strange = replace(ON_A_DECOY, answers=(Answers("gpu.xid", frozenset({"999"})),))
    run = begun()
    run.now += 10.0
    run.raise_on("n2", xid("999"))
    run.wait(HOUR_S)
    run.say(events.PresenceChanged("n3", "online", "said again"))
    found = compared(run.log, by(strange), forward=True)
    assert [course.drawn for course in found.unknown] == [""]


def test_a_gap_ends_it() -> None:
    log = one_fault().log
    with pytest.raises(CannotReplay, match="entry 5 follows entry 3"):
        compared(log[:3] + log[4:], USUAL)


def test_every_limit_is_crossed_by_more_and_not_by_as_much() -> None:
    run = one_fault()
    decoy(run)
    run.wait(2 * DAY_S)
    run.say(events.PresenceChanged("n3", "online", "said again"))
    found = compared(run.log, STRICT)
    values = {name: measure(found) for name, (_, measure) in MEASURES.items()}
    assert values["max-added-cordons"] == values["max-false-cordons"] == values["max-unknown"] == 1
    assert crossed(found, values) == []
    (said,) = crossed(found, {"max-added-cordons": 0})
    assert said == "--max-added-cordons: 1 cordons that history did not make, at most 0 are allowed"
