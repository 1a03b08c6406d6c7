"""The last day of one node's counters: every minute of the last two hours, and every quarter of an hour before. Pure.

Of a level the least and the most of each quarter are kept, of a total how much it grew; what was between them is gone.
A node that tells every counter takes LANE_BYTES of numbers for each and a little more for what holds them
(docs/explanation/measured.md); however often and whatever it tells, it never takes more.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from checks.node_counters import BY_NAME, Kind, NodeCounter

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

    def tell(self, values: Mapping[str, float], *, told_at: float, at: float) -> None:
        """Take in what a node says; names that nobody knows and numbers that are none are left out.

        Args:
            told_at: Unix time on the node's clock.
            at: on ours; nodes' clocks differ.
        """
        if 0.0 < self.told_at - told_at < LATE_S:
            return
        self._advance(int(at // MINUTE_S))
        known = ((BY_NAME[name], value) for name, value in values.items() if name in BY_NAME)
        for counter, value in known:
            if abs(value) <= LARGEST:
                self._put(counter, value)
                self.newest[counter.name] = value
        self.told_at = told_at

    @property
    def heard_at(self) -> float:
        """The beginning of the newest minute in which anything was told, Unix time on our clock."""
        return float(self._minute * MINUTE_S)

    @property
    def room_bytes(self) -> int:
        """How much memory the numbers take that are kept."""
        return sum(sys.getsizeof(lane) for lane in self._lanes.values())

    def samples(self, name: str, *, now: float) -> list[Sample]:
        """Return what is kept of a counter, oldest first; what nothing is known of is not there."""
        lane = self._lanes.get(name)
        if lane is None:
            return []
        is_level = BY_NAME[name].kind is Kind.LEVEL
        return [each for each in self._all(lane, is_level=is_level) if now - KEPT_S < each.at + each.over_s]

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
        """Begin a minute. On a clock that was set back by less than a quarter the newest one goes on."""
        if minute < self._minute - QUARTER_MINUTES:
            self._lanes.clear()
            self._minute = 0
        if minute <= self._minute:
            return
        passed = range(max(self._minute, minute - MINUTES) + 1, minute + 1)
        quarter, before = minute // QUARTER_MINUTES, self._minute // QUARTER_MINUTES
        quarters = range(max(before, quarter - QUARTERS) + 1, quarter + 1)
        for lane in self._lanes.values():
            for number in passed:
                lane[number % MINUTES] = NOTHING
            for number in quarters:
                for start in range(MINUTES, len(lane), QUARTERS):
                    lane[start + number % QUARTERS] = NOTHING
        self._minute = minute

    def _put(self, counter: NodeCounter, value: float) -> None:
        lane, low = self._lane(counter), MINUTES + self._minute // QUARTER_MINUTES % QUARTERS
        if counter.kind is Kind.LEVEL:
            lane[self._minute % MINUTES] = value
            lane[low] = _least(lane[low], value)
            lane[low + QUARTERS] = -_least(-lane[low + QUARTERS], -value)
        elif counter.name in self.newest:
            grown = max(0.0, value - self.newest[counter.name])
            for place in (self._minute % MINUTES, low):
                lane[place] = grown + (0.0 if math.isnan(lane[place]) else lane[place])

    def _lane(self, counter: NodeCounter) -> array[float]:
        lane = self._lanes.get(counter.name)
        if lane is None:
            room = MINUTES + (2 if counter.kind is Kind.LEVEL else 1) * QUARTERS
            lane = self._lanes[counter.name] = array("f", [NOTHING]) * room
        return lane


def _least(one: float, other: float) -> float:
    return other if math.isnan(one) else min(one, other)
