"""What the fleet page shows, computed from belief: tiles, counts, the budget bar and the open incidents."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain, islice

from checks.finding import WORST_FIRST
from controller.api import plan, rows
from controller.api.cell_view import CellView
from controller.api.phrases import spaced
from controller.api.shapes import IncidentRow
from controller.policy.belief import Belief
from controller.policy.incident import Incident
from controller.policy.node_belief import NodeBelief, by_health, health
from controller.policy.scopes import NODE_KIND

MAX_TILES = 1_000
"""Tiles on one page. The worst nodes come first when there are more, and the rest is counted."""

MAX_INCIDENTS = 200
RECENTLY_CLOSED = 8

HEALTHS = tuple(verdict.value for verdict in WORST_FIRST)


@dataclass(frozen=True, slots=True)
class Tile:
    """One node on the map. `doing`: what is done about it, empty when nothing is."""

    name: str
    health: str
    held: bool
    doing: str
    label: str


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
        hidden: nodes for which there was no room.
    """

    tiles: tuple[Tile, ...]
    hidden: int
    only: str
    incidents: tuple[OpenIncident, ...]
    more_incidents: int
    closed: tuple[IncidentRow, ...]


def fleet_view(cell: CellView, *, only: str = "") -> FleetView:
    """Return what the fleet page shows; `only` narrows the map to one health."""
    belief, now = cell.belief, cell.now()
    tiles, hidden = _tiles(belief, only if only in HEALTHS else "")
    open_incidents = sorted(belief.open_incidents.values(), key=_urgency)
    return FleetView(
        tiles,
        hidden,
        only if only in HEALTHS else "",
        tuple(OpenIncident(rows.incident_row(i), plan.next_of(i, now)) for i in open_incidents[:MAX_INCIDENTS]),
        max(0, len(open_incidents) - MAX_INCIDENTS),
        tuple(rows.incident_row(incident) for incident in _closed(belief)),
    )


def _tiles(belief: Belief, only: str) -> tuple[tuple[Tile, ...], int]:
    wanted = [nodes for verdict, nodes in by_health(belief.nodes.values()).items() if only in {"", verdict}]
    chosen = sorted(islice(chain.from_iterable(wanted), MAX_TILES), key=lambda node: rows.natural(node.name))
    hidden = sum(map(len, wanted)) - len(chosen)
    doing = _doing(belief.open_incidents.values())
    paused = {scope.name for scope in belief.pauses if scope.kind == NODE_KIND}
    tiles = (_tile(node, doing.get(node.name, ""), paused=node.name in paused) for node in chosen)
    return tuple(tiles), hidden


def _tile(node: NodeBelief, doing: str, *, paused: bool) -> Tile:
    verdict = health(node)
    if not doing and not node.schedulable:
        doing = "held by others" if node.foreign_reason else "held out"
    parts = [node.name, verdict, doing, "paused" if paused else ""]
    return Tile(node.name, verdict, bool(node.hold_id), doing, ", ".join(part for part in parts if part))


def _doing(incidents: Iterable[Incident]) -> dict[str, str]:
    """Return per node what the newest of its open incidents is at."""
    return {incident.node: _at(incident) for incident in incidents}


def _at(incident: Incident) -> str:
    if incident.intent is not None:
        return spaced(incident.intent.verb)
    if incident.waiting_for:
        return f"waits: {incident.waiting_for}"
    return spaced(incident.state) if incident.outcome else "held out" if incident.holding else "planned"


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
