"""How far a step is, as an incident's page draws it."""

from __future__ import annotations

import pytest

from controller.api.moments import iso
from controller.api.plan import planned_steps, refusals
from controller.api.shapes import PlannedStep
from controller.events import Logged, OperatorActed
from controller.web.incident_page import Clock, clock_of
from tests.support.policy import START, PolicyRun, xid


def step(began_at: float | None, ends_by: float | None) -> PlannedStep:
    """Return a step that is under way, where it has both times."""
    began, ends = (iso(at) if at is not None else None for at in (began_at, ends_by))
    return PlannedStep("automatic", "drain", "drain", "current", 1, 1, 600.0, "", "", began_at=began, ends_by=ends)


@pytest.mark.parametrize(
    ("shown", "clock"),
    [
        (None, None),
        (step(START, None), None),
        (step(START, START + 600.0), Clock(25, 450.0)),
        (step(START + 200.0, START + 600.0), Clock(0, 450.0)),
        (step(START, START + 100.0), Clock(100, 0.0)),
        (step(START, START - 1.0), Clock(100, 0.0)),
    ],
)
def test_a_step_is_as_far_as_its_time(shown: PlannedStep | None, clock: Clock | None) -> None:
    assert clock_of(shown, START + 150.0) == clock


def draining() -> PolicyRun:
    """Return a cell in which n1 is drained."""
    run = PolicyRun().nodes("n1")
    run.raise_on("n1", xid("79"))
    (cordon,) = run.under_way("n1")
    run.now += 3.0
    run.end(cordon, because="n1 takes no new work.")
    return run


def log_of(run: PolicyRun) -> list[Logged]:
    """Return the log of its one incident."""
    return [entry for entry in run.log if getattr(entry.event, "incident_id", "") == run.incident().id]


def test_a_step_says_why_it_was_begun_when_it_ended_and_when_it_fails_at_the_latest() -> None:
    run = draining()
    cordon, drain, *_ = planned_steps(run.incident(), log_of(run))
    assert (cordon.state, cordon.because, cordon.began_at) == ("done", "n1 takes no new work.", iso(START))
    assert cordon.ended_at == iso(START + 3.001) and cordon.ends_by is None
    assert cordon.decided.startswith("cordon for gpu_lost") and cordon.inputs["attempt"] == "1"
    assert drain.unless == "a person aborts the incident"
    assert (drain.state, drain.ended_at, drain.ends_by) == ("current", None, iso(START + 603.001))


def test_each_act_that_is_not_possible_has_its_reason() -> None:
    run = draining()
    refused = refusals(run.incident(), run.belief)
    assert refused == {
        "approve": "inc-000001 asks for no approval now",
        "abort": "",
        "uncordon": "",
        "acknowledge": "nobody was paged for inc-000001",
    }
    run.say(OperatorActed("abort", "inc-000001", "alice", ""))
    refused = refusals(run.incident(), run.belief)
    assert refused["abort"].startswith("inc-000001 is in people's hands already")
    assert refused["acknowledge"] == "alice looks after inc-000001"


def test_nothing_can_be_undone_where_nothing_was_done() -> None:
    run = PolicyRun().nodes("n1")
    run.say(OperatorActed("pause", "n1", "alice", ""))
    run.raise_on("n1", xid("79"))
    because = refusals(run.incident(), run.belief)["uncordon"]
    assert because == "n1 is not held out; nothing was done that could be undone"
    run.belief.nodes["n1"].foreign_reason = "bios (bob)"
    assert "held by somebody else (bios (bob))" in refusals(run.incident(), run.belief)["uncordon"]
