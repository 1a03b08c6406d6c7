"""What the trials say so far, once that is taken out which the known causes explain."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from controller.policy.localising.fabric import ALL, Fabric
from controller.policy.localising.trials import Purpose, State, Trial

LEAST_SHARED = 3
"""Failures without a node in common that make a leaf, an uplink or a spine the cause. Source: our choice; as many nodes
as that would have to be bad at once, or as many results wrong."""

LEAST_INSIDE = 2
"""Failures below the leaf for the leaf to be the cause, and passes there for each failure, and at all, for the unit to
be well inside. Source: our choice; one alone may be a wrong result."""

CONTRADICTED = 4
"""A shared cause stands only while it explains at least one in so many of the trials that went its way. Source: our
choice; a bad uplink slows those flows only that were hashed onto it."""


class CauseKind(StrEnum):
    """What can be at fault."""

    NODE = "node"
    PORT = "port"
    LEAF = "leaf"
    UPLINK = "uplink"
    SPINE = "spine"
    BOUNDARY = "boundary"


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing that is believed to be at fault.

    Attributes:
        sides: a group is concerned when it holds a node of each.
        crossing: it is concerned only when it holds nodes of several units.
        lanes: which it slows.
        units: places of the units in the fabric that it belongs to.
        fails: numbers of the trials that condemned it; `passes`: how many spoke against it.
    """

    kind: CauseKind
    sides: tuple[frozenset[str], ...]
    lanes: frozenset[str]
    crossing: bool = False
    units: tuple[int, ...] = ()
    fails: tuple[int, ...] = ()
    passes: int = 0
    partners: tuple[str, ...] = ()

    @property
    def is_own(self) -> bool:
        """Whether it is one node's, or that of its link."""
        return self.kind in {CauseKind.NODE, CauseKind.PORT}

    def concerns(self, nodes: frozenset[str], *, crosses: bool) -> bool:
        """Return whether a group of these nodes would be slow by it."""
        return (crosses or not self.crossing) and all(not side.isdisjoint(nodes) for side in self.sides)


@dataclass(frozen=True, slots=True)
class Seen:
    """A measured trial, prepared.

    Attributes:
        crosses: whether traffic left the unit.
        open: lanes that failed and that no cause explains.
    """

    trial: Trial
    nodes: frozenset[str]
    units: frozenset[int]
    crosses: bool
    failed: frozenset[str]
    passed: frozenset[str]
    open: frozenset[str]

    @property
    def number(self) -> int:
        """The number of the group."""
        return self.trial.group.number

    @property
    def is_clean(self) -> bool:
        """Whether it passed as a whole."""
        return not self.failed and bool(self.passed)

    def failed_on(self, plane: frozenset[str]) -> bool:
        """Return whether lanes of the plane failed without an explanation."""
        return not self.open.isdisjoint(plane)

    def passed_on(self, plane: frozenset[str]) -> bool:
        """Return whether lanes of the plane passed, and none failed."""
        return self.failed.isdisjoint(plane) and not self.passed.isdisjoint(plane)


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that a plan or a verdict rests on. It is made anew from the state whenever it is needed."""

    state: State
    causes: tuple[Cause, ...]
    seen: tuple[Seen, ...]
    tried: dict[str, list[Trial]]
    passes: Counter[str]
    unit_of: dict[str, int]
    inside: dict[int, list[Seen]]

    @property
    def fabric(self) -> Fabric:
        """The network."""
        return self.state.fabric

    @property
    def condemned(self) -> frozenset[str]:
        """Nodes that are at fault themselves, or their links."""
        return frozenset(node for cause in self.causes if cause.is_own for node in cause.sides[0])

    def failing(self) -> list[Seen]:
        """Return what failed and is not explained, the easiest to follow first: within a unit, then the smallest."""
        failed = (seen for seen in self.seen if seen.open)
        return sorted(failed, key=lambda seen: (seen.crosses, len(seen.nodes), seen.number))

    def answers(self, key: str) -> list[Seen]:
        """Return the measured trials of a question."""
        numbers = {trial.group.number for trial in self.tried.get(key, ())}
        return [seen for seen in self.seen if seen.number in numbers] if numbers else []

    def is_settled(self, key: str) -> bool:
        """Return whether a question was answered, or asked as often as it may be."""
        trials = self.tried.get(key, [])
        return any(t.result.outcome.is_measured for t in trials) or len(trials) >= self.state.limits.attempts

    def of_suspect(self, suspect: str, purpose: Purpose) -> list[Seen]:
        """Return the measured trials of one suspect."""
        return [
            seen
            for seen in self.seen
            if seen.trial.group.suspect == suspect and seen.trial.group.purpose is purpose and suspect
        ]


def weigh(state: State, causes: tuple[Cause, ...] = ()) -> Evidence:
    """Return what the trials say beyond what the causes explain, in whichever order they came in."""
    unit_of = {node: number for number, unit in enumerate(state.fabric.units) for node in unit.nodes}
    tried: dict[str, list[Trial]] = defaultdict(list)
    trials = sorted(state.trials, key=lambda trial: trial.group.number)
    for trial in trials:
        tried[trial.group.key].append(trial)
    seen = tuple(_seen(trial, causes, unit_of) for trial in trials if trial.result.outcome.is_measured)
    passes = Counter(node for each in seen if each.is_clean for node in each.trial.group.nodes)
    inside: dict[int, list[Seen]] = defaultdict(list)
    for each in seen:
        if not each.crosses:
            inside[min(each.units)].append(each)
    return Evidence(state, causes, seen, dict(tried), passes, unit_of, dict(inside))


def _seen(trial: Trial, causes: tuple[Cause, ...], unit_of: dict[str, int]) -> Seen:
    nodes = frozenset(trial.group.nodes)
    units = frozenset(unit_of[node] for node in nodes)
    failed = trial.result.failing()
    still = failed
    if failed:
        concerned = [cause for cause in causes if cause.concerns(nodes, crosses=len(units) > 1)]
        explained = frozenset(lane for cause in concerned for lane in cause.lanes)
        still = failed - explained - ({ALL} if explained else set())
    return Seen(trial, nodes, units, len(units) > 1, failed, trial.result.passing(), still)


def disjoint(sets: Iterable[frozenset[str]]) -> list[frozenset[str]]:
    """Return sets without an element in common, as many as a greedy choice finds, the smallest first."""
    chosen: list[frozenset[str]] = []
    used: set[str] = set()
    for each in sorted(sets, key=len):
        if each and used.isdisjoint(each):
            chosen.append(each)
            used |= each
    return chosen


def crossing(evidence: Evidence, plane: frozenset[str]) -> Iterator[Seen]:
    """Yield the trials between units that failed on the plane without an explanation.

    Pairs in which a suspect was tried are left out: they speak of the suspect.
    """
    return (
        seen
        for seen in evidence.seen
        if seen.crosses and seen.failed_on(plane) and seen.trial.group.purpose is not Purpose.PARTNER
    )


def between_units(evidence: Evidence, plane: frozenset[str]) -> list[Seen]:
    """Return such trials of units that are well below their leaves, so that it is the way between them that is slow."""
    return [
        seen
        for seen in crossing(evidence, plane)
        if all(_is_well_inside(evidence, unit, plane & seen.open) for unit in seen.units)
    ]


def _is_well_inside(evidence: Evidence, unit: int, lanes: frozenset[str]) -> bool:
    """Return whether the unit passed below its leaf far more often than it failed there."""
    inside = evidence.inside.get(unit, [])
    failed = sum(seen.failed_on(lanes) for seen in inside)
    passed = sum(not seen.failed_on(lanes) and not seen.passed.isdisjoint(lanes) for seen in inside)
    return passed > 0 and passed >= LEAST_INSIDE * failed


def numbers(seen: Iterable[Seen]) -> tuple[int, ...]:
    """Return the numbers of trials in their order."""
    return tuple(sorted(each.number for each in seen))
