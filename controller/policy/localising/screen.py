"""The screen: two rounds in which every node takes part in two groups that have few other nodes in common.

The first keeps below the leaves, so a failure there is a node, its link or its leaf. The second crosses from each unit
to its two neighbours in a ring of units, so that uplinks and spines are used. A single wrong result hides a fault in
one of them, not in both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, pairwise, zip_longest

from controller.policy.localising.fabric import Fabric, Unit
from controller.policy.localising.shuffling import shuffled

LEAST_UNIT = 4
"""Units with fewer nodes are screened together. Source: our choice; a group of two says little that a pair does not."""

Chunk = tuple[str, ...]


def within(fabric: Fabric, most: int) -> list[Chunk]:
    """Return the groups of the first round: parts of one unit, at least two of each, and small units put together."""
    groups = [chunk for unit in fabric.units if len(unit.nodes) >= LEAST_UNIT for chunk in _parts(unit, most)]
    rest = [node for unit in fabric.units if len(unit.nodes) < LEAST_UNIT for node in unit.nodes]
    return _none_alone([*groups, *_chunks(rest, most)])


def across(fabric: Fabric, most: int, seed: str) -> list[Chunk]:
    """Return the groups of the second round: each of two units, and of every part of them."""
    dealt = [_dealt(unit, most, seed) for unit in fabric.units]
    if len(dealt) == 1:
        return _none_alone(dealt[0])
    ring = [dealt[number] for number in map(int, shuffled(map(str, range(len(dealt))), seed, "ring"))]
    right = [chunks[: (len(chunks) + 1) // 2] for chunks in ring]
    left = [chunks[(len(chunks) + 1) // 2 :] for chunks in ring]
    groups, over = [], list[Chunk]()
    for here, there in zip(right, [*left[1:], left[0]], strict=True):
        met = min(len(here), len(there))
        groups += [interleaved(*pair) for pair in zip(here, there, strict=False)]
        over += [*here[met:], *there[met:]]
    return _none_alone([*groups, *(interleaved(*over[at : at + 2]) for at in range(0, len(over), 2))])


def interleaved(*chunks: Sequence[str]) -> Chunk:
    """Return the nodes in turn from each chunk, so that every step of the ring crosses."""
    rows: Iterator[tuple[str | None, ...]] = zip_longest(*chunks)
    return tuple(node for row in rows for node in row if node is not None)


def _parts(unit: Unit, most: int) -> list[Chunk]:
    size = len(unit.nodes)
    return _chunks(unit.nodes, most if size > most or size < 2 * LEAST_UNIT else (size + 1) // 2)


def _chunks(nodes: Sequence[str], most: int) -> list[Chunk]:
    """Return chunks of nearly the same size, none larger than `most`."""
    count = -(-len(nodes) // most)
    bounds = [len(nodes) * number // count for number in range(count + 1)] if count else []
    return [tuple(nodes[begin:end]) for begin, end in pairwise(bounds)]


def _dealt(unit: Unit, most: int, seed: str) -> list[Chunk]:
    """Return half-groups of a unit, each with some nodes of every group of the first round."""
    parts = [shuffled(part, seed, unit.name) for part in _parts(unit, most)]
    turns = interleaved(*parts)
    return _chunks(turns, max(1, min(most // 2, (len(turns) + 1) // 2)))


def _none_alone(groups: list[Chunk]) -> list[Chunk]:
    """Give a node that would be alone to a group that is not: alone it reaches nobody."""
    kept = [group for group in groups if len(group) > 1]
    alone = tuple(chain.from_iterable(group for group in groups if len(group) == 1))
    if len(alone) > 1 or not kept:
        return [*kept, alone] if len(alone) > 1 else kept
    return [*kept[:-1], (*kept[-1], *alone)]
