"""How long a drain lasts when the site spares jobs, and what is left alone while somebody else works at our node."""

from __future__ import annotations

from dataclasses import replace

from controller import events
from controller.policy.playbook import Step, Verb
from controller.policy.rules import Budget, Rules
from tests.support.policy import GPU_LOST, PolicyRun, xid

DRAIN = Step("drain", Verb.DRAIN, 600.0, parameters={"jobs": "requeue"})
REBOOT = Step("reboot", Verb.REBOOT, 600.0)


def held_out(*steps: Step) -> PolicyRun:
    """n1 is cordoned, and the next step begins."""
    book = replace(GPU_LOST, steps=(Step("cordon", Verb.CORDON, 60.0), *steps, Step("uncordon", Verb.UNCORDON, 60.0)))
    run = PolicyRun(Rules((book,), Budget(nodes=2))).nodes("n1")
    run.raise_on("n1", xid("79"))
    run.end(only(run))
    return run


def only(run: PolicyRun) -> events.StepIntended:
    (intent,) = run.under_way("n1")
    return intent


def waits(run: PolicyRun, until: float, state: str = "waiting") -> None:
    intent = only(run)
    step = (intent.incident_id, intent.step, intent.attempt, intent.key)
    run.say(events.StepProgressed(*step, state, "Waits for job 17.", until=until))


def seen(run: PolicyRun, held_by: str, foreign_reason: str) -> None:
    run.say(events.ScheduleObserved("n1", False, held_by, foreign_reason, [], run.now))


def test_a_drain_ends_at_its_limit() -> None:
    run = held_out(DRAIN)
    waits(run, 0.0)
    run.wait(599)
    assert only(run).verb == "drain"
    run.wait(2)
    assert only(run).verb == "ticket"


def test_a_drain_lasts_as_long_as_the_jobs_that_the_site_spares() -> None:
    run = held_out(DRAIN)
    waits(run, run.now + 7_200.0)
    run.wait(7_199)
    assert only(run).verb == "drain"
    run.wait(2)
    assert only(run).verb == "ticket"
    assert run.incident().last_failure == "It did not end within 7200 s."


def test_a_failure_in_between_shortens_no_wait() -> None:
    run = held_out(DRAIN)
    until = run.now + 7_200.0
    waits(run, until)
    waits(run, until, "delayed")
    run.wait(7_000)
    assert only(run).verb == "drain"


def test_nothing_is_done_to_our_node_while_somebody_else_works_at_it() -> None:
    run = held_out(DRAIN, REBOOT)
    seen(run, "inc-000001", "maintenance reservation firmware")
    run.end(only(run))
    assert run.under_way("n1") == []
    assert run.incident().waiting_for == "foreign hold"

    seen(run, "inc-000001", "")
    assert only(run).verb == "reboot"


def test_i3_our_hold_ends_although_somebody_else_works_at_the_node() -> None:
    run = held_out()
    seen(run, "inc-000001", "maintenance reservation firmware")
    assert only(run).verb == "uncordon"
    run.end(only(run))
    assert run.belief.held == set()


def test_i5_nothing_is_repaired_on_a_node_that_somebody_else_holds() -> None:
    book = replace(GPU_LOST, steps=(Step("restart", Verb.RESTART_SERVICE, 60.0),), drain_needed=False)
    run = PolicyRun(Rules((book,), Budget(nodes=2))).nodes("n1")
    seen(run, "", "memory test by kim")
    run.raise_on("n1", xid("79"))
    assert run.under_way("n1") == []
    assert run.incident().waiting_for == "foreign hold"

    run.say(events.ScheduleObserved("n1", True, "", "", [], run.now))
    assert only(run).verb == "restart_service"
