"""The picture of bandwidth by size on a node's page, as the numbers that an SVG is made of. Pure.

It is drawn on the server: the page needs no script for it, and the fresh part that a browser fetches holds it whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Final

from controller.api.bench_charts import FLOOR, MEASURED, PEERS, Chart, size_ticks, size_words, value_ticks
from controller.api.phrases import sentence_case

WIDTH: Final = 720
HEIGHT: Final = 330
LEFT: Final = 60
RIGHT: Final = WIDTH - 12
TOP: Final = 44
BOTTOM: Final = HEIGHT - 34


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis: where, and what it says."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Stroke:
    """One line. `look`: its class, by kind and number. `pieces`: points of SVG polylines; `end`: its last point.

    `dots`: the points that are marked, where each of them is a measurement of its own.
    """

    look: str
    name: str
    pieces: tuple[str, ...]
    end: tuple[float, float]
    dots: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """The values at one size or moment, in the order of the strokes; empty where a line has none there."""

    size: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything that the template draws. `along`: what the axis across is, as the table's head says it."""

    name: str
    title: str
    described: str
    unit: str
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    strokes: tuple[Stroke, ...]
    rows: tuple[Row, ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = RIGHT
    top: int = TOP
    bottom: int = BOTTOM
    along: str = "Size"


def picture(chart: Chart) -> Picture:
    """Return what an SVG of the chart is made of."""
    smallest, largest = chart.sizes
    x, y = _across(smallest, largest), _up(chart.most)
    return Picture(
        chart.metric,
        sentence_case(chart.summary),
        chart.described,
        chart.unit,
        tuple(Tick(x(math.log2(size)), size_words(size)) for size in size_ticks(smallest, largest)),
        tuple(Tick(y(value), f"{value:g}") for value in value_ticks(chart.most)),
        tuple(_strokes(chart, x, y)),
        _rows(chart),
    )


def _across(smallest: int, largest: int) -> Callable[[float], float]:
    first, last = math.log2(smallest), math.log2(largest)
    return lambda power: round(LEFT + (RIGHT - LEFT) * (min(max(power, first), last) - first) / (last - first), 1)


def _up(most: float) -> Callable[[float], float]:
    return lambda value: round(BOTTOM - (BOTTOM - TOP) * value / most, 1)


def _strokes(chart: Chart, x: Callable[[float], float], y: Callable[[float], float]) -> list[Stroke]:
    numbers = {kind: count(1) for kind in (MEASURED, PEERS, FLOOR)}
    strokes = []
    for line in chart.lines:
        points = [(x(power), y(value)) for power, value in line.powers]
        drawn = " ".join(f"{across},{up}" for across, up in points)
        strokes.append(Stroke(f"{line.kind}-{next(numbers[line.kind])}", line.said(chart.unit), (drawn,), points[-1]))
    return strokes


def _rows(chart: Chart) -> tuple[Row, ...]:
    values = [dict(line.points) for line in chart.lines]
    sizes = sorted({size for line in values for size in line})
    return tuple(Row(size_words(s), tuple(f"{v[s]:.4g}" if s in v else "" for v in values)) for s in sizes)
