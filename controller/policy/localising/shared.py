"""Causes that several nodes share: a leaf switch, its uplinks, the spines, the way between two units."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from controller.policy.localising.evidence import (
    CONTRADICTED,
    LEAST_SHARED,
    Cause,
    CauseKind,
    Evidence,
    Seen,
    crossing,
    disjoint,
)
from controller.policy.localising.trials import Purpose

MOST_PROBES = 6
"""Probes of one unit towards others, after which the way to its neighbour is blamed. Source: our choice."""

LEAST_INSIDE = 2
"""Failures below the leaf for the leaf to be the cause: without them it may be its uplinks. Source: our choice; one
alone may be a wrong result."""

LEAST_PAIRS = 3
"""Pairs of units between which it must be slow, without a unit in all of them, for the spines to be the cause. Source:
our choice; one bad uplink has its unit in all of them, and two bad ones at once make two pairs."""


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
        found = _uplink(evidence, plane) or _boundary(evidence, plane)
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
    return Cause(CauseKind.LEAF, (nodes,), plane, units=(unit,), fails=_numbers(support), passes=against)


def _others_are_well(evidence: Evidence, seen: Seen, nodes: frozenset[str]) -> bool:
    return all(evidence.passes[node] > 0 for node in seen.nodes - nodes)


def _spines(evidence: Evidence) -> Cause | None:
    """The spines are bad when it is slow between most units and no unit has a part in all of it."""
    lanes = frozenset(evidence.fabric.lanes)
    failed = [seen for seen in crossing(evidence, lanes) if _are_well_inside(evidence, seen.units, seen.open)]
    pairs = {seen.units for seen in failed}
    if len(pairs) < LEAST_PAIRS or frozenset.intersection(*pairs):
        return None
    every = sum(seen.crosses for seen in evidence.seen)
    if 2 * len(failed) < every or len(disjoint(seen.nodes for seen in failed)) < LEAST_SHARED:
        return None
    planes = [plane for plane in evidence.fabric.planes if any(seen.failed_on(plane) for seen in failed)]
    return Cause(
        CauseKind.SPINE,
        (),
        planes[0] if len(planes) == 1 else lanes,
        crossing=True,
        units=tuple(sorted(frozenset.union(*pairs))),
        fails=_numbers(failed),
        passes=every - len(failed),
    )


def _are_well_inside(evidence: Evidence, units: frozenset[int], lanes: frozenset[str]) -> bool:
    """Return whether each of these units passed below its leaves far more often than it failed there."""
    return all(_is_well_inside(evidence, unit, lanes) for unit in units)


def _is_well_inside(evidence: Evidence, unit: int, lanes: frozenset[str]) -> bool:
    inside = evidence.inside.get(unit, [])
    failed = sum(seen.failed_on(lanes) for seen in inside)
    passed = sum(not seen.failed_on(lanes) and not seen.passed.isdisjoint(lanes) for seen in inside)
    return passed > 0 and passed >= LEAST_INSIDE * failed


def _between_units(evidence: Evidence, plane: frozenset[str]) -> list[Seen]:
    return [seen for seen in crossing(evidence, plane) if _are_well_inside(evidence, seen.units, plane)]


def _fails_of_units(failed: list[Seen]) -> dict[int, list[Seen]]:
    units = sorted({unit for seen in failed for unit in seen.units})
    return {unit: [seen for seen in failed if unit in seen.units] for unit in units}


def _uplink(evidence: Evidence, plane: frozenset[str]) -> Cause | None:
    """The uplinks of a leaf are bad when it is slow towards several units that are well among each other."""
    by_unit = _fails_of_units(_between_units(evidence, plane))
    most = max(map(len, by_unit.values()), default=0)
    worst = [unit for unit, failed in by_unit.items() if len(failed) == most]
    if len(worst) != 1 or most < LEAST_SHARED:
        return None
    (unit,), failed = worst, by_unit[worst[0]]
    partners = frozenset(other for seen in failed for other in seen.units if other != unit)
    passed = sum(seen.crosses and unit in seen.units and seen.passed_on(plane) for seen in evidence.seen)
    in_all = frozenset.intersection(*(seen.nodes for seen in failed))
    if not _others_are_well_between(evidence, plane, unit):
        return None
    if len(partners) < evidence.state.limits.least_partners or in_all or passed >= CONTRADICTED * most:
        return None
    names = tuple(evidence.fabric.units[other].name for other in sorted(partners))
    return Cause(
        CauseKind.UPLINK,
        (frozenset(evidence.fabric.units[unit].nodes),),
        plane,
        crossing=True,
        units=(unit,),
        fails=_numbers(failed),
        passes=passed,
        partners=names,
    )


def _others_are_well_between(evidence: Evidence, plane: frozenset[str], unit: int) -> bool:
    others = [seen for seen in evidence.seen if seen.crosses and unit not in seen.units]
    return sum(seen.passed_on(plane) for seen in others) > sum(seen.failed_on(plane) for seen in others)


def _boundary(evidence: Evidence, plane: frozenset[str]) -> Cause | None:
    """Where nobody else can be asked, or all others find both units well, it is the way between the two."""
    failed = _between_units(evidence, plane)
    counted = Counter(seen.units for seen in failed if len(seen.units) == 2)
    for units, count in counted.most_common():
        here = [seen for seen in failed if seen.units == units]
        if count < LEAST_SHARED or len(disjoint(seen.nodes for seen in here)) < 2:
            continue
        if len(evidence.fabric.units) > 2 and any(_may_be_probed(evidence, plane, unit) for unit in units):
            continue
        passed = sum(seen.units == units and seen.passed_on(plane) for seen in evidence.seen)
        if passed >= CONTRADICTED * count:
            continue
        pair = tuple(sorted(units))
        sides = tuple(frozenset(evidence.fabric.units[unit].nodes) for unit in pair)
        return Cause(CauseKind.BOUNDARY, sides, plane, crossing=True, units=pair, fails=_numbers(here), passes=passed)
    return None


def to_probe(evidence: Evidence) -> Iterator[int]:
    """Yield the units of which it must be found out whether they are slow towards others, too."""
    for plane in evidence.fabric.planes:
        by_unit = _fails_of_units(_between_units(evidence, plane))
        most = max(map(len, by_unit.values()), default=0)
        if most < 2:
            continue
        worst = [unit for unit, failed in by_unit.items() if len(failed) == most]
        if len(evidence.fabric.units) == 2:
            worst = worst[:1]
        yield from (unit for unit in worst if _may_be_probed(evidence, plane, unit))


def suspect_of(unit: int) -> str:
    """Return under which name a unit is probed."""
    return f"unit {unit}"


def _may_be_probed(evidence: Evidence, plane: frozenset[str], unit: int) -> bool:
    name = suspect_of(unit)
    if sum(trial.group.suspect == name for trial in evidence.state.trials) >= MOST_PROBES:
        return False
    probes = evidence.of_suspect(name, Purpose.PROBE)
    failed = sum(seen.failed_on(plane) for seen in probes)
    passed = sum(seen.passed_on(plane) for seen in probes)
    return passed - failed < evidence.state.limits.passes_ahead


def _numbers(seen: list[Seen]) -> tuple[int, ...]:
    return tuple(sorted(each.number for each in seen))
