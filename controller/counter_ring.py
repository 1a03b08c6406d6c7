"""The last day of one node's counters: every minute of the last two hours, and every quarter of an hour before. Pure.

Of a level the least and the most of each quarter are kept, of a total how much it grew; what was between them is gone.
However often and whatever a node tells, each counter takes LANE_BYTES of numbers at the most and a little more for what
holds them; totals that never grow, as most never do, share one lane (docs/explanation/measured.md).
"""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Final

from checks.node_counters import BY_NAME, NODE_COUNTERS, Kind

MINUTE_S: Final = 60
QUARTER_MINUTES: Final = 15
MINUTES: Final = 120
QUARTERS: Final = 96
"""How many of each are kept. Source: our choice; levels come once a minute, and a person on call asks what happened
during the night."""

KEPT_S: Final = QUARTERS * QUARTER_MINUTES * MINUTE_S

LANE_BYTES: Final = 4 * (MINUTES + 2 * QUARTERS)
"""Of a level, in single precision; a total keeps one number a quarter in place of two."""

LATE_S: Final = 600.0
"""What a node says that is older than what it said before by less than this came late: a broker gives again what was
not acknowledged. Older by more, its clock was set back."""

LARGEST: Final = 1e15
"""Whatever is beyond is no number that a device tells. Source: our choice."""

NOTHING: Final = math.nan


@dataclass(frozen=True, slots=True)
class Sample:
    """What is known of one minute or quarter.

    Attributes:
        at: its beginning, Unix time; `over_s`: how long it is.
        low, high: the least and the most of a level; of a total both are how much it grew meanwhile.
    """

    at: float
    over_s: float
    low: float
    high: float


@dataclass(slots=True)
class CounterRing:
    """The counters of one node.

    Attributes:
        newest: what it told last of each.
        told_at: when it said so, Unix time on its own clock.
    """

    newest: dict[str, float] = field(default_factory=dict)
    told_at: float = 0.0
    _minute: int = 0
    """Number of the newest minute since 1970 on our clock; 0 before anything was told."""
    _lanes: dict[str, array[float]] = field(default_factory=dict)
    """Minutes, then the quarters' least (of a total: its growth), then of a level the quarters' most."""
    _calm: array[float] = field(default_factory=lambda: _lane(Kind.TOTAL))
    """The lane of every total that has none of its own: nothing was added to it whenever the node spoke."""

    def tell(self, values: Mapping[str, float], *, told_at: float, at: float) -> None:
        """Take in what a node says; names that nobody knows and numbers that are none are left out.

        Args:
            told_at: Unix time on the node's clock.
            at: on ours; nodes' clocks differ.
        """
        if 0.0 < self.told_at - told_at < LATE_S:
            return
        self._advance(int(at // MINUTE_S))
        known = {
            each.name: values[each.name] for each in NODE_COUNTERS if abs(values.get(each.name, NOTHING)) <= LARGEST
        }
        self._keep_calm(told=known.keys())
        for name, value in known.items():
            if BY_NAME[name].kind is Kind.LEVEL:
                self._put_level(name, value)
            else:
                self._put_total(name, value)
        self.newest |= known
        self.told_at = told_at

    @property
    def heard_at(self) -> float:
        """The beginning of the newest minute in which anything was told, Unix time on our clock."""
        return float(self._minute * MINUTE_S)

    @property
    def room_bytes(self) -> int:
        """How much memory the numbers take that are kept."""
        return sum(sys.getsizeof(lane) for lane in (*self._lanes.values(), self._calm))

    def samples(self, name: str, *, now: float) -> list[Sample]:
        """Return what is kept of a counter, oldest first; what nothing is known of is not there."""
        if name not in self.newest:
            return []
        is_level = BY_NAME[name].kind is Kind.LEVEL
        samples = self._all(self._lanes.get(name, self._calm), is_level=is_level)
        return [sample for sample in samples if now - KEPT_S < sample.at + sample.over_s]

    def _all(self, lane: array[float], *, is_level: bool) -> Iterator[Sample]:
        """Yield quarters up to the first whole one of which every minute is kept, and from there on minutes."""
        quarter = self._minute // QUARTER_MINUTES
        first = -(-(self._minute - MINUTES + 1) // QUARTER_MINUTES)
        for number in range(quarter - QUARTERS + 1, first):
            low = lane[MINUTES + number % QUARTERS]
            high = lane[MINUTES + QUARTERS + number % QUARTERS] if is_level else low
            if not math.isnan(low):
                quarter_s = QUARTER_MINUTES * MINUTE_S
                yield Sample(float(number * quarter_s), float(quarter_s), low, high)
        for number in range(first * QUARTER_MINUTES, self._minute + 1):
            value = lane[number % MINUTES]
            if not math.isnan(value):
                yield Sample(float(number * MINUTE_S), float(MINUTE_S), value, value)

    def _advance(self, minute: int) -> None:
        """Begin a minute. On a clock that was set back by less than a quarter the newest one goes on, else all anew."""
        if minute < self._minute - QUARTER_MINUTES:
            self.newest, self._lanes, self._calm, self._minute = {}, {}, _lane(Kind.TOTAL), 0
        if minute <= self._minute:
            return
        passed = range(max(self._minute, minute - MINUTES) + 1, minute + 1)
        quarter, before = minute // QUARTER_MINUTES, self._minute // QUARTER_MINUTES
        quarters = range(max(before, quarter - QUARTERS) + 1, quarter + 1)
        for lane in (*self._lanes.values(), self._calm):
            for number in passed:
                lane[number % MINUTES] = NOTHING
            for number in quarters:
                for start in range(MINUTES, len(lane), QUARTERS):
                    lane[start + number % QUARTERS] = NOTHING
        self._minute = minute

    @property
    def _quarter(self) -> int:
        """The place of the newest quarter in a lane."""
        return MINUTES + self._minute // QUARTER_MINUTES % QUARTERS

    def _keep_calm(self, told: Set[str]) -> None:
        """Note that the node spoke in this minute. What it did not tell is calm no longer: levels never were."""
        for name in self.newest.keys() - told - self._lanes.keys():
            self._lanes[name] = array("f", self._calm)
        if self.newest:
            self._calm[self._minute % MINUTES] = self._calm[self._quarter] = 0.0

    def _put_level(self, name: str, value: float) -> None:
        if name not in self._lanes:
            self._lanes[name] = _lane(Kind.LEVEL)
        lane, low, high = self._lanes[name], self._quarter, self._quarter + QUARTERS
        lane[self._minute % MINUTES] = value
        lane[low], lane[high] = _least(lane[low], value), -_least(-lane[high], -value)

    def _put_total(self, name: str, value: float) -> None:
        """Add what a total grew by. How much it grew before it was told for the first time is not known."""
        if name not in self.newest:
            if self.newest:
                self._lanes[name] = _lane(Kind.TOTAL)
            return
        grown = max(0.0, value - self.newest[name])
        if grown and name not in self._lanes:
            self._lanes[name] = array("f", self._calm)
        if (lane := self._lanes.get(name)) is not None:
            for place in (self._minute % MINUTES, self._quarter):
                lane[place] = grown + (0.0 if math.isnan(lane[place]) else lane[place])


def _lane(kind: Kind) -> array[float]:
    return array("f", [NOTHING]) * (MINUTES + (2 if kind is Kind.LEVEL else 1) * QUARTERS)


def _least(one: float, other: float) -> float:
    return other if math.isnan(one) else min(one, other)
