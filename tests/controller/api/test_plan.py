"""What is said of a step that is under way."""

from __future__ import annotations

from controller import events
from controller.api.plan import next_of
from tests.support.policy import PolicyRun, xid


def test_a_drain_says_what_it_waits_for_and_how_long_it_may_last() -> None:
    run = PolicyRun().nodes("n1")
    run.raise_on("n1", xid("79"))
    (cordon,) = run.under_way("n1")
    run.end(cordon)
    (drain,) = run.under_way("n1")
    assert next_of(run.incident(), run.now) == "Drain is under way, at most 10 min more."

    step = (drain.incident_id, drain.step, drain.attempt, drain.key)
    run.say(events.StepProgressed(*step, "waiting", "Waits for job 17 (ends by 18:00).", until=run.now + 3 * 3600))
    said = "Drain is under way, at most 3 h more. Waits for job 17 (ends by 18:00)."
    assert next_of(run.incident(), run.now) == said
