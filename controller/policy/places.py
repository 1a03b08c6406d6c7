"""Where nodes stand: the groups that fail together, are drained together and share a budget. Pure.

A source (an operator's file, Slurm, the node itself) claims places of a node; each place has a kind (`rack`, `leaf`)
and a name. For each kind the best source that names any wins whole, so that a file corrects what a switch says. Three
kinds are claimed by nobody: they follow from what the node is and does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Protocol

from wire.messages import NodeFacts
from wire.places import DERIVED, DRIVER, JOB, LEAF, NVLINK_DOMAIN, POOL, RACK, SKU, UPLINK

__all__ = ["DERIVED", "DRIVER", "JOB", "LEAF", "NVLINK_DOMAIN", "POOL", "RACK", "SKU", "UPLINK"]

ITSELF: Final = "node"
"""The source of what a node says of itself."""

PRECEDENCE: Final = ("file", "netbox", "slurm", "kubernetes", "ib_fabric", ITSELF)
"""Sources, the best first. Source: our choice; what people wrote down for this purpose outranks what was written for
another, and that outranks what was found out. One that is not listed comes last, by its name."""

_RANKS: Final = {source: rank for rank, source in enumerate(PRECEDENCE)}

Places = Mapping[str, tuple[str, ...]]
Place = tuple[str, str]
"""Kind and name."""


class Standing(Protocol):
    """What is needed of a node to say where it stands."""

    @property
    def facts(self) -> NodeFacts:
        """What the node is."""
        ...

    @property
    def jobs(self) -> tuple[str, ...]:
        """Jobs that run on it."""
        ...

    @property
    def places(self) -> Places:
        """What its sources claim, merged."""
        ...


def places_of(node: Standing) -> dict[str, tuple[str, ...]]:
    """Return every place of a node, kind → names, the derived ones included. A kind without a name is left out."""
    places = dict(node.places)
    if node.facts.gpu_model:
        places[SKU] = (node.facts.gpu_model,)
    if node.facts.driver_version:
        places[DRIVER] = (node.facts.driver_version,)
    if node.jobs:
        places[JOB] = node.jobs
    return places


def claimed(places: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
    """Return a source's claim in its one form: names sorted and once each, nothing empty, no derived kind."""
    kept = {kind: tuple(sorted({name for name in names if name})) for kind, names in places.items()}
    return {kind: kept[kind] for kind in sorted(kept) if kind and kept[kind] and kind not in DERIVED}


def merged(claims: Mapping[str, Places]) -> dict[str, tuple[str, ...]]:
    """Return kind → names, for each kind those of the best source that claims any."""
    if len(claims) == 1:
        return dict(*claims.values())
    places: dict[str, tuple[str, ...]] = {}
    for source in sorted(claims, key=_rank):
        for kind, names in claims[source].items():
            places.setdefault(kind, names)
    return {kind: places[kind] for kind in sorted(places)}


def sources_of(claims: Mapping[str, Places]) -> dict[str, str]:
    """Return kind → the source that it was taken from."""
    kinds = {kind: source for source in sorted(claims, key=_rank, reverse=True) for kind in claims[source]}
    return {kind: kinds[kind] for kind in sorted(kinds)}


def move(residents: dict[Place, set[str]], node: str, *, before: Places, after: Places) -> None:
    """Take a node out of the places it left and into those it came to; a place without nodes is forgotten."""
    if before == after:
        return
    was, now = set(_each(before)), set(_each(after))
    for place in was - now:
        residents[place].discard(node)
        if not residents[place]:
            del residents[place]
    for place in now - was:
        residents.setdefault(place, set()).add(node)


def _each(places: Places) -> Iterator[Place]:
    return ((kind, name) for kind, names in places.items() for name in names)


def _rank(source: str) -> tuple[int, str]:
    return _RANKS.get(source, len(_RANKS)), source
