"""What a node's page shows of the counters that the node tells all the time. Pure.

A level is drawn as it was; of a total, what was added since it is known: the totals themselves began long before. What
never moved is said in a sentence, so that the pictures are those that have something to show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import accumulate
from typing import Final

from checks.node_counters import Kind
from controller.api.counter_shapes import CounterSample, CounterSeries, CountersShown
from controller.api.phrases import sentence_case
from controller.web.bench_plot import Picture
from controller.web.time_plot import Line, time_picture

BREAK_S: Final = 150.0
"""A line leads over so long a silence and no longer. Source: our choice; a level that comes a minute late is no gap."""

MOST_ROWS: Final = 30
"""So many of the newest moments are in the table of a picture. Source: our choice; ten pictures on a page that is asked
for twice a minute, and the API has them all."""


@dataclass(frozen=True, slots=True)
class CounterSection:
    """The section.

    Attributes:
        since: as in `CountersShown`, and `because`.
        steady: levels that were always the same, in words; `unmoved`: totals to which nothing was added.
    """

    since: str | None
    because: str
    pictures: tuple[Picture, ...] = ()
    steady: tuple[str, ...] = ()
    unmoved: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Point:
    """A sample by the end of its time, Unix time, and whether nothing is known of the time before it."""

    at: float
    sample: CounterSample
    is_break: bool


def counter_section(shown: CountersShown, now: float) -> CounterSection:
    """Return what is shown of a node's counters."""
    levels = [series for series in shown.series if series.kind == Kind.LEVEL]
    totals = [series for series in shown.series if series.kind == Kind.TOTAL]
    drawn = [(series, _level(series, now)) for series in levels] + [(series, _total(series, now)) for series in totals]
    still = [series for series, picture in drawn if picture is None]
    return CounterSection(
        shown.since,
        shown.because,
        tuple(picture for _, picture in drawn if picture is not None),
        tuple(f"{series.summary}: {_newest(series)}" for series in still if series.kind == Kind.LEVEL),
        tuple(f"{series.summary}: {_newest(series)}" for series in still if series.kind == Kind.TOTAL),
    )


def _newest(series: CounterSeries) -> str:
    return f"{series.newest:.6g} {series.unit}".rstrip()


def _level(series: CounterSeries, now: float) -> Picture | None:
    """Return the picture, `None` of a level that never moved."""
    values = {value for sample in series.samples for value in (sample.low, sample.high)}
    if len(values) < 2:
        return None
    points = _points(series.samples, now)
    breaks = frozenset(point.at for point in points if point.is_break)
    highest = Line("measured", "highest", tuple((p.at, p.sample.high) for p in points), breaks, is_marked=False)
    lowest = Line("measured", "lowest", tuple((p.at, p.sample.low) for p in points), breaks, is_marked=False)
    lines = [highest, lowest] if highest.points != lowest.points else [replace(highest, name="in each minute")]
    return time_picture(
        _name(series), sentence_case(series.summary), series.unit, lines, from_zero=False, most_rows=MOST_ROWS
    )


def _total(series: CounterSeries, now: float) -> Picture | None:
    """Return the picture of what was added, `None` where nothing was."""
    if not any(sample.high for sample in series.samples):
        return None
    points = _points(series.samples, now)
    added = accumulate(point.sample.high for point in points)
    line = (_at(points[0].sample.at), 0.0), *zip((point.at for point in points), added, strict=True)
    breaks = frozenset(point.at for point in points if point.is_break)
    title = f"{sentence_case(series.summary)}: what was added, {_newest(series)} in all"
    lines = [Line("measured", "added", line, breaks, is_marked=False)]
    return time_picture(_name(series), title, series.unit, lines, most_rows=MOST_ROWS)


def _name(series: CounterSeries) -> str:
    return f"counter-{series.name}"


def _points(samples: Sequence[CounterSample], now: float) -> list[_Point]:
    starts = [_at(sample.at) for sample in samples]
    ends = [start + sample.over_s for start, sample in zip(starts, samples, strict=True)]
    silent_s = [0.0, *(start - end for end, start in zip(ends, starts[1:], strict=False))]
    known = zip(ends, samples, silent_s, strict=True)
    return [_Point(min(end, now), sample, silent > BREAK_S) for end, sample, silent in known]


def _at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
