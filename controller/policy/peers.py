"""Nodes that stand out among their peers: same model, same role, same job, and one number that is not like theirs.

A measure has no limit of its own. A node is an outlier when it is far from the median of its peers, counted in robust
deviations, for four minutes without a break; when many stand out together the cause is a job or a room, and nobody is
blamed. Pure: it keeps what it was told, and the caller says when it is now.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import TypeVar

from checks.finding import Action, Finding, Verdict
from checks.measures import BY_NAME, Measure

CHECK = "peer.outlier"
DEVICE = "node"

DEVIATIONS = 3.5
"""Robust deviations from the median from which a node stands out. Source: Iglewicz and Hoaglin, How to Detect and
Handle Outliers (1993)."""

PER_MAD = 1.4826
"""Turns the median absolute deviation of a normal distribution into its standard deviation. Source: 1 / 0.6745, the
upper quartile of the normal distribution."""

CONTINUITY_S = 240.0
"""For so long it must stand out, and for so long be like its peers before that is over. Source: Minder, 4 minutes."""

LEAST_PEERS = 8
"""Fewer tell nothing of a median. Source: the reference of active benchmarks asks for 8 of one fingerprint."""

MOST_SHARE = 0.1
"""When more than this share stands out together, nobody does. Source: Minder, by the fault model."""

FRESH_S = 150.0
"""Older numbers are no longer compared. Source: our choice; two levels, which come every 60 s, may be missed."""


@dataclass(frozen=True, slots=True, order=True)
class Group:
    """Nodes that are compared: `role` is their pool; `job` is empty for measures that do not depend on it."""

    model: str
    role: str = ""
    job: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """One number and when it came, Unix seconds."""

    value: float
    at: float


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of one node in one comparison. `deviations` is positive in the direction that is worse."""

    node: str
    measure: Measure
    stands_out: bool
    value: float
    median: float
    deviations: float
    peers: int
    for_s: float

    def finding(self) -> Finding:
        """Return what is found of the node."""
        return Finding(
            CHECK,
            DEVICE,
            self.measure.name,
            Verdict.DEGRADED,
            Action.NONE,
            self._because(),
            evidence={
                "value": f"{self.value:g}",
                "median": f"{self.median:g}",
                "deviations": f"{self.deviations:.2f}",
                "limit": f"{DEVIATIONS:g}",
                "peers": str(self.peers),
            },
        )

    def _because(self) -> str:
        way = "above" if self.measure.higher_is_worse else "below"
        alike = "the same model and job" if self.measure.within_job else "the same model"
        return (
            f"The {self.measure.summary} is {self.value:g} {self.measure.unit}, {self.deviations:.1f} robust "
            f"deviations {way} the median {self.median:g} of {self.peers} nodes of {alike}, "
            f"for {self.for_s / 60:.0f} minutes."
        )

    def over(self) -> str:
        """Return why nothing is found of the node any more."""
        return (
            f"The {self.measure.summary} is {self.value:g} {self.measure.unit}, like that of its {self.peers} peers "
            f"(median {self.median:g}), for {self.for_s / 60:.0f} minutes."
        )


@dataclass(frozen=True, slots=True)
class _Crowd:
    """A group in one comparison: everybody's value and how far it is from the median."""

    measure: Measure
    values: dict[str, float]
    middle: float
    deviations: dict[str, float]

    def judged(self, node: str, for_s: float) -> Judged:
        """Return what became of a node that has been as it is for so long."""
        far = self.deviations[node]
        return Judged(
            node, self.measure, far > DEVIATIONS, self.values[node], self.middle, far, len(self.values), for_s
        )


Key = tuple[str, Group]
"""A measure and who is compared in it."""


@dataclass(slots=True)
class Peers:
    """The newest numbers of every node, and since when each stands out or does not.

    Attributes:
        at_once: so many nodes are looked at before the caller has its turn again, which takes some 3 ms.
    """

    at_once: int = 5_000
    said: dict[Key, dict[str, Said]] = field(default_factory=dict)
    _totals: dict[tuple[str, str], Said] = field(default_factory=dict)
    _group_of: dict[tuple[str, str], Group] = field(default_factory=dict)
    _since: dict[tuple[str, str], tuple[bool, float]] = field(default_factory=dict)

    def tell(self, node: str, group: Group, measures: Mapping[str, float], at: float) -> None:
        """Take in what a node's level says. What is no measure, or no number, is left out."""
        for name, value in measures.items():
            if name not in BY_NAME or not math.isfinite(value):
                continue
            number = self._grown(node, BY_NAME[name], Said(value, at)) if BY_NAME[name].per_s else value
            if number is None:
                continue
            here = group if BY_NAME[name].within_job else Group(group.model, group.role)
            self._move(node, name, here)
            self.said.setdefault((name, here), {})[node] = Said(number, at)

    def _grown(self, node: str, measure: Measure, now: Said) -> float | None:
        """Return by how much a total grew, `None` for the first one and for one that began anew."""
        before = self._totals.get((node, measure.name))
        self._totals[node, measure.name] = now
        if before is None or now.value < before.value or now.at <= before.at:
            return None
        return (now.value - before.value) / (now.at - before.at) * measure.per_s

    def _move(self, node: str, name: str, group: Group) -> None:
        """A node that went to another group begins anew there."""
        before = self._group_of.get((node, name))
        if before is not None and before != group:
            self._leave(node, name, before)
        self._group_of[node, name] = group

    def _leave(self, node: str, name: str, group: Group) -> None:
        there = self.said.get((name, group), {})
        there.pop(node, None)
        self._totals.pop((node, name), None)
        self._since.pop((node, name), None)
        self._group_of.pop((node, name), None)
        if not there:
            self.said.pop((name, group), None)

    def comparisons(self) -> list[Key]:
        """Return what can be compared now, in a fixed order."""
        return sorted(self.said)

    def compare(self, key: Key, now: float, *, is_found: Callable[[str], bool]) -> Iterator[list[Judged]]:
        """Yield who has stood out of one group, or been like it again, for long enough: a part of the group at a time.

        Costs the group once. The caller may do something else between two parts, also tell new numbers.

        Args:
            is_found: whether a finding about this measure stands for a node: only then it matters that it is like its
                peers.
        """
        name, group = key
        for part in _parts(list(self.said.get(key, {}).items()), self.at_once):
            for node in [node for node, said in part if now - said.at > FRESH_S]:
                self._leave(node, name, group)
            yield []
        values = {node: said.value for node, said in self.said.get(key, {}).items()}
        if len(values) < LEAST_PEERS:
            self._forget_since(name, values)
            return
        middle = median(values.values())
        yield []
        spread = _spread(values, middle, BY_NAME[name])
        yield []
        deviations = _deviations(values, middle, spread, BY_NAME[name])
        yield []
        if sum(abs(deviation) > DEVIATIONS for deviation in deviations.values()) > max(1.0, MOST_SHARE * len(values)):
            self._forget_since(name, values)
            return
        crowd = _Crowd(BY_NAME[name], values, middle, deviations)
        for names in _parts(sorted(values), self.at_once):
            still_here = [node for node in names if self._group_of.get((node, name)) == group]
            for_s = {node: self._for_s(node, name, deviations[node], now, is_found) for node in still_here}
            yield [crowd.judged(node, long_s) for node, long_s in for_s.items() if long_s >= CONTINUITY_S]

    def _for_s(self, node: str, name: str, deviation: float, now: float, is_found: Callable[[str], bool]) -> float:
        """Return for how long a node stands out, or does not although a finding says so; 0 for all others."""
        stands_out = deviation > DEVIATIONS
        if not stands_out and not is_found(node):
            self._since.pop((node, name), None)
            return 0.0
        return now - self._begin(node, name, stands_out=stands_out, now=now)

    def _forget_since(self, name: str, nodes: Mapping[str, float]) -> None:
        """A comparison that says nothing breaks the continuity, both ways."""
        for node in nodes:
            self._since.pop((node, name), None)

    def _begin(self, node: str, name: str, *, stands_out: bool, now: float) -> float:
        before = self._since.get((node, name))
        if before is None or before[0] != stands_out:
            before = self._since[node, name] = (stands_out, now)
        return before[1]


def _spread(values: Mapping[str, float], middle: float, measure: Measure) -> float:
    """Return what one robust deviation is."""
    return max(measure.least_spread, PER_MAD * median(abs(value - middle) for value in values.values()))


def _deviations(values: Mapping[str, float], middle: float, spread: float, measure: Measure) -> dict[str, float]:
    """Return how far each value is from the median in the direction that is worse, in robust deviations."""
    sign = 1.0 if measure.higher_is_worse else -1.0
    return {node: sign * (value - middle) / spread for node, value in values.items()}


_T = TypeVar("_T")


def _parts(items: list[_T], at_once: int) -> Iterator[list[_T]]:
    for first in range(0, len(items), at_once):
        yield items[first : first + at_once]
