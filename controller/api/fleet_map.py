"""The fleet map: what it says of each node, as columns for all of them and as rows for those that changed. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from controller.api import rows
from controller.api.map_shapes import FleetMap, Standing
from controller.api.phrases import spaced
from controller.policy.belief import Belief
from controller.policy.incident import Incident
from controller.policy.node_belief import NodeBelief, health
from controller.policy.places import LEAF, POOL, RACK
from controller.policy.scopes import FLEET_KIND

KINDS: Final = ("site", POOL, RACK, LEAF)
"""Kinds of places by which the map can be grouped."""

Row = tuple[str, str, int, int, str]
"""Name, letter of its health, whether it is held out, whether it is paused (1 or 0), what is done about it."""


def in_order(belief: Belief) -> list[NodeBelief]:
    """Return every node, n2 before n10."""
    return sorted(belief.nodes.values(), key=lambda node: rows.natural(node.name))


def as_columns(event_id: int, at: str, names: list[str], shown: Sequence[Row], places: dict[str, Standing]) -> FleetMap:
    """Return the map of these rows. `places`: as `standings` gives them for the same nodes."""
    doing: dict[str, list[int]] = {}
    for position, row in enumerate(shown):
        if row[4]:
            doing.setdefault(row[4], []).append(position)
    held = [position for position, row in enumerate(shown) if row[2]]
    paused = [position for position, row in enumerate(shown) if row[3]]
    return FleetMap(event_id, at, names, "".join(row[1] for row in shown), held, paused, doing, places)


def standings(nodes: Sequence[NodeBelief]) -> dict[str, Standing]:
    """Return where nodes stand, by kind."""
    return {kind: _standing(nodes, kind) for kind in KINDS}


def node_row(belief: Belief, node: NodeBelief) -> Row:
    """Return what the map says of one node."""
    incidents = belief.open_by_node.get(node.name)
    doing = _at(next(reversed(incidents.values()))) if incidents else ""
    if not doing and not node.schedulable:
        doing = "held by others" if node.foreign_reason else "held out"
    return node.name, health(node)[0], int(bool(node.hold_id)), int(_is_paused(belief, node)), doing


def rows_of(belief: Belief, names: Iterable[str]) -> list[Row]:
    """Return what the map says of these nodes; of one that nobody knows, nothing."""
    return [node_row(belief, belief.nodes[name]) for name in names if name in belief.nodes]


def _standing(nodes: Sequence[NodeBelief], kind: str) -> Standing:
    numbers: dict[tuple[str, ...], int] = {}
    of = [numbers.setdefault(node.places.get(kind, ()), len(numbers)) for node in nodes]
    return Standing([list(names) for names in numbers], of)


def _is_paused(belief: Belief, node: NodeBelief) -> bool:
    """A pause of the whole fleet is said once, on top of the page."""
    return any(scope in belief.pauses for scope in node.scopes if scope.kind != FLEET_KIND) if belief.pauses else False


def _at(incident: Incident) -> str:
    if incident.intent is not None:
        return spaced(incident.intent.verb)
    if incident.waiting_for:
        return f"waits: {incident.waiting_for}"
    return spaced(incident.state) if incident.outcome else "held out" if incident.holding else "planned"
