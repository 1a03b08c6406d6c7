"""Compensation and I5: what a plan takes back when it ends early, and what it never touches."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller import events
from controller.policy.playbook import Step, Verb
from controller.policy.rules import Budget, Rules
from tests.support.policy import AGENT_LOST, GPU_LOST, GPU_MEMORY, PolicyRun, xid

HASTY = replace(GPU_LOST, steps=(Step("cordon", Verb.CORDON, 60.0), *GPU_LOST.steps[1:]))


def only(run: PolicyRun, node: str = "n1") -> events.StepIntended:
    (intent,) = run.under_way(node)
    return intent


def cordoning() -> PolicyRun:
    run = PolicyRun(Rules((HASTY, GPU_MEMORY, AGENT_LOST), Budget(nodes=1))).nodes("n1", "n2")
    run.raise_on("n1", xid("79"))
    assert only(run).verb == "cordon"
    return run


def releases(run: PolicyRun) -> list[events.IncidentReleasing]:
    return [entry.event for entry in run.log if isinstance(entry.event, events.IncidentReleasing)]


def test_a_cordon_that_was_refused_leaves_nothing() -> None:
    run = cordoning()
    run.end(only(run), "refused", "drained by hand")
    assert (run.belief.held, run.belief.nodes["n1"].hold_id, run.under_way("n1")) == (set(), "", [])
    run.clear_on("n1", xid("79"))
    assert (run.incident().outcome, run.verbs("n1")) == ("recovered", ["cordon"])


def test_i2_a_cordon_that_failed_may_have_happened_and_counts_until_it_is_undone() -> None:
    run = cordoning()
    run.end(only(run), "failed", "timed out after it was sent")
    run.raise_on("n2", xid("79"))
    assert (run.belief.held, run.incident(1).waiting_for) == ({"n1"}, "budget")
    for verb in ("ticket", "page"):
        assert only(run).verb == verb
        run.end(only(run))
    assert only(run).verb == "uncordon"
    (release,) = releases(run)
    assert "What may be left of the cordon of n1 is undone" in release.reason.because
    assert (release.ends_as, release.reason.inputs["undone"]) == ("handed_over", "cordon")
    run.end(only(run))
    assert run.incident(0).outcome == "handed_over"
    assert run.verbs("n2") == ["cordon"]


@pytest.mark.parametrize("undone", ["done", "refused"])
def test_a_fault_that_went_before_the_cordon_was_confirmed_leaves_nothing(undone: str) -> None:
    book = replace(GPU_LOST, steps=(Step("cordon", Verb.CORDON, 60.0, attempts=3), *GPU_LOST.steps[1:]))
    run = PolicyRun(Rules((book,), Budget(nodes=1))).nodes("n1")
    run.raise_on("n1", xid("79"))
    run.end(only(run), "failed", "slurmctld is down")
    run.clear_on("n1", xid("79"))
    run.wait(13)
    assert only(run).verb == "uncordon"
    run.end(only(run), undone)
    assert (run.incident().outcome, run.belief.held) == ("recovered", set())


def test_an_abort_of_a_cordon_that_failed_undoes_it() -> None:
    run = cordoning()
    run.say(events.OperatorActed("abort", "inc-000001", "kim", ""))
    run.end(only(run), "failed", "timed out after it was sent")
    assert only(run).verb == "uncordon"
    run.end(only(run))
    assert (run.incident().outcome, run.belief.held) == ("aborted", set())


def test_i6_an_abort_of_a_confirmed_cordon_leaves_the_node_out() -> None:
    run = cordoning()
    run.say(events.OperatorActed("abort", "inc-000001", "kim", ""))
    run.end(only(run))
    assert (run.incident().state, run.belief.held, run.under_way()) == ("aborted", {"n1"}, [])


def test_i6_a_plan_that_ended_before_any_repair_gives_a_healthy_node_back_once_it_is_verified() -> None:
    run = cordoning()
    run.end(only(run))
    run.clear_on("n1", xid("79"))
    run.say(events.StepEnded("inc-000001", "drain", 1, "timed_out", "Jobs were left.", only(run).key))
    (back,) = [entry.event for entry in run.log if isinstance(entry.event, events.IncidentReturning)]
    assert "every finding has cleared" in back.reason.because and back.reason.inputs["ended_by"] == "drain"
    assert only(run).verb == "verify"
    run.order_ended(only(run))
    run.wait(61)
    run.end(only(run))
    assert (run.incident().outcome, run.belief.held) == ("returned", set())
    assert "ticket" not in run.verbs("n1")


@pytest.mark.parametrize("wrong", ["it stands", "not verified"])
def test_i6_a_plan_that_ended_early_hands_over_what_is_not_proven_healthy(wrong: str) -> None:
    run = cordoning()
    run.end(only(run))
    if wrong == "not verified":
        run.clear_on("n1", xid("79"))
    run.say(events.StepEnded("inc-000001", "drain", 1, "timed_out", "Jobs were left.", only(run).key))
    while run.under_way("n1") and only(run).verb == "verify":
        run.order_ended(only(run), "failed")
        run.wait(10)
    assert (run.incident().outcome, only(run).verb, run.belief.held) == ("handed_over", "ticket", {"n1"})


def test_a_repair_is_never_undone_and_its_node_never_given_back_unverified() -> None:
    run = cordoning()
    run.end(only(run))
    run.end(only(run))
    assert only(run).verb == "reboot"
    run.clear_on("n1", xid("79"))
    run.order_ended(only(run), "failed")
    assert (run.incident().outcome, only(run).verb) == ("handed_over", "ticket")


def two_on_one_node() -> PolicyRun:
    run = PolicyRun().nodes("n1")
    run.raise_on("n1", xid("79", device="GPU-0"))
    run.end(only(run))
    run.raise_on("n1", xid("95", device="GPU-1"))
    return run


def test_i6_undoing_one_plan_leaves_the_hold_of_another() -> None:
    """The node is out for GPU-0 too: what ends for GPU-1 lifts nothing."""
    run = two_on_one_node()
    second = next(intent for intent in run.under_way("n1") if intent.incident_id == "inc-000002")
    run.end(second)
    run.say(events.IncidentSuperseded("inc-000002", "inc-000009", events.Reason("a leaf explains it")))
    assert run.belief.incidents["inc-000002"].outcome == "cancelled"
    assert (run.belief.held, run.belief.nodes["n1"].hold_id) == ({"n1"}, "inc-000001")
    assert "uncordon" not in run.verbs("n1")


def test_i5_a_manual_uncordon_ends_every_plan_of_the_node_with_one_uncordon() -> None:
    run = two_on_one_node()
    run.end(next(intent for intent in run.under_way("n1") if intent.incident_id == "inc-000002"))
    run.say(events.OperatorActed("uncordon", "n1", "kim", "I need it"))
    for intent in run.under_way("n1"):
        run.end(intent)
    assert {incident.outcome for incident in run.belief.incidents.values()} == {"cancelled"}
    assert run.belief.held == set()


def test_i5_a_person_who_cordons_between_intent_and_effect_keeps_the_node() -> None:
    run = cordoning()
    run.now += 1
    run.say(events.ScheduleObserved("n1", False, "", "memory test by kim", [], run.now))
    run.end(only(run), "refused", "n1 is held by somebody else: memory test by kim")
    assert (run.incident().waiting_for, run.belief.held) == ("foreign hold", set())
    run.wait(86_400)
    assert run.verbs("n1") == ["cordon"]


def test_i5_a_manual_uncordon_between_the_effect_and_its_outcome_cancels_at_the_next_look() -> None:
    run = cordoning()
    run.now += 1
    run.say(events.ScheduleObserved("n1", True, "", "", [], run.now))
    run.end(only(run))
    run.now += 5
    run.say(events.ScheduleObserved("n1", True, "", "", [], run.now))
    assert (run.incident().outcome, "uncordon" in run.verbs("n1"), run.belief.held) == ("cancelled", False, set())


@pytest.mark.parametrize("asked_for", ["drain", "reboot", "verify", "probation"])
def test_i5_a_foreign_hold_in_place_of_ours_ends_the_plan_and_is_not_undone(asked_for: str) -> None:
    run = cordoning()
    run.end(only(run))
    while only(run).verb != asked_for:
        intent = only(run)
        if intent.verb == "reboot":
            run.rebooted("n1")
            run.clear_on("n1", xid("79"))
        elif intent.verb == "verify":
            run.order_ended(intent)
        else:
            run.end(intent)
    run.now += 1
    run.say(events.ScheduleObserved("n1", False, "", "kim took it over", [], run.now))
    assert run.incident().outcome == "cancelled"
    assert "uncordon" not in run.verbs("n1")


def test_i5_an_uncordon_that_finds_a_foreign_hold_ends_the_plan_and_tells_nobody_twice() -> None:
    run = cordoning()
    run.end(only(run))
    run.end(only(run))
    run.order_ended(only(run), "accepted")
    run.rebooted("n1")
    run.clear_on("n1", xid("79"))
    run.order_ended(only(run))
    run.wait(61)
    assert only(run).verb == "uncordon"
    run.end(only(run), "refused", "n1 is held by somebody else: kim")
    assert (run.incident().outcome, run.belief.held, run.under_way()) == ("cancelled", set(), [])
    assert "ticket" not in run.verbs("n1")


def test_a_yes_that_comes_while_a_stopped_plan_is_undone_changes_nothing() -> None:
    run = cordoning()
    run.end(only(run), "failed", "timed out after it was sent")
    run.say(events.OperatorActed("abort", "inc-000001", "kim", ""))
    run.say(events.OperatorActed("approve", "inc-000001", "kim", ""))
    assert only(run).verb == "ticket", "what is over within seconds ends first"
    run.end(only(run))
    assert only(run).verb == "uncordon"
    run.end(only(run))
    assert (run.incident().outcome, run.belief.held) == ("aborted", set())
