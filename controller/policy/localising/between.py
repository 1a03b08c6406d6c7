"""Causes on the way between units, and the probes that tell them apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from controller.policy.localising.evidence import (
    CONTRADICTED,
    LEAST_INSIDE,
    LEAST_SHARED,
    Cause,
    CauseKind,
    Evidence,
    Seen,
    between_units,
    numbers,
)
from controller.policy.localising.trials import Purpose

MOST_PROBES = 8
"""Probes of one unit towards others, after which the way to its neighbour is blamed. Source: our choice."""

MANY = 5
"""So many slow groups stand against three times as many that were not. Source: our choice; fewer may be wrong results,
and a bad uplink slows only what was hashed onto it."""


def uplink(evidence: Evidence, plane: frozenset[str]) -> Cause | None:
    """The uplinks of a leaf are bad when it is slow towards several units that are well among each other."""
    worst, failed = _worst(evidence, plane)
    if len(worst) != 1 or len(failed) < LEAST_SHARED:
        return None
    (unit,) = worst
    partners = frozenset(other for seen in failed for other in seen.units if other != unit)
    passed = sum(seen.crosses and unit in seen.units and seen.passed_on(plane) for seen in evidence.seen)
    if len(partners) < evidence.state.limits.least_partners or not _outweigh(failed, passed):
        return None
    if not _others_are_well(evidence, plane, unit) or _looks_inside(evidence, plane, unit):
        return None
    return Cause(
        CauseKind.UPLINK,
        (frozenset(evidence.fabric.units[unit].nodes),),
        plane,
        crossing=True,
        units=(unit,),
        fails=numbers(failed),
        passes=passed,
        partners=tuple(evidence.fabric.units[other].name for other in sorted(partners)),
    )


def boundary(evidence: Evidence, plane: frozenset[str]) -> Cause | None:
    """Where nobody else can be asked, or all others find both units well, it is the way between the two."""
    failed = between_units(evidence, plane)
    for units, _ in Counter(seen.units for seen in failed if len(seen.units) == 2).most_common():
        here = [seen for seen in failed if seen.units == units]
        passed = sum(seen.units == units and seen.passed_on(plane) for seen in evidence.seen)
        if len(here) < LEAST_SHARED or not _outweigh(here, passed):
            continue
        if len(evidence.fabric.units) > 2 and any(_may_be_probed(evidence, plane, unit) for unit in units):
            continue
        if any(_looks_inside(evidence, plane, unit) for unit in units):
            continue
        pair = tuple(sorted(units))
        sides = tuple(frozenset(evidence.fabric.units[unit].nodes) for unit in pair)
        return Cause(CauseKind.BOUNDARY, sides, plane, crossing=True, units=pair, fails=numbers(here), passes=passed)
    return None


def to_probe(evidence: Evidence) -> Iterator[int]:
    """Yield the units of which it must be found out whether they are slow towards others, too."""
    for plane in evidence.fabric.planes:
        worst, failed = _worst(evidence, plane)
        if len(failed) < 2:
            continue
        if len(worst) == 1 and len(failed) >= LEAST_SHARED and not _others_are_well(evidence, plane, *worst):
            worst = sorted({unit for seen in failed for unit in seen.units} - set(worst))
        if len(evidence.fabric.units) == 2:
            worst = worst[:1]
        yield from (unit for unit in worst if _may_be_probed(evidence, plane, unit))


def to_look_inside(evidence: Evidence) -> Iterator[int]:
    """Yield the units that are slow towards others, and passed so rarely below their leaf that this may be wrong."""
    for plane in evidence.fabric.planes:
        worst, failed = _worst(evidence, plane)
        if len(failed) >= 2:
            yield from (unit for unit in worst if _looks_inside(evidence, plane, unit))


def suspect_of(unit: int) -> str:
    """Return under which name a unit is probed."""
    return f"unit {unit}"


def looks_of(unit: int) -> str:
    """Return under which name it is looked below the leaf of a unit."""
    return f"unit {unit} inside"


def _worst(evidence: Evidence, plane: frozenset[str]) -> tuple[list[int], list[Seen]]:
    """Return the units that have a part in most failures on the way between units, and those of the first of them."""
    failed = between_units(evidence, plane)
    counted = Counter(unit for seen in failed for unit in seen.units)
    most = max(counted.values(), default=0)
    worst = sorted(unit for unit, count in counted.items() if count == most)
    return worst, [seen for seen in failed if worst[0] in seen.units]


def _outweigh(failed: list[Seen], passed: int) -> bool:
    """Return whether the failures have no node in common, and are many beside what passed."""
    if frozenset.intersection(*(seen.nodes for seen in failed)):
        return False
    count = len(failed)
    return count >= passed + 2 or (count >= MANY and passed < CONTRADICTED * count)


def _others_are_well(evidence: Evidence, plane: frozenset[str], unit: int) -> bool:
    others = [seen for seen in evidence.seen if seen.crosses and unit not in seen.units]
    return sum(seen.passed_on(plane) for seen in others) - sum(seen.failed_on(plane) for seen in others) >= 2


def _looks_inside(evidence: Evidence, plane: frozenset[str], unit: int) -> bool:
    inside = evidence.inside.get(unit, [])
    looks = sum(trial.group.suspect == looks_of(unit) for trial in evidence.state.trials)
    return sum(seen.passed_on(plane) for seen in inside) < LEAST_INSIDE and looks < MOST_PROBES


def _may_be_probed(evidence: Evidence, plane: frozenset[str], unit: int) -> bool:
    name = suspect_of(unit)
    if sum(trial.group.suspect == name for trial in evidence.state.trials) >= MOST_PROBES:
        return False
    probes = evidence.of_suspect(name, Purpose.PROBE)
    failed = sum(seen.failed_on(plane) for seen in probes)
    passed = sum(seen.passed_on(plane) for seen in probes)
    return passed - failed < evidence.state.limits.passes_ahead
