"""What an incident's page shows besides the incident itself: the decisions that stand, and what people may do. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from controller.api.shapes import IncidentDetail, PlannedStep, TimelineEntry

STANDING = (
    "incident.opened",
    "incident.reclassified",
    "incident.superseded",
    "incident.handed_over",
    "incident.returning",
    "incident.releasing",
    "incident.aborted",
    "incident.closed",
)
"""Kinds of decisions that lead an incident; the newest of each is why it is where it is."""

WAITING = "incident.waiting"

NAMES: Mapping[str, str] = {
    "approve": "Approve",
    "abort": "Take over",
    "uncordon": "Undo",
    "acknowledge": "Acknowledge",
}
"""What people call each act; to take over is to abort the plan, whatever the node's state then."""


@dataclass(frozen=True, slots=True)
class Clock:
    """How far a step that is under way is. `share`: of its limit, in percent; `left_s`: seconds."""

    share: int
    left_s: float


@dataclass(frozen=True, slots=True)
class IncidentView:
    """What is shown.

    Attributes:
        decisions: why it is where it is, oldest first.
        cannot: what people cannot do now → why not.
        clock: of the step that is under way, `None` when none is.
    """

    decisions: tuple[TimelineEntry, ...]
    cannot: Mapping[str, str]
    clock: Clock | None


def incident_view(incident: IncidentDetail, now: float, *, stands_by: bool) -> IncidentView:
    """Return what is shown of an incident.

    Args:
        stands_by: this controller changes nothing; another one leads.
    """
    current = next((step for step in reversed(incident.steps) if step.ends_by is not None), None)
    return IncidentView(_decisions(incident), _cannot(incident, stands_by=stands_by), clock_of(current, now))


def _decisions(incident: IncidentDetail) -> tuple[TimelineEntry, ...]:
    kinds = {*STANDING, WAITING} if incident.waiting_for else set(STANDING)
    newest = {entry.kind: entry for entry in incident.timeline if entry.kind in kinds}
    told = (entry for entry in newest.values() if entry.because or entry.inputs or entry.unless)
    return tuple(sorted(told, key=lambda entry: entry.event_id))


def _cannot(incident: IncidentDetail, *, stands_by: bool) -> Mapping[str, str]:
    if stands_by:
        return dict.fromkeys(NAMES.values(), "this controller stands by and changes nothing")
    return {NAMES[act]: because for act, because in incident.refusals.items()}


def clock_of(step: PlannedStep | None, now: float) -> Clock | None:
    """Return how far a step is, `None` for one that is not under way."""
    if step is None or step.began_at is None or step.ends_by is None:
        return None
    began, ends = (datetime.fromisoformat(text).timestamp() for text in (step.began_at, step.ends_by))
    gone = (now - began) / (ends - began) if ends > began else 1.0
    return Clock(round(100 * min(1.0, max(0.0, gone))), max(0.0, ends - now))
