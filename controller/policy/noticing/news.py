"""What people who have a ticket or a page are told of an incident that moved: one short sentence, or nothing."""

from __future__ import annotations

from functools import singledispatch

from controller import events
from controller.policy.incident import Incident
from controller.policy.noticing.book import News
from controller.policy.playbook import REPAIRS, Verb
from wire.evidence import size_text


def news_of(logged: events.Logged, incident: Incident) -> News | None:
    """Return what an entry of the log means to those who have a notice of the incident, `None` for nothing."""
    sentence, is_major = _said(logged.event, incident)
    return News(logged.event_id, logged.at, sentence, is_major) if sentence else None


Said = tuple[str, bool]
_NOTHING: Said = ("", False)


@singledispatch
def _said(_event: object, _incident: Incident) -> Said:
    return _NOTHING


@_said.register
def _(event: events.StepEnded, _incident: Incident) -> Said:
    verb = event.key.split("/")[1] if event.key.count("/") == 2 else event.step
    if verb in REPAIRS or event.step in REPAIRS:
        outcome = "is done" if event.outcome == "done" else f"did not help: {event.outcome}"
        return f"{event.step} {outcome}. {event.because}".rstrip(), False
    if event.step == Verb.VERIFY and event.outcome == "done":
        return f"Verified: {event.because}", False
    return _NOTHING


@_said.register
def _(event: events.EvidenceStored, _incident: Incident) -> Said:
    return f"Evidence: {event.url} ({size_text(event.size_bytes)}).", False


@_said.register
def _(event: events.IncidentJoined, incident: Incident) -> Said:
    finding = event.finding
    return f"Also found on {event.node or incident.node}: {finding.because}", False


@_said.register
def _(event: events.IncidentHandedOver, _incident: Incident) -> Said:
    return event.reason.because, True


@_said.register
def _(event: events.IncidentReturning, _incident: Incident) -> Said:
    return event.reason.because, False


@_said.register
def _(event: events.IncidentReleasing, _incident: Incident) -> Said:
    return event.reason.because, False


@_said.register
def _(event: events.IncidentAborted, _incident: Incident) -> Said:
    return f"{event.reason.because} The node stays out until a person returns it.", True


@_said.register
def _(event: events.IncidentClosed, _incident: Incident) -> Said:
    return f"Closed, {event.outcome.replace('_', ' ')}: {event.reason.because}", False


@_said.register
def _(event: events.OperatorActed, _incident: Incident) -> Said:
    if event.verb != "acknowledge":
        return _NOTHING
    words = f": {event.because}" if event.because else ""
    return f"{event.by} acknowledged it{words}.".replace("..", "."), False
