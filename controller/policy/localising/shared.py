"""Causes that several nodes share: a leaf switch, its uplinks, the spines, the way between two units."""

from __future__ import annotations

from controller.policy.localising.between import boundary, uplink
from controller.policy.localising.evidence import (
    CONTRADICTED,
    LEAST_INSIDE,
    LEAST_SHARED,
    Cause,
    CauseKind,
    Evidence,
    Seen,
    between_units,
    disjoint,
    numbers,
)

LEAST_PAIRS = 3
"""Pairs of units between which it must be slow for the spines to be the cause. Source: our choice; two bad uplinks make
two pairs."""

LEAST_WITHOUT = 2
"""Slow groups that must be left when any one unit is left out, for the spines to be the cause. Source: our choice; a
bad uplink has its unit in all of them, and one more may be a wrong result."""


def shared_cause(evidence: Evidence) -> Cause | None:
    """Return the next cause that several nodes share, `None` when what failed does not show one."""
    for plane in evidence.fabric.planes:
        found = _leaf(evidence, plane)
        if found is not None:
            return found
    spines = _spines(evidence)
    if spines is not None:
        return spines
    for plane in evidence.fabric.planes:
        found = uplink(evidence, plane) or boundary(evidence, plane)
        if found is not None:
            return found
    return None


def _leaf(evidence: Evidence, plane: frozenset[str]) -> Cause | None:
    """A leaf is bad when all that goes through it is slow, whichever of its nodes take part."""
    failed = [seen for seen in evidence.seen if seen.failed_on(plane)]
    found = [_leaf_of(evidence, plane, failed, unit) for unit in sorted({u for seen in failed for u in seen.units})]
    return max((cause for cause in found if cause), key=lambda cause: len(cause.fails), default=None)


def _leaf_of(evidence: Evidence, plane: frozenset[str], failed: list[Seen], unit: int) -> Cause | None:
    nodes = frozenset(evidence.fabric.units[unit].nodes)
    support = [seen for seen in failed if unit in seen.units and _others_are_well(evidence, seen, nodes)]
    against = sum(seen.passed_on(plane) for seen in evidence.seen if unit in seen.units)
    inside = sum(not seen.crosses for seen in support)
    if CONTRADICTED * against > len(support) or inside < LEAST_INSIDE:
        return None
    if len(disjoint(seen.nodes & nodes for seen in support)) < LEAST_SHARED:
        return None
    return Cause(CauseKind.LEAF, (nodes,), plane, units=(unit,), fails=numbers(support), passes=against)


def _others_are_well(evidence: Evidence, seen: Seen, nodes: frozenset[str]) -> bool:
    return all(evidence.passes[node] > 0 for node in seen.nodes - nodes)


def _spines(evidence: Evidence) -> Cause | None:
    """The spines are bad when it is slow between most units, also when any one of the units is left out."""
    lanes = frozenset(evidence.fabric.lanes)
    failed = between_units(evidence, lanes)
    units = frozenset(unit for seen in failed for unit in seen.units)
    every = sum(seen.crosses for seen in evidence.seen)
    if len({seen.units for seen in failed}) < LEAST_PAIRS or 2 * len(failed) < every:
        return None
    if any(sum(unit not in seen.units for seen in failed) < LEAST_WITHOUT for unit in units):
        return None
    planes = [plane for plane in evidence.fabric.planes if any(seen.failed_on(plane) for seen in failed)]
    return Cause(
        CauseKind.SPINE,
        (),
        planes[0] if len(planes) == 1 else lanes,
        crossing=True,
        units=tuple(sorted(units)),
        fails=numbers(failed),
        passes=every - len(failed),
    )
