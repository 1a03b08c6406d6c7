"""What people asked for."""

from __future__ import annotations

from controller import events
from controller.policy.approvals import RETURN, asked
from controller.policy.belief import Belief
from controller.policy.folds import questions
from controller.policy.folds.noticing import acknowledge
from controller.policy.incident import Approval, Incident
from controller.policy.noticing import closings
from controller.policy.scopes import parse


def acted(belief: Belief, event: events.OperatorActed, at: float) -> None:
    """Take in what a person asked for."""
    by = f"{event.by}: {event.because}" if event.because else event.by
    match event.verb:
        case "pause" | "resume":
            _pause(belief, event.subject, by if event.verb == "pause" else "")
        case "cordon":
            belief.cordons_asked[event.subject] = event
        case "uncordon":
            belief.cordons_asked.pop(event.subject, None)
            for incident in belief.open_on(event.subject):
                acknowledge(belief, incident, event.by, at)
                incident.stop_asked = f"returned to service by {by}"
        case "approve" | "abort" | "acknowledge" if event.subject in belief.open_incidents:
            _act_on(belief, belief.open_incidents[event.subject], event, at)
        case "promote" | "withdraw":
            belief.rollouts.decide_by_hand(event, by)
            questions.ask_all_again(belief)
        case _:
            """An incident that closed in between: nothing is left to approve or abort."""


def _act_on(belief: Belief, incident: Incident, event: events.OperatorActed, at: float) -> None:
    """Whoever says yes or no to an incident looks after it, too."""
    acknowledge(belief, incident, event.by, at)
    if event.verb != "acknowledge":
        _approve_or_abort(incident, event, f"{event.by}: {event.because}" if event.because else event.by)


def _approve_or_abort(incident: Incident, event: events.OperatorActed, by: str) -> None:
    if event.verb == "abort":
        incident.stop_asked = f"aborted by {by}"
        return
    wanted = asked(incident)
    what = event.what or wanted
    if what == RETURN == wanted:
        incident.return_asked = True
        closings.forget(incident)
        return
    incident.approvals[what] = Approval(by, event.expires_at)
    if incident.waiting_for == "approval" and what != wanted:
        incident.waiting_for = ""


def _pause(belief: Belief, subject: str, reason: str) -> None:
    scope = parse(subject)
    if reason:
        belief.pauses[scope] = reason
    else:
        belief.pauses.pop(scope, None)
