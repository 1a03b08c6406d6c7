"""The fleet map as bytes on their way to a browser: columns, because ten thousand rows would repeat every name."""

from __future__ import annotations

import msgspec


class Standing(msgspec.Struct, frozen=True):
    """Where nodes stand in one kind of place.

    `sets`: the sets of names that occur, the empty one too; `of`: for each node of the map, which of them it is.
    """

    sets: list[list[str]]
    of: list[int]


class FleetMap(msgspec.Struct, frozen=True):
    """Every node as the map draws it.

    Attributes:
        event_id: the log's last entry in it; changes are asked for from here on.
        nodes: names, n2 before n10. Everything below speaks of them by position.
        health: one letter a node: `o` ok, `d` degraded, `f` failed, `u` unknown.
        held: nodes that fleetmend holds out of service.
        paused: nodes for which a person paused everything disruptive, or for a place of theirs.
        doing: what is done about nodes, in words → nodes.
        places: kind (`site`, `pool`, `rack`, `leaf`) → where the nodes stand.
    """

    event_id: int
    at: str
    nodes: list[str]
    health: str
    held: list[int]
    paused: list[int]
    doing: dict[str, list[int]]
    places: dict[str, Standing]


class Found(msgspec.Struct, frozen=True):
    """One thing that a search found.

    `kind`: `node`, `incident`, `serial` or `device`; `state`: health of a node, state of an incident.
    """

    kind: str
    name: str
    about: str
    state: str
    url: str
