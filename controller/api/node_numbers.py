"""A node's numbers over time, as far as the log holds them: nothing is read, and nothing is made up between two of
them. Pure.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator

from checks.bench_limits import BenchLimits
from checks.finding import Verdict
from controller.api.bench_rows import metric_of
from controller.api.history_shapes import BenchmarkAt, BenchmarkSeries, CheckLane, CounterShown, NumberAt, Span
from controller.api.moments import iso
from controller.bench_events import BenchJudged, JudgedNumber
from controller.events import CheckLevelsChanged, FindingRaised, Logged

_NUMBER = re.compile(r"-?[0-9]{1,18}(?:\.[0-9]{1,18})?(?:[eE][-+]?[0-9]{1,3})?")
"""Evidence that is a number and nothing else; what has a unit or words beside it is a text."""

MOST_COUNTERS = 24
MOST_BENCHMARKS = 24
"""So many are shown, those that were told of last. Source: our choice; a page of more is read by nobody."""

WHOLE = frozenset({"", "all"})
"""Lanes whose numbers are those of a node by itself."""


def counters(told: Iterable[Logged]) -> list[CounterShown]:
    """Return the numbers that findings carried at more than one moment, those told of last first."""
    found: dict[tuple[str, str, str, str], list[NumberAt]] = {}
    for logged in told:
        if isinstance(logged.event, FindingRaised):
            for key, point in _numbers(logged.event, logged.at):
                found.setdefault(key, []).append(point)
    series = [CounterShown(*key, points) for key, points in found.items() if len(points) > 1]
    return sorted(series, key=lambda each: each.points[-1].at, reverse=True)[:MOST_COUNTERS]


def _numbers(event: FindingRaised, at: float) -> Iterator[tuple[tuple[str, str, str, str], NumberAt]]:
    finding = event.finding
    for name, text in finding.evidence.items():
        value = float(text) if _NUMBER.fullmatch(text) else math.nan
        if math.isfinite(value):
            yield (finding.check, finding.device, finding.code, name), NumberAt(iso(at), value, finding.verdict)


def lanes(told: Iterable[Logged]) -> list[CheckLane]:
    """Return how each check stood that was not always ok, the worst of today first."""
    found: dict[str, list[Span]] = {}
    for logged in told:
        if isinstance(logged.event, CheckLevelsChanged):
            _take(found, logged.event, iso(logged.at))
    uneven = [CheckLane(check, spans) for check, spans in found.items() if not _is_dull(spans)]
    return sorted(uneven, key=lambda lane: (lane.spans[-1].verdict == Verdict.OK, lane.check))


def _take(found: dict[str, list[Span]], event: CheckLevelsChanged, at: str) -> None:
    for check in found.keys() | event.checks.keys():
        spans, level = found.setdefault(check, []), event.checks.get(check)
        if spans and spans[-1].until is None:
            if level is not None and spans[-1].verdict == level.verdict:
                continue
            spans[-1] = Span(spans[-1].since, at, spans[-1].verdict, spans[-1].because)
        if level is not None:
            spans.append(Span(at, None, level.verdict, level.because))


def _is_dull(spans: list[Span]) -> bool:
    """Whether a check was ok all the time, but for the moment before it first judged anything."""
    first = spans[1:] if spans[0].verdict == Verdict.UNKNOWN else spans
    return bool(first) and all(span.verdict == Verdict.OK for span in first)


def benchmarks(judged: Iterable[Logged], limits: BenchLimits) -> list[BenchmarkSeries]:
    """Return every metric over the runs of its benchmark, those measured last first."""
    found: dict[tuple[str, str, int], list[BenchmarkAt]] = {}
    for logged in judged:
        if isinstance(logged.event, BenchJudged):
            for number in _worst(logged.event.numbers, limits):
                key = (logged.event.benchmark, number.number.metric, number.number.size_bytes)
                found.setdefault(key, []).append(_benchmark_at(number, logged.at))
    series = [_series(*key, points, limits) for key, points in found.items()]
    return sorted(series, key=lambda each: each.points[-1].at, reverse=True)[:MOST_BENCHMARKS]


def _worst(numbers: Iterable[JudgedNumber], limits: BenchLimits) -> list[JudgedNumber]:
    """Return for each metric the worst device at the largest size."""
    found: dict[str, JudgedNumber] = {}
    for each in numbers:
        value = each.number.value
        if value is None or not math.isfinite(value) or each.number.lane not in WHOLE:
            continue
        best = found.get(each.number.metric)
        if best is None or _is_worse(each, best, limits):
            found[each.number.metric] = each
    return list(found.values())


def _is_worse(one: JudgedNumber, other: JudgedNumber, limits: BenchLimits) -> bool:
    assert one.number.value is not None and other.number.value is not None
    if one.number.size_bytes != other.number.size_bytes:
        return one.number.size_bytes > other.number.size_bytes
    if metric_of(limits, one.number.metric).higher_is_worse:
        return one.number.value > other.number.value
    return one.number.value < other.number.value


def _series(
    benchmark: str, name: str, size_bytes: int, points: list[BenchmarkAt], limits: BenchLimits
) -> BenchmarkSeries:
    metric = metric_of(limits, name)
    return BenchmarkSeries(benchmark, name, metric.summary, metric.unit, size_bytes, points)


def _benchmark_at(judged: JudgedNumber, at: float) -> BenchmarkAt:
    assert judged.number.value is not None
    fail, median = (_input(judged, name) for name in ("fail", "median"))
    return BenchmarkAt(iso(at), judged.number.value, judged.outcome, judged.number.device, fail, median)


def _input(judged: JudgedNumber, name: str) -> float | None:
    text = judged.inputs.get(name, "")
    return float(text) if text else None
