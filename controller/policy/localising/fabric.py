"""The network as the localiser knows it: which nodes hang on the same leaves, and no more.

A unit is the set of nodes with the same leaf switches: what its nodes say to each other stays below the leaves, what
they say to others goes over the uplinks and a spine. Each rail (one GPU and one adapter of every node) is tested by
itself too; in a rail-optimised network each has a leaf of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from controller.policy.places import LEAF, NVLINK_DOMAIN, RACK, Places

ALL: Final = "all"
"""The lane of a test over all GPUs of the nodes at once; the others are the rails: `0`, `1`, ..."""

SPINE: Final = "spine"
"""A kind of place that a source may name: the spines above a node's leaves."""

_STANDS_BY: Final = (LEAF, RACK, NVLINK_DOMAIN)
"""What makes a unit, the best first: racks usually share switches where nobody named the leaves."""

_DIGITS = re.compile(r"(\d+)")


@dataclass(frozen=True, slots=True)
class Unit:
    """Nodes that hang on the same leaves.

    Attributes:
        leaves: one for each rail in the order of the rails, or one for all of them, or none known.
    """

    name: str
    leaves: tuple[str, ...]
    nodes: tuple[str, ...]

    def leaf_of(self, lane: str) -> str:
        """Return the leaf that the lane goes through, or what is known of it."""
        if len(self.leaves) == 1:
            return self.leaves[0]
        if lane.isdecimal() and int(lane) < len(self.leaves):
            return self.leaves[int(lane)]
        return f"a leaf of {self.name}"


@dataclass(frozen=True, slots=True)
class Fabric:
    """All units of a sweep. `rails`: lanes that each test reports besides `all`, 0 when it is not split."""

    units: tuple[Unit, ...]
    rails: int = 0
    spines: tuple[str, ...] = ()

    @property
    def nodes(self) -> tuple[str, ...]:
        """Every node, unit by unit."""
        return tuple(node for unit in self.units for node in unit.nodes)

    @property
    def lanes(self) -> tuple[str, ...]:
        """Every lane, `all` first."""
        return (ALL, *map(str, range(self.rails)))

    @property
    def planes(self) -> tuple[frozenset[str], ...]:
        """Lanes that share their leaves: they fail together when a leaf does."""
        if any(len(unit.leaves) > 1 for unit in self.units):
            return tuple(frozenset({lane}) for lane in self.lanes)
        return (frozenset(self.lanes),)


def fabric_of(places: Mapping[str, Places], *, rails: int) -> Fabric:
    """Return the network of these nodes, each with its places.

    A node with as many leaves as rails hangs its first rail on the first leaf, by the order of their names in which
    numbers count as numbers. Nodes of which nothing is known are one unit.
    """
    members: dict[tuple[str, ...], list[str]] = {}
    for node in in_order(places):
        members.setdefault(_stands(places[node]), []).append(node)
    units = tuple(
        Unit(_name(stands), stands[1:] if stands[:1] == (LEAF,) else (), tuple(nodes))
        for stands, nodes in members.items()
    )
    spines = in_order({name for each in places.values() for name in each.get(SPINE, ())})
    return Fabric(units, rails, spines)


def _stands(places: Places) -> tuple[str, ...]:
    kind = next((kind for kind in _STANDS_BY if places.get(kind)), "")
    return (kind, *in_order(places[kind])) if kind else ()


def _name(stands: tuple[str, ...]) -> str:
    if not stands:
        return "nodes without a place"
    kind, *names = stands
    if len(names) == 1:
        return f"{kind.replace('_', ' ')} {names[0]}"
    kinds = "leaves" if kind == LEAF else f"{kind.replace('_', ' ')}s"
    return f"{kinds} {names[0]} to {names[-1]}"


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Return names sorted as people count: `n2` before `n10`."""
    return tuple(sorted(names, key=_natural))


def _natural(name: str) -> tuple[tuple[int, str], ...]:
    return tuple((int(part), "") if part.isdecimal() else (0, part) for part in _DIGITS.split(name))
