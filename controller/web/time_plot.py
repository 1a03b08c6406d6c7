"""The picture of numbers over time, as what an SVG is made of. Pure.

Every mark is something that the log holds; the line between two marks only leads the eye.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count, pairwise
from typing import Final

from controller.api.bench_charts import value_ticks
from controller.web.bench_plot import BOTTOM, LEFT, RIGHT, TOP, Picture, Row, Stroke, Tick

MOST_TICKS: Final = 6
MOST_ROWS: Final = 100
LARGEST: Final = 1e15
SMALLEST: Final = 1e-30
"""Numbers beyond are none that a picture can tell apart. Source: our choice; bit error rates are above 1e-16."""

LEAST_SHARE: Final = 1e-4
"""Values that differ by less than this share of the largest are drawn from 0: the marks of the axis would be written
alike. Source: our choice; they are written with six digits."""

_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86_400.0
STEPS_S: Final = (
    *(n * _MINUTE for n in (1, 2, 5, 10, 20, 30)),
    *(n * _HOUR for n in (1, 2, 3, 6, 12)),
    *(n * _DAY for n in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000)),
)
"""Distances between the marks of a time axis that people can count in."""


@dataclass(frozen=True, slots=True)
class Line:
    """Numbers over time, oldest first.

    Attributes:
        kind: `measured`, `peers` or `floor`, as in the pictures by size.
        breaks: moments before which nothing is known, so that no line leads there.
        is_marked: whether each point is marked, as a measurement of its own.
    """

    kind: str
    name: str
    points: tuple[tuple[float, float], ...]
    breaks: frozenset[float] = frozenset()
    is_marked: bool = True


@dataclass(frozen=True, slots=True)
class _Frame:
    """The ends of both axes."""

    since: float
    until: float
    low: float
    high: float

    def x(self, at: float) -> float:
        return round(LEFT + (RIGHT - LEFT) * (at - self.since) / (self.until - self.since), 1)

    def y(self, value: float) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * (value - self.low) / (self.high - self.low), 1)


def time_picture(
    name: str, title: str, unit: str, lines: Sequence[Line], *, from_zero: bool = True, most_rows: int = MOST_ROWS
) -> Picture | None:
    """Return the picture, `None` when there are not two moments to draw a line between.

    Args:
        from_zero: begin the axis of values at 0; else near the least of them.
        most_rows: so many of the newest moments are in the table.
    """
    drawable = [line for line in map(_drawable, lines) if line.points]
    moments = {at for line in drawable for at, _ in line.points}
    if len(moments) < 2:
        return None
    ticks = _value_ticks([value for line in drawable for _, value in line.points], from_zero=from_zero)
    frame = _Frame(min(moments), max(moments), ticks[0], ticks[-1])
    return Picture(
        name,
        title,
        _described(unit, frame, drawable),
        unit,
        tuple(Tick(frame.x(at), label) for at, label in time_ticks(frame.since, frame.until)),
        tuple(Tick(frame.y(value), f"{value:g}") for value in ticks),
        tuple(_strokes(drawable, frame)),
        _rows(drawable, most_rows),
        along="When (UTC)",
    )


def _drawable(line: Line) -> Line:
    fit = ((at, 0.0 if abs(value) < SMALLEST else value) for at, value in line.points if abs(value) <= LARGEST)
    return replace(line, points=tuple(fit))


def _value_ticks(values: Sequence[float], *, from_zero: bool) -> list[float]:
    """Return round values from 0, or from below the least, to at least the most."""
    low, high = min(values), max(values)
    if from_zero or high - low <= LEAST_SHARE * max(abs(low), abs(high)):
        low, high = min(0.0, low), max(0.0, high)
    if low == high:
        return [0.0, 1.0]
    step = value_ticks(high - low)[1]
    return [step * number for number in range(math.floor(low / step), math.ceil(high / step) + 1)]


def time_ticks(since: float, until: float) -> list[tuple[float, str]]:
    """Return round moments between two, six at most, as they are written on an axis."""
    length = until - since
    step = next((step for step in STEPS_S if length / step <= MOST_TICKS - 1), STEPS_S[-1])
    first = math.ceil(since / step)
    moments = [step * number for number in range(first, first + MOST_TICKS) if step * number <= until]
    return [(at, _label(at, step)) for at in moments] or [(since, _label(since, _MINUTE))]


def _label(at: float, step: float) -> str:
    moment = datetime.fromtimestamp(at, UTC)
    if step >= 100 * _DAY:
        return moment.strftime("%b %Y")
    is_day = step >= _DAY or (moment.hour, moment.minute) == (0, 0)
    return moment.strftime("%d %b") if is_day else moment.strftime("%H:%M")


def _strokes(lines: Sequence[Line], frame: _Frame) -> list[Stroke]:
    numbers = {line.kind: count(1) for line in lines}
    strokes = []
    for line in lines:
        points = tuple((frame.x(at), frame.y(value)) for at, value in line.points)
        look = f"{line.kind}-{next(numbers[line.kind])}"
        pieces = _pieces(line, points)
        drawn = tuple(" ".join(f"{across},{up}" for across, up in piece) for piece in pieces)
        strokes.append(Stroke(look, line.name, drawn, points[-1], _dots(line, points, pieces)))
    return strokes


Points = Sequence[tuple[float, float]]


def _pieces(line: Line, points: Points) -> list[Points]:
    """Return the points between one break of a line and the next."""
    starts = [0, *(place for place, (at, _) in enumerate(line.points) if place and at in line.breaks), len(points)]
    return [points[start:end] for start, end in pairwise(starts)]


def _dots(line: Line, points: Points, pieces: Sequence[Points]) -> tuple[tuple[float, float], ...]:
    """Return the points that are marked: a line of one alone would not be seen."""
    if line.kind == "measured" and line.is_marked:
        return tuple(points)
    alone = tuple(piece[0] for piece in pieces if len(piece) == 1)
    return (*alone, points[-1]) if alone else ()


def _rows(lines: Sequence[Line], most: int) -> tuple[Row, ...]:
    values = [dict(line.points) for line in lines]
    newest = sorted({at for line in values for at in line}, reverse=True)[:most]
    return tuple(Row(when(at), tuple(f"{v[at]:.6g}" if at in v else "" for v in values)) for at in newest)


def when(at: float) -> str:
    """Return a moment as a table has it."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _described(unit: str, frame: _Frame, lines: Sequence[Line]) -> str:
    ends = "; ".join(f"{line.name}: last {line.points[-1][1]:.6g}" for line in lines)
    return f"{unit or 'Value'} over time, {when(frame.since)} to {when(frame.until)} UTC. {ends}."
