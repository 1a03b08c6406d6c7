"""Attempts: which failure is worth another one, how long it waits, and what follows when nobody knows what happened."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller import events
from controller.policy.playbook import Retry, Step, Verb
from controller.policy.rules import Budget, Rules
from controller.policy.verb_effects import JITTER, MOST_DOUBTS, Doubt, delay_s, effect_of
from tests.support.policy import GPU_LOST, PolicyRun, playbook, xid


def only(run: PolicyRun, node: str = "n1") -> events.StepIntended:
    (intent,) = run.under_way(node)
    return intent


def run_with(*steps: Step) -> PolicyRun:
    book = replace(GPU_LOST, steps=steps)
    return PolicyRun(Rules((book,), Budget(nodes=2))).nodes("n1")


@given(
    st.builds(Retry, st.floats(0.1, 600), st.floats(1, 10), st.floats(600, 3600)),
    st.integers(1, 1000),
    st.text(max_size=20),
    st.floats(0, 900),
)
def test_i12_a_delay_is_bounded_and_the_same_for_the_same_key(
    retry: Retry, failures: int, key: str, least_s: float
) -> None:
    waited = delay_s(retry, failures=failures, key=key, least_s=least_s)
    assert waited == delay_s(retry, failures=failures, key=key, least_s=least_s)
    assert max(least_s, min(retry.after_s, retry.at_most_s) if not least_s else 0.0) <= waited
    assert waited <= max(retry.at_most_s, least_s) * (1 + JITTER)


def test_two_keys_do_not_come_back_together() -> None:
    waits = {delay_s(Retry(), failures=1, key=f"inc-{number:06d}/cordon/1") for number in range(200)}
    assert len(waits) == 200
    assert max(waits) - min(waits) > 2.0


def test_each_next_attempt_waits_longer_up_to_a_bound() -> None:
    run = run_with(Step("cordon", Verb.CORDON, 60.0, attempts=5, retry=Retry(100.0, 2.0, 300.0)))
    run.raise_on("n1", xid("79"))
    for least_s in (100.0, 200.0, 300.0, 300.0):
        run.end(only(run), "failed", "slurmctld is down")
        run.wait(least_s - 1.0)
        assert run.under_way("n1") == []
        run.wait(least_s * JITTER + 1.0)
        assert only(run).verb == "cordon"
    assert only(run).key == "inc-000001/cordon/5"


@pytest.mark.parametrize(
    ("outcome", "permanent", "verb_after"),
    [("failed", False, "cordon"), ("timed_out", False, "cordon"), ("failed", True, "ticket")],
)
def test_what_is_hopeless_is_not_tried_again(outcome: str, permanent: bool, verb_after: str) -> None:
    run = run_with(Step("cordon", Verb.CORDON, 60.0, attempts=3))
    run.raise_on("n1", xid("79"))
    intent = only(run)
    run.say(events.StepEnded("inc-000001", "cordon", 1, outcome, "so", intent.key, permanent=permanent))
    run.wait(13)
    assert only(run).verb == verb_after


def test_a_node_that_refuses_an_order_is_not_asked_again() -> None:
    run = run_with(Step("cordon", Verb.CORDON, 60.0), Step("reboot", Verb.REBOOT, 600.0, attempts=3))
    run.raise_on("n1", xid("79"))
    run.end(only(run))
    run.order_ended(only(run), "refused")
    assert only(run).verb == "ticket"


def test_a_notice_in_doubt_is_sent_again_and_not_for_ever() -> None:
    assert effect_of(Verb.PAGE).doubt is Doubt.SEND_AGAIN
    run = PolicyRun(Rules((playbook("page_only", Verb.PAGE),), Budget(nodes=2))).nodes("n1")
    run.raise_on("n1", xid("79"))
    for attempt in range(1, MOST_DOUBTS + 2):
        assert only(run).attempt == attempt
        run.end(only(run), "in_doubt", "it may have arrived")
        assert attempt > 1 or only(run).attempt == 2, "the first doubt waits for nothing"
        run.wait(26)
    assert only(run).verb == "ticket"


def power_cycle() -> PolicyRun:
    run = run_with(Step("cordon", Verb.CORDON, 60.0), Step("power_cycle", Verb.POWER_CYCLE, 600.0))
    run.raise_on("n1", xid("79"))
    run.end(only(run))
    assert only(run).verb == "power_cycle"
    return run


def note(run: PolicyRun, state: str) -> None:
    intent = only(run)
    run.say(events.StepProgressed("inc-000001", intent.step, intent.attempt, intent.key, state, "The BMC was asked."))


def test_a_power_cycle_in_doubt_is_believed_when_the_node_shows_it() -> None:
    assert effect_of(Verb.POWER_CYCLE).doubt is Doubt.WATCH
    run = power_cycle()
    note(run, "in_doubt")
    run.rebooted("n1")
    assert "power_cycle" not in {intent.verb for intent in run.under_way("n1")}
    assert run.incident().attempts == {"cordon": 1, "power_cycle": 1}


def test_a_power_cycle_in_doubt_is_made_again_when_the_node_showed_nothing() -> None:
    run = power_cycle()
    note(run, "in_doubt")
    run.wait(599)
    assert only(run).attempt == 1
    run.wait(2)
    ended = [e.event for e in run.log if isinstance(e.event, events.StepEnded)][-1]
    assert ended.outcome == "in_doubt" and "did not show it" in ended.because
    assert (only(run).verb, only(run).attempt) == ("power_cycle", 2)


def test_a_power_cycle_that_was_taken_up_and_shows_nothing_is_not_made_again() -> None:
    run = power_cycle()
    note(run, "accepted")
    run.wait(601)
    assert only(run).verb == "ticket"


def test_i3_a_hold_that_is_known_is_lifted_in_the_end() -> None:
    """A person took the node back while the scheduler is down for an hour: the uncordon is tried until it is done."""
    run = PolicyRun().nodes("n1")
    run.raise_on("n1", xid("79"))
    run.end(only(run))
    run.say(events.OperatorActed("uncordon", "n1", "kim", ""))
    tries = 0
    while run.now < 1_000_000.0 + 3600:
        run.end(only(run), "failed", "slurmctld is down")
        run.wait(400)
        tries += 1
    assert tries > 8 and run.belief.held == {"n1"}
    run.end(only(run))
    assert (run.incident().outcome, run.belief.held) == ("cancelled", set())
