"""What a node's page shows besides the node as it is now: how its checks and numbers went, and what may be tried on
it. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from controller.api.history_shapes import BenchmarkSeries, CheckLane, CounterShown, NodeHistory, Span
from controller.api.phrases import sentence_case, spaced
from controller.web.bench_plot import Picture
from controller.web.counter_section import CounterSection
from controller.web.time_plot import Line, time_picture, time_ticks
from wire.drills import FAULTS

LEAST_PERCENT: Final = 0.3
"""Even a moment is seen in a lane. Source: our choice; two pixels of a wide screen."""

HEIGHT: Final = 18
HEIGHTS: Final[Mapping[str, int]] = {"ok": 4, "unknown": 8, "degraded": 12, "failed": 18}
"""How high a verdict stands in a lane: colour alone never carries a meaning."""

REPAIRS: Final = {"chance": "as chance has it", "succeeds": "always works", "fails": "never works"}


@dataclass(frozen=True, slots=True)
class Bar:
    """One verdict's time in a lane. `x`, `width`: in percent of the lane; `y`, `height`: in pixels."""

    x: float
    width: float
    y: int
    height: int
    verdict: str


@dataclass(frozen=True, slots=True)
class Lane:
    """How one check went. `changes`: its times, newest first; `described`: all of them in words."""

    check: str
    verdict: str
    bars: tuple[Bar, ...]
    changes: tuple[Span, ...]
    described: str


@dataclass(frozen=True, slots=True)
class DrillOffer:
    """The drills that can be started. `why_not`: why none can, empty when they can."""

    why_not: str
    faults: tuple[str, ...] = FAULTS
    repairs: Mapping[str, str] = field(default_factory=lambda: REPAIRS)
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NodeView:
    """What is shown.

    Attributes:
        axis: marks of the lanes' time axis, percent of the width and label.
        told: what the node says of its counters all the time; `counters`: numbers that its findings carried.
        single: metrics of benchmarks that were measured once: a line needs two.
    """

    history: NodeHistory
    lanes: tuple[Lane, ...]
    axis: tuple[tuple[float, str], ...]
    told: CounterSection
    counters: tuple[Picture, ...]
    benchmarks: tuple[Picture, ...]
    single: tuple[BenchmarkSeries, ...]
    drills: DrillOffer


def node_view(
    history: NodeHistory, told: CounterSection, now: float, *, why_no_drill: str, devices: Iterable[str] = ()
) -> NodeView:
    """Return what is shown of a node.

    Args:
        told: what it says of its counters all the time.
        why_no_drill: why no fault can be injected into it, empty when one can.
        devices: those that it names.
    """
    since = min((_at(span.since) for lane in history.checks for span in lane.spans), default=now)
    since = min(since, now - 1.0)
    pictures = [(series, _benchmark_picture(series)) for series in history.benchmarks]
    return NodeView(
        history,
        tuple(_lane(lane, since, now) for lane in history.checks),
        tuple((round((at - since) / (now - since) * 100, 1), label) for at, label in time_ticks(since, now)),
        told,
        tuple(picture for picture in map(_counter_picture, history.counters) if picture is not None),
        tuple(picture for _, picture in pictures if picture is not None),
        tuple(series for series, picture in pictures if picture is None),
        DrillOffer(why_no_drill, devices=tuple(devices)),
    )


def _at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _lane(lane: CheckLane, since: float, now: float) -> Lane:
    said = "; ".join(f"{span.verdict} from {span.since[:16].replace('T', ' ')}" for span in lane.spans[-10:])
    bars = tuple(_bar(span, since, now) for span in lane.spans)
    return Lane(lane.check, lane.spans[-1].verdict, bars, tuple(reversed(lane.spans)), f"{lane.check}: {said}.")


def _bar(span: Span, since: float, now: float) -> Bar:
    begins, ends = _at(span.since), _at(span.until) if span.until is not None else now
    x = min(max(0.0, (begins - since) / (now - since) * 100), 100 - LEAST_PERCENT)
    width = max(LEAST_PERCENT, (ends - begins) / (now - since) * 100)
    height = HEIGHTS.get(span.verdict, HEIGHTS["unknown"])
    return Bar(round(x, 2), round(min(width, 100 - x), 2), HEIGHT - height, height, span.verdict)


def _counter_picture(counter: CounterShown) -> Picture | None:
    code = f" {counter.code}" if counter.code else ""
    title = f"{sentence_case(counter.name)}, as {counter.check}{code} told it of {counter.device}"
    points = tuple((_at(point.at), point.value) for point in counter.points)
    line = Line("measured", spaced(counter.name), points)
    return time_picture(f"{counter.check}-{counter.device}-{counter.code}-{counter.name}", title, "", [line])


def _benchmark_picture(series: BenchmarkSeries) -> Picture | None:
    lines = [Line("measured", "measured", tuple((_at(point.at), point.value) for point in series.points))]
    for kind, name in (("peers", "median"), ("floor", "fail")):
        values = ((_at(point.at), getattr(point, name)) for point in series.points)
        known = tuple((at, value) for at, value in values if value is not None)
        if known:
            lines.append(Line(kind, "median of peers" if kind == "peers" else "limit", known))
    title = f"{sentence_case(series.summary)}, {series.benchmark}"
    return time_picture(f"over-time-{series.benchmark}-{series.metric}-{series.size_bytes}", title, series.unit, lines)
