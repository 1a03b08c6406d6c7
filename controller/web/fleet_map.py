"""What the fleet page shows besides its map, computed from belief: the open incidents and those closed of late."""

from __future__ import annotations

from dataclasses import dataclass

from checks.finding import WORST_FIRST
from controller.api import plan, rows
from controller.api.cell_view import CellView
from controller.api.problems import Problem
from controller.api.shapes import IncidentRow
from controller.policy.belief import Belief
from controller.policy.incident import Incident

MAX_INCIDENTS = 12
"""The map has to be near; `/incidents` has them all. Source: our choice."""

RECENTLY_CLOSED = 8

HEALTHS = tuple(verdict.value for verdict in WORST_FIRST)


@dataclass(frozen=True, slots=True)
class OpenIncident:
    """One open incident with what comes next."""

    row: IncidentRow
    next: str


@dataclass(frozen=True, slots=True)
class FleetView:
    """The fleet page.

    Attributes:
        only: the health to which the map is narrowed, empty for all.
    """

    only: str
    incidents: tuple[OpenIncident, ...]
    more_incidents: int
    closed: tuple[IncidentRow, ...]


def fleet_view(cell: CellView, *, only: str = "") -> FleetView:
    """Return what the fleet page shows besides the map, which its script draws; `only` narrows that to one health.

    Raises:
        Problem: 422, there is no such health.
    """
    if only and only not in HEALTHS:
        raise Problem(422, f"{only[:40]!r} is no health", ", ".join(HEALTHS), field="health")
    belief, now = cell.belief, cell.now()
    open_incidents = sorted(belief.open_incidents.values(), key=_urgency)
    return FleetView(
        only,
        tuple(OpenIncident(rows.incident_row(i), plan.next_of(i, now)) for i in open_incidents[:MAX_INCIDENTS]),
        max(0, len(open_incidents) - MAX_INCIDENTS),
        tuple(rows.incident_row(incident) for incident in _closed(belief)),
    )


def _urgency(incident: Incident) -> tuple[int, float]:
    """People's own turn first, then what is newest."""
    asks = incident.state in {"handed_over", "aborted"} or plan.waits_for_approval(incident)
    return (0 if asks else 1, -incident.opened_at)


def _closed(belief: Belief) -> list[Incident]:
    found: list[Incident] = []
    for incident in reversed(belief.incidents.values()):
        if len(found) == RECENTLY_CLOSED:
            break
        if incident.closed_at:
            found.append(incident)
    return found
