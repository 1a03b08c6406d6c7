"""The report's pictures, as the numbers that SVGs are made of. Pure; drawn on the server, so that no script is needed.

Every picture stands beside a table with the same numbers, and every mark says its own when it is pointed at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from controller.api.moments import iso
from controller.api.report_words import hours, share, short
from controller.policy.reporting.incidents import PARTS
from controller.policy.reporting.intervals import share_of
from controller.policy.reporting.shapes import Report
from controller.policy.reporting.states import State

WIDTH: Final = 720
LEFT: Final = 180
EDGE: Final = 60
"""Left end of a picture without names of rows."""
RIGHT: Final = WIDTH - 90
ROW: Final = 26
BAR: Final = 16
TALL: Final = 150
MOST_BARS: Final = 12
"""Rows of one picture; the table has all."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One rectangle. `look`: its class; `said`: what it stands for."""

    x: float
    y: float
    width: float
    height: float
    look: str
    said: str


@dataclass(frozen=True, slots=True)
class Label:
    """One text. `anchor`: start, middle or end."""

    x: float
    y: float
    text: str
    anchor: str = "start"


@dataclass(frozen=True, slots=True)
class Plot:
    """One picture. `legend`: class → what it means."""

    name: str
    title: str
    described: str
    width: int
    height: int
    marks: tuple[Mark, ...]
    labels: tuple[Label, ...]
    legend: tuple[tuple[str, str], ...] = ()


BarRow = tuple[str, list[tuple[float, str, str]], str]
"""A row of bars: its label, its parts (value, class, words), and the words at its end."""


def plots(report: Report) -> tuple[Plot, ...]:
    """Return those pictures for which there is something to show."""
    drawn = (_over_time(report), _lost(report), _repair(report), _fixes(report))
    return tuple(plot for plot in drawn if plot is not None)


def _over_time(report: Report) -> Plot | None:
    """Return what was out of service over the span; what was in service is the rest, and would hide it."""
    slices, states = report.availability.slices, report.availability.states
    shares = [_shares_out(report, each.node_hours) for each in slices]
    most = max(map(sum, shares), default=0.0)
    if most <= 0.0:
        return None
    step = (RIGHT - EDGE) / len(slices)
    marks: list[Mark] = []
    for index, spent in enumerate(shares):
        bottom = float(TALL)
        for row, part in zip(states, spent, strict=True):
            height = (TALL - ROW) * part / most
            said = f"{iso(slices[index].begins)[:16]}Z: {row.state.replace('_', ' ')} {share(part)}"
            if part:
                bottom -= height
                marks.append(mark(EDGE + index * step, bottom, step - 1.0, height, f"state-{row.state}", said))
    marks.append(mark(EDGE, TALL, RIGHT - EDGE, 1, "scale", "no node"))
    labels = (Label(EDGE - 6, ROW + 4, share(most), "end"), Label(EDGE - 6, TALL, "0", "end"))
    out = [row.state for row in states if row.node_hours and row.state != State.IN_SERVICE]
    legend = tuple((f"state-{state}", state.replace("_", " ")) for state in out)
    described = f"Share of nodes out of service by state, in {len(slices)} parts of the span; at most {share(most)}."
    return Plot("over-time", "Out of service over the span", described, WIDTH, TALL + 4, tuple(marks), labels, legend)


def _shares_out(report: Report, node_hours: list[float]) -> list[float]:
    together = sum(node_hours)
    out = zip(report.availability.states, node_hours, strict=True)
    return [spent / together if together and row.state != State.IN_SERVICE else 0.0 for row, spent in out]


def _lost(report: Report) -> Plot | None:
    lost: dict[tuple[str, str], float] = {}
    for row in report.losses.rows:
        key = (row.kind, row.cause)
        lost[key] = lost.get(key, 0.0) + row.gpu_hours
    ordered = sorted(((spent, *key) for key, spent in lost.items() if spent), reverse=True)[:MOST_BARS]
    if not ordered:
        return None
    rows = [
        (cause.replace("_", " "), [(spent, f"lost-{kind}", f"{hours(spent)} GPU-hours")], f"{hours(spent)} h")
        for spent, kind, cause in ordered
    ]
    kinds = dict.fromkeys(kind for _, kind, _ in ordered)
    legend = tuple((f"lost-{kind}", kind) for kind in kinds)
    return bars("lost", "GPU-hours lost, by cause", "GPU-hours lost by cause, the most first.", rows, legend)


def _repair(report: Report) -> Plot | None:
    rows = [
        (
            row.fault_class.replace("_", " "),
            [
                (row.parts_s[part], f"part-{part}", f"{part}: {short(row.parts_s[part])}")
                for part in PARTS
                if row.parts_s[part] > 0.0
            ],
            short(row.total.mean_s),
        )
        for row in report.repair[:MOST_BARS]
    ]
    used = [part for part in PARTS if any(row.parts_s[part] > 0.0 for row in report.repair)]
    legend = tuple((f"part-{part}", part) for part in used)
    return bars("repair", "What repairs took, on average", "Mean time to repair by fault class.", rows, legend)


def bars(
    name: str,
    title: str,
    described: str,
    rows: Sequence[BarRow],
    legend: tuple[tuple[str, str], ...],
) -> Plot | None:
    """Return stacked bars, `None` where there is nothing to show."""
    most = max((sum(value for value, _, _ in parts) for _, parts, _ in rows), default=0.0)
    if most <= 0.0:
        return None
    marks: list[Mark] = []
    labels: list[Label] = []
    for index, (label, parts, end) in enumerate(rows):
        y, x = index * ROW + (ROW - BAR) / 2, float(LEFT)
        for value, look, said in parts:
            width = (RIGHT - LEFT) * value / most
            marks.append(mark(x, y, width, BAR, look, f"{label}: {said}"))
            x += width
        labels.append(Label(LEFT - 8, y + BAR - 3, _short(label), "end"))
        labels.append(Label(round(x + 6, 1), y + BAR - 3, end))
    return Plot(name, title, described, WIDTH, len(rows) * ROW, tuple(marks), tuple(labels), legend)


def _fixes(report: Report) -> Plot | None:
    """Return how often each action fixed each class, whatever the SKU; the table tells SKUs apart."""
    counts: dict[tuple[str, str], tuple[int, int]] = {}
    for row in report.fixes:
        fixed, not_fixed = counts.get((row.fault_class, row.action), (0, 0))
        counts[row.fault_class, row.action] = fixed + row.fixed, not_fixed + row.not_fixed
    known = [(key, count) for key, count in counts.items() if sum(count)][:MOST_BARS]
    if not known:
        return None
    rows = [(f"{action} for {name}".replace("_", " "), yes, no) for (name, action), (yes, no) in known]
    described = "Posterior mean and 90 % interval of the share of repairs that fixed a fault."
    return intervals("fixes", "P(action fixes), from 0 to 1, whatever the SKU", described, rows)


def intervals(name: str, title: str, described: str, rows: Sequence[tuple[str, int, int]]) -> Plot:
    """Return shares with what they may be by chance; a row has its label, how often it was so and how often not."""
    marks: list[Mark] = []
    labels: list[Label] = []
    for index, (what, yes, no) in enumerate(rows):
        middle = index * ROW + ROW / 2
        marks += _interval(what, middle, yes, no)
        labels.append(Label(LEFT - 8, middle + 4, _short(what), "end"))
        labels.append(Label(RIGHT + 6, middle + 4, f"{yes} of {yes + no}"))
    return Plot(name, title, described, WIDTH, len(rows) * ROW, tuple(marks), tuple(labels))


def _interval(what: str, middle: float, fixed: int, not_fixed: int) -> list[Mark]:
    mean, between = share_of(fixed, not_fixed)
    assert mean is not None and between.low is not None and between.high is not None
    low, at, high = (LEFT + (RIGHT - LEFT) * value for value in (between.low, mean, between.high))
    said = f"{what}: {share(mean)}, 90 % between {share(between.low)} and {share(between.high)}"
    return [
        mark(LEFT, middle - 0.5, RIGHT - LEFT, 1, "scale", what),
        mark(low, middle - 3, high - low, 6, "interval", said),
        mark(at - 2.5, middle - 8, 5, BAR, "mean", said),
    ]


def mark(x: float, y: float, width: float, height: float, look: str, said: str) -> Mark:
    """Return a rectangle with no more digits than a screen shows."""
    return Mark(round(x, 2), round(y, 2), round(width, 2), round(height, 2), look, said)


def _short(label: str) -> str:
    return label if len(label) <= 26 else f"{label[:25]}…"
