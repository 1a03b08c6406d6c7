"""Many durations in little memory: exact sum, count and longest, and quantiles within one part in a hundred.

The first ones are kept as they are. However many come, buckets that grow by a constant factor are bounded in number.
Source: Masson, Rim and Lee, DDSketch (VLDB 2019).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from controller.policy.reporting.shapes import Spread

ACCURACY = 0.01
"""Of a quantile, relative. Source: our choice; nobody acts on less."""

SHORTEST_S = 1e-3
"""What is shorter counts as this in quantiles, not in the mean. Source: our choice; below a millisecond two clocks say
nothing."""

EXACT = 200
"""Up to so many, quantiles are exact. Source: our choice; a fleet of 10,000 nodes has 40 incidents a day."""

_GROWTH = (1.0 + ACCURACY) / (1.0 - ACCURACY)
_LOG_GROWTH = math.log(_GROWTH)


@dataclass(slots=True)
class Durations:
    """A set of durations in seconds. `first`: as they came, up to `EXACT`; `buckets`: how many are about as long."""

    count: int = 0
    total_s: float = 0.0
    longest_s: float = 0.0
    first: list[float] = field(default_factory=list)
    buckets: dict[int, int] = field(default_factory=dict)

    def add(self, seconds: float) -> None:
        """Take one more in; a negative one counts as 0."""
        seconds = max(0.0, seconds)
        self.count += 1
        self.total_s += seconds
        self.longest_s = max(self.longest_s, seconds)
        if self.count <= EXACT:
            self.first.append(seconds)
        bucket = math.ceil(math.log(max(seconds, SHORTEST_S)) / _LOG_GROWTH)
        self.buckets[bucket] = self.buckets.get(bucket, 0) + 1

    @classmethod
    def together(cls, several: Iterable[Durations]) -> Durations:
        """Return all of several sets in one."""
        made = cls()
        for each in several:
            made.count += each.count
            made.total_s += each.total_s
            made.longest_s = max(made.longest_s, each.longest_s)
            made.first += each.first
            for bucket, count in each.buckets.items():
                made.buckets[bucket] = made.buckets.get(bucket, 0) + count
        return made

    def quantile(self, share: float) -> float:
        """Return the value that this share of them does not exceed, within `ACCURACY`; 0 when there are none."""
        if 0 < self.count <= EXACT:
            return sorted(self.first)[math.ceil(share * self.count) - 1]
        wanted, seen = share * self.count, 0
        for bucket in sorted(self.buckets):
            seen += self.buckets[bucket]
            if seen >= wanted:
                middle = 2.0 * _GROWTH**bucket / (_GROWTH + 1.0)
                return min(middle if bucket > _LOWEST else 0.0, self.longest_s)
        return 0.0

    def spread(self) -> Spread | None:
        """Return the figures, `None` when there is nothing."""
        if not self.count:
            return None
        mean = self.total_s / self.count
        figures = (mean, self.quantile(0.5), self.quantile(0.95), self.longest_s)
        return Spread(self.count, *(round(figure, 3) for figure in figures))


_LOWEST = math.ceil(math.log(SHORTEST_S) / _LOG_GROWTH)
