"""How a metric is declared, for agent and controller alike, and what is counted until somebody scrapes it.

One list a program is what it serves, what its reference page says and what bounds its series: nothing can be given out
that was not declared. Turning values into text is `wire/exposition.py`, apart from here, because the agent has to hold
prometheus_client in memory only where somebody scrapes it.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

OTHER: Final = "other"
"""The value of a label under which everything beyond its bound is counted together."""


class Kind(StrEnum):
    """What a metric does over time, in the words of OpenMetrics."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"
    SUMMARY = "summary"
    """A count and a sum, without quantiles."""


@dataclass(frozen=True, slots=True)
class Label:
    """One label. `most`: so many values at the most, whatever nodes say."""

    name: str
    meaning: str
    most: int


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Attributes:
        name: as it is scraped; it ends with the unit, of a counter with `_total`.
        unit: the last word of the name before `_total`, empty for a plain number.
        buckets: upper bounds of a histogram, inclusive, without the one that holds everything.
        at_once: combinations of the labels' values at the most, 0 for all of them.
    """

    name: str
    kind: Kind
    meaning: str
    labels: tuple[Label, ...] = ()
    unit: str = ""
    buckets: tuple[float, ...] = ()
    at_once: int = 0

    @property
    def most_series(self) -> int:
        """How many series there can be."""
        combinations = self.at_once or math.prod(label.most for label in self.labels)
        match self.kind:
            case Kind.HISTOGRAM:
                return combinations * (len(self.buckets) + 3)
            case Kind.SUMMARY:
                return combinations * 2
            case _:
                return combinations

    @property
    def sample_names(self) -> tuple[str, ...]:
        """The names under which its series are found."""
        match self.kind:
            case Kind.HISTOGRAM:
                return tuple(f"{self.name}{end}" for end in ("_bucket", "_count", "_sum"))
            case Kind.SUMMARY:
                return (f"{self.name}_count", f"{self.name}_sum")
            case _:
                return (self.name,)


PROCESS_METRICS: Final = (
    Metric("process_virtual_memory_bytes", Kind.GAUGE, "Virtual memory size in bytes.", unit="bytes"),
    Metric("process_resident_memory_bytes", Kind.GAUGE, "Resident memory size in bytes.", unit="bytes"),
    Metric(
        "process_start_time_seconds",
        Kind.GAUGE,
        "Start time of the process since unix epoch in seconds.",
        unit="seconds",
    ),
    Metric(
        "process_cpu_seconds_total", Kind.COUNTER, "Total user and system CPU time spent in seconds.", unit="seconds"
    ),
    Metric("process_open_fds", Kind.GAUGE, "Number of open file descriptors."),
    Metric("process_max_fds", Kind.GAUGE, "Maximum number of open file descriptors."),
)
"""What prometheus_client tells of every process, under the names that everybody uses. Source: its ProcessCollector."""


@dataclass(slots=True)
class Distribution:
    """What a histogram or a summary has seen.

    prometheus_client has histograms of its own; they take a lock and keep a time of creation for every series, which is
    one more series each, and what is counted here is counted on one thread.

    Attributes:
        counts: how many were in each bucket and in none before it; the last holds what is beyond all of them.
    """

    buckets: tuple[float, ...] = ()
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        """Begin with nothing seen."""
        self.counts = self.counts or [0] * (len(self.buckets) + 1)

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.buckets, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        """How many values were seen."""
        return sum(self.counts)

    def copy(self) -> Distribution:
        """Return it as it is now."""
        return Distribution(self.buckets, list(self.counts), self.total)


LabelValues = tuple[str, ...]
"""In the order of the metric's labels."""

Samples = Mapping[LabelValues, float | Distribution]

Values = dict[str, Samples]
"""Name of a metric → its series. A metric that is not there has nothing to say now."""


def kept_names(counts: Mapping[str, int], most: int) -> frozenset[str]:
    """Return the names that a label with `most` values may show: those that count most, OTHER being one of them."""
    if len(counts) <= most:
        return frozenset(counts)
    ranked = sorted(counts, key=lambda name: (-counts[name], name))
    return frozenset(ranked[: most - 1])


def bounded(samples: Mapping[LabelValues, float], places: Mapping[int, int]) -> dict[LabelValues, float]:
    """Return the samples with every label kept within its bound; what is beyond is summed up under OTHER.

    Args:
        places: place of a label whose values others choose → how many it may have.
    """
    kept = {place: kept_names(_weights(samples, place), most) for place, most in places.items()}
    found: dict[LabelValues, float] = {}
    for values, value in samples.items():
        shown = tuple(each if place not in kept or each in kept[place] else OTHER for place, each in enumerate(values))
        found[shown] = found.get(shown, 0.0) + value
    return found


def _weights(samples: Mapping[LabelValues, float], place: int) -> dict[str, int]:
    weights: dict[str, int] = {}
    for values, value in samples.items():
        weights[values[place]] = weights.get(values[place], 0) + int(value)
    return weights


def known_or_other(name: str, known: Iterable[str]) -> str:
    """Return the name if it is one of those, OTHER if it is not: a node may say anything."""
    return name if name in known else OTHER
