"""What a sweep says in the end: the fewest faults that explain what failed, each with its reason (I10)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import assert_never

from controller.policy.localising.evidence import LEAST_SHARED, Cause, CauseKind, Evidence
from controller.policy.localising.fabric import ALL
from controller.policy.localising.suspects import FOLLOWED
from controller.reason import Reason

LEAST_EXPLAINED = 2
"""Failures that a fault must explain beyond what others do. Source: our choice; one alone may be a wrong result."""


class Kind(StrEnum):
    """What is at fault: only a `node` is taken out of service for it."""

    NODE = "node"
    LINK = "link"
    SWITCH = "switch"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One fault.

    Attributes:
        parts: what is at fault; several when tests cannot tell them apart.
        nodes: nodes that have a part in it; for a switch all that hang on it.
        rails: rails on which it is slow, empty for all.
    """

    kind: Kind
    parts: tuple[str, ...]
    nodes: tuple[str, ...]
    rails: tuple[str, ...]
    reason: Reason


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The end of a sweep.

    Attributes:
        cleared: nodes that passed and that nothing unexplained speaks against.
        untested: nodes of which nothing was measured, and why.
        doubts: nodes that were slow too often to be cleared and not often enough to be condemned, and why; they are
            tested again later and nothing is done to them.
        stopped: why the sweep was broken off and a person is needed, `None` when it was not.
    """

    verdicts: tuple[Verdict, ...]
    cleared: tuple[str, ...]
    untested: Mapping[str, str] = field(default_factory=dict)
    doubts: Mapping[str, str] = field(default_factory=dict)
    stopped: Reason | None = None
    tests: int = 0
    rounds: int = 0


def smallest_explanation(evidence: Evidence, candidates: Iterable[Cause]) -> list[Cause]:
    """Return the fewest causes that explain the failures: a greedy set cover.

    Each explains LEAST_EXPLAINED groups in which something failed that those before it do not explain.
    """
    left = {(seen.number, lane) for seen in evidence.seen for lane in seen.failed}
    explains = [(cause, _explained(evidence, cause)) for cause in candidates]
    chosen: list[Cause] = []
    while explains:
        cause, lanes = max(explains, key=lambda each: (len(each[1] & left), not each[0].crossing))
        if len({number for number, _ in lanes & left}) < LEAST_EXPLAINED:
            break
        chosen.append(cause)
        left -= lanes
    return chosen


def _explained(evidence: Evidence, cause: Cause) -> set[tuple[int, str]]:
    concerned = (seen for seen in evidence.seen if seen.failed and cause.concerns(seen.nodes, crosses=seen.crosses))
    return {(seen.number, lane) for seen in concerned for lane in seen.failed if lane in cause.lanes or lane == ALL}


def suspects(evidence: Evidence) -> list[Cause]:
    """Return the fewest nodes, leaves, uplinks and spines that could explain what failed so far.

    Each cause that is found already is one of them. A group that alone was slow may be a wrong result, and is nobody's.
    """
    failed = [seen for seen in evidence.seen if seen.open and seen.trial.group.purpose in FOLLOWED]
    if not failed:
        return list(evidence.causes)
    rest = replace(evidence, causes=(), seen=tuple(failed))
    return [*evidence.causes, *smallest_explanation(rest, _candidates(evidence, {n for s in failed for n in s.nodes}))]


def _candidates(evidence: Evidence, nodes: set[str]) -> list[Cause]:
    fabric = evidence.fabric
    lanes = frozenset(fabric.lanes)
    found = [Cause(CauseKind.NODE, (frozenset({node}),), lanes) for node in sorted(nodes)]
    for number in sorted({evidence.unit_of[node] for node in nodes}):
        side = (frozenset(fabric.units[number].nodes),)
        found += [Cause(CauseKind.LEAF, side, plane, units=(number,)) for plane in fabric.planes]
        found += [Cause(CauseKind.UPLINK, side, plane, crossing=True, units=(number,)) for plane in fabric.planes]
    return [*found, Cause(CauseKind.SPINE, (), lanes, crossing=True)]


def verdict_of(evidence: Evidence, cause: Cause) -> Verdict:
    """Return what is said of a cause."""
    rails = tuple(sorted(cause.lanes - {ALL}, key=int))
    rails = () if len(rails) == evidence.fabric.rails else rails
    kind, parts, nodes = _named(evidence, cause)
    return Verdict(kind, parts, nodes, rails, _reason(evidence, cause, kind, parts, rails))


def _named(evidence: Evidence, cause: Cause) -> tuple[Kind, tuple[str, ...], tuple[str, ...]]:
    units = [evidence.fabric.units[number] for number in cause.units]
    lane = min(cause.lanes - {ALL}, default=ALL)
    nodes = tuple(node for unit in units for node in unit.nodes)
    match cause.kind:
        case CauseKind.NODE:
            return Kind.NODE, tuple(cause.sides[0]), tuple(cause.sides[0])
        case CauseKind.PORT:
            (node,) = cause.sides[0]
            return Kind.LINK, tuple(f"{node} rail {rail}" for rail in sorted(cause.lanes - {ALL}, key=int)), (node,)
        case CauseKind.LEAF:
            return Kind.SWITCH, (units[0].leaf_of(lane),), nodes
        case CauseKind.UPLINK:
            return Kind.LINK, (f"uplinks of {units[0].leaf_of(lane)}",), nodes
        case CauseKind.BOUNDARY:
            return Kind.LINK, tuple(f"uplinks of {unit.leaf_of(lane)}" for unit in units), nodes
        case CauseKind.SPINE:
            return Kind.SWITCH, evidence.fabric.spines or ("the spines",), nodes
        case _:
            assert_never(cause.kind)


_SENTENCES = {
    CauseKind.NODE: "{parts} was slow in {fails} of {pairs} with nodes that are well ({partners}).",
    CauseKind.PORT: "{on}{parts} was slow in {fails} of {pairs} with nodes that are well ({partners}); its "
    "other rails are well, so it is the adapter, the cable or the port of the switch.",
    CauseKind.LEAF: "{on}all that goes through {leaves} was slow, whichever nodes took part, in {fails} of {groups}.",
    CauseKind.UPLINK: "{on}it was slow from below {leaves} towards several other units in {fails} of {groups}; it "
    "is well below the leaf and among the others, so it is the leaf's uplinks.",
    CauseKind.BOUNDARY: "{on}it was slow between the nodes below {leaves} in {fails} of {groups}; it is "
    "well below each. Nothing tells the uplinks of the two and the spines between them apart.",
    CauseKind.SPINE: "{on}it was slow between most units, whichever one is left out, in {fails} of {groups}. "
    "Each unit is well inside.",
}


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _reason(evidence: Evidence, cause: Cause, kind: Kind, parts: tuple[str, ...], rails: tuple[str, ...]) -> Reason:
    lane = min(rails, default=ALL)
    named = cause.sides[0] if cause.kind is CauseKind.PORT else parts
    sentence = _SENTENCES[cause.kind].format(
        parts=" and ".join(named),
        leaves=" and ".join(evidence.fabric.units[number].leaf_of(lane) for number in cause.units),
        on=f"On rail {', '.join(rails)} " if rails else "",
        fails=len(cause.fails),
        pairs=_counted(len(cause.fails) + cause.passes, "pair"),
        groups=_counted(len(cause.fails) + cause.passes, "group"),
        partners=", ".join(cause.partners),
    )
    least = str(evidence.state.limits.fails_ahead if cause.is_own else LEAST_SHARED)
    inputs = {
        "verdict": kind.value,
        "parts": ", ".join(parts),
        "groups": ", ".join(map(str, cause.fails)),
        "partners": ", ".join(cause.partners),
        "fails": str(len(cause.fails)),
        "passes": str(cause.passes),
        "fails_ahead" if cause.is_own else "least_groups": least,
    }
    unless = f"it had not failed {least} times more often than it passed"
    if not cause.is_own:
        unless = (
            f"fewer than {least} groups had been slow on that way, or most had not been, or one node were in them all"
        )
    begins = sentence if cause.is_own else sentence[0].upper() + sentence[1:]
    return Reason(begins, {name: value for name, value in inputs.items() if value}, unless)
