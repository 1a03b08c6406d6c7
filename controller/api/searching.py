"""Search as a person types it: nodes, incidents, serial numbers and devices, the nearest first. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from typing import Final
from urllib.parse import quote

from controller.api import rows
from controller.api.fleet_map import KINDS
from controller.api.map_shapes import Found
from controller.api.phrases import spaced
from controller.policy.belief import Belief
from controller.policy.incident import Incident
from controller.policy.node_belief import NodeBelief, health

MOST_FOUND: Final = 20
MOST_CHARACTERS: Final = 200
"""Source: our choice; a GPU's UUID has 40 characters, the longest name of a node 253, and nobody types those whole."""

_MOST_LOOKED_AT: Final = 200
"""Finds that are put in order; what is typed on narrows them. Source: our choice, ten pages of results."""


def found(belief: Belief, asked: str) -> list[Found]:
    """Return what has the words that were asked for, in any case of letters; exact names first, open incidents next."""
    wanted = asked.strip().casefold()
    if not wanted:
        return []
    matching = list(islice(chain(_incidents(belief, wanted), _nodes(belief, wanted)), _MOST_LOOKED_AT))
    return sorted(matching, key=lambda each: _nearness(each, wanted))[:MOST_FOUND]


def _nearness(each: Found, wanted: str) -> tuple[int, int, list[tuple[int, int, str]]]:
    name = each.name.casefold()
    near = 0 if name == wanted else 1 if name.startswith(wanted) else 2 if wanted in name else 3
    return near, ("node", "incident", "serial", "device").index(each.kind), rows.natural(each.name)


def _incidents(belief: Belief, wanted: str) -> Iterator[Found]:
    for incident in reversed(belief.incidents.values()):
        if any(wanted in said.casefold() for said in _said_of(incident)):
            about = f"{spaced(incident.fault_class)} on {incident.node or 'the fleet'}"
            state = incident.outcome or incident.state
            yield Found("incident", incident.id, about, state, f"/incidents/{quote(incident.id, safe='')}")


def _said_of(incident: Incident) -> tuple[str, ...]:
    return incident.id, incident.fault_class, spaced(incident.fault_class), incident.device, incident.part


def _nodes(belief: Belief, wanted: str) -> Iterator[Found]:
    for node in belief.nodes.values():
        if wanted in node.name.casefold():
            yield _found("node", node.name, _where(node), node)
        if wanted in node.facts.serial.casefold():
            yield _found("serial", node.facts.serial, f"serial of {node.name}", node)
        for device, what in node.facts.devices.items():
            if wanted in device.casefold() or wanted in what.casefold():
                yield _found("device", device, f"{what} in {node.name}", node)


def _where(node: NodeBelief) -> str:
    """Return the node's places; of several of a kind, the first and the last."""
    shown = ((kind, node.places.get(kind, ())) for kind in KINDS)
    return " · ".join(f"{kind} {' … '.join(dict.fromkeys((names[0], names[-1])))}" for kind, names in shown if names)


def _found(kind: str, name: str, about: str, node: NodeBelief) -> Found:
    return Found(kind, name, about, health(node), f"/nodes/{quote(node.name, safe='')}")
