"""A person's yes: for exactly what was asked, until when, and what becomes of a question that nobody answers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller import events
from controller.policy.approvals import asked, question
from controller.policy.playbook import Mode, Step, Verb
from controller.policy.rules import Budget, Rules
from tests.support.policy import GPU_LOST, GPU_MEMORY, PolicyRun, xid

ASKING = replace(GPU_LOST, mode=Mode.ASK, digest="aaaaaaaaaaaaaaaa")
HOUR_S = 3600.0


def only(run: PolicyRun, node: str = "n1") -> events.StepIntended:
    (intent,) = run.under_way(node)
    return intent


def waiting() -> PolicyRun:
    rules = Rules((ASKING, GPU_MEMORY), Budget(nodes=1), answer_within_s=24 * HOUR_S)
    run = PolicyRun(rules).nodes("n1", "n2")
    run.raise_on("n1", xid("79"))
    assert run.incident().waiting_for == "approval"
    return run


def approve(run: PolicyRun, *, what: str = "", for_s: float = HOUR_S) -> list[events.Event]:
    named = what or asked(run.incident())
    return run.say(events.OperatorActed("approve", "inc-000001", "kim", "", named, run.now + for_s))


def reasons(run: PolicyRun) -> list[str]:
    waits = [entry.event for entry in run.log if isinstance(entry.event, events.IncidentWaiting)]
    return [wait.reason.because for wait in waits if wait.for_what == "approval"]


def test_a_yes_for_the_plan_lets_it_go() -> None:
    run = waiting()
    assert (asked(run.incident()), "gpu_lost" in question(run.incident())) == ("gpu_lost:aaaaaaaaaaaa", True)
    approve(run)
    assert only(run).verb == "cordon"


def test_a_yes_of_an_older_log_is_for_what_is_asked_and_never_expires() -> None:
    run = waiting()
    run.now += 1_000 * HOUR_S
    run.say(events.OperatorActed("approve", "inc-000001", "kim", ""))
    run.wait(1_000 * HOUR_S)
    assert only(run).verb == "cordon"


def test_i10_a_yes_for_another_plan_is_not_used_and_that_is_said() -> None:
    run = waiting()
    approve(run, what="gpu_lost:bbbbbbbbbbbb")
    assert run.under_way("n1") == []
    assert reasons(run)[-1].startswith(
        "The yes of kim was for gpu_lost:bbbbbbbbbbbb, and the plan is now gpu_lost:aaaa"
    )


def test_i10_a_plan_that_became_another_asks_again() -> None:
    rules = Rules((ASKING, replace(GPU_MEMORY, mode=Mode.ASK)), Budget(nodes=0))
    run = PolicyRun(rules).nodes("n1")
    run.raise_on("n1", xid("94"))
    approve(run)
    assert run.incident().waiting_for == "budget"
    run.raise_on("n1", xid("79"))
    assert run.incident().waiting_for == "approval"
    assert "The yes of kim was for gpu_memory:" in reasons(run)[-1]


def test_i10_a_yes_that_expired_before_its_step_is_not_used_and_that_is_said() -> None:
    run = waiting()
    run.rules = replace(run.rules, budget=Budget(nodes=0))
    approve(run, for_s=HOUR_S)
    assert run.incident().waiting_for == "budget"
    run.now += HOUR_S
    run.rules = replace(run.rules, budget=Budget(nodes=1))
    run.decide()
    assert (run.under_way("n1"), run.incident().waiting_for) == ([], "approval")
    assert "The yes of kim expired at 1970-01-12 14:46 UTC." in reasons(run)[-1]
    approve(run)
    assert only(run).verb == "cordon"


def begun(run: PolicyRun) -> None:
    """Let the plan go as far as the end of its drain, with a yes that is over by then."""
    approve(run, for_s=HOUR_S)
    run.end(only(run))
    assert only(run).verb == "drain"
    run.now += 2 * HOUR_S


def test_a_repair_needs_a_yes_that_still_holds() -> None:
    run = waiting()
    begun(run)
    run.end(only(run))
    assert (run.under_way("n1"), run.incident().waiting_for, run.belief.held) == ([], "approval", {"n1"})
    approve(run)
    assert only(run).verb == "reboot"


def test_a_node_that_is_out_for_an_unanswered_question_is_handed_over() -> None:
    run = waiting()
    begun(run)
    run.end(only(run))
    run.wait(24 * HOUR_S - 1)
    assert run.under_way("n1") == []
    run.wait(2)
    assert (only(run).verb, run.incident().outcome) == ("ticket", "handed_over")
    assert "nobody approved gpu_lost:aaaaaaaaaaaa within 24 h" in run.incident().because


def test_a_question_that_keeps_nothing_out_may_wait() -> None:
    run = waiting()
    run.wait(30 * 24 * HOUR_S)
    assert run.incident().waiting_for == "approval"
    approve(run)
    assert only(run).verb == "cordon"


def test_i3_what_disturbs_nothing_needs_no_further_yes() -> None:
    run = waiting()
    approve(run)
    for _ in range(2):
        run.end(only(run))
    run.rebooted("n1")
    run.clear_on("n1", xid("79"))
    run.now += 2 * HOUR_S
    run.order_ended(only(run))
    run.wait(61)
    run.end(only(run))
    assert run.incident().outcome == "returned"


STEP = Step("approve", Verb.APPROVE, 600.0, attempts=2, parameters={"question": "Is the rack free?"})


def at_the_step(mode: Mode = Mode.ACT) -> PolicyRun:
    book = replace(GPU_LOST, mode=mode, steps=(STEP, *GPU_LOST.steps))
    run = PolicyRun(Rules((book,), Budget(nodes=1))).nodes("n1")
    run.raise_on("n1", xid("79"))
    if mode is Mode.ASK:
        approve(run)
    return run


@pytest.mark.parametrize("mode", [Mode.ACT, Mode.ASK])
def test_a_step_asks_for_itself(mode: Mode) -> None:
    run = at_the_step(mode)
    assert (only(run).verb, question(run.incident())) == ("approve", "Is the rack free?")
    assert only(run).reason.inputs["question"] == "Is the rack free?"
    approve(run, what=run.incident().plan)
    assert only(run).verb == "approve"
    approve(run)
    assert only(run).verb == "cordon"


def test_a_question_of_a_step_expires_and_its_next_attempt_needs_a_new_yes() -> None:
    run = at_the_step()
    first = asked(run.incident())
    run.wait(601)
    run.wait(13)
    assert (first, asked(run.incident())) == ("inc-000001/approve/1", "inc-000001/approve/2")
    approve(run, what=first)
    assert only(run).verb == "approve"
    run.wait(601)
    assert (only(run).verb, run.incident().outcome) == ("ticket", "handed_over")


def test_a_yes_to_the_return_of_a_mended_node_is_no_yes_to_a_plan() -> None:
    run = at_the_step()
    for passing_s in (601, 13, 601):
        run.wait(passing_s)
    assert asked(run.incident()) == "return"
