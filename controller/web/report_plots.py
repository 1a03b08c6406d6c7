"""The report's pictures, as the numbers that SVGs are made of. Pure; drawn on the server, so that no script is needed.

Every picture stands beside a table with the same numbers, and every mark says its own when it is pointed at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from controller.api.report_words import hours, share, short
from controller.policy.reporting.incidents import PARTS
from controller.policy.reporting.shapes import Report

WIDTH: Final = 720
LEFT: Final = 180
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


def plots(report: Report) -> tuple[Plot, ...]:
    """Return those pictures for which there is something to show."""
    drawn = (_over_time(report), _lost(report), _repair(report), _fixes(report))
    return tuple(plot for plot in drawn if plot is not None)


def _over_time(report: Report) -> Plot | None:
    slices, states = report.availability.slices, report.availability.states
    if not any(sum(each.node_hours) for each in slices):
        return None
    step = WIDTH / len(slices)
    marks: list[Mark] = []
    for index, each in enumerate(slices):
        together = sum(each.node_hours)
        top = 0.0
        for state, spent in zip(states, each.node_hours, strict=True):
            if not spent:
                continue
            height = TALL * spent / together
            said = f"{state.state.replace('_', ' ')}: {share(spent / together)}"
            marks.append(_mark(index * step, top, max(0.5, step - 1.0), height, f"state-{state.state}", said))
            top += height
    used = tuple((f"state-{row.state}", row.state.replace("_", " ")) for row in states if row.node_hours)
    described = f"Share of node-hours by state, in {len(slices)} parts of the span."
    return Plot("over-time", "Time by state over the span", described, WIDTH, TALL, tuple(marks), (), used)


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
    return _bars("lost", "GPU-hours lost, by cause", "GPU-hours lost by cause, the most first.", rows, legend)


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
    return _bars("repair", "What repairs took, on average", "Mean time to repair by fault class.", rows, legend)


def _bars(
    name: str,
    title: str,
    described: str,
    rows: list[tuple[str, list[tuple[float, str, str]], str]],
    legend: tuple[tuple[str, str], ...],
) -> Plot | None:
    """Return stacked bars; a row has its label, its parts (value, class, words) and the words at its end."""
    most = max((sum(value for value, _, _ in parts) for _, parts, _ in rows), default=0.0)
    if most <= 0.0:
        return None
    marks: list[Mark] = []
    labels: list[Label] = []
    for index, (label, parts, end) in enumerate(rows):
        y, x = index * ROW + (ROW - BAR) / 2, float(LEFT)
        for value, look, said in parts:
            width = (RIGHT - LEFT) * value / most
            marks.append(_mark(x, y, width, BAR, look, f"{label}: {said}"))
            x += width
        labels.append(Label(LEFT - 8, y + BAR - 3, _short(label), "end"))
        labels.append(Label(round(x + 6, 1), y + BAR - 3, end))
    return Plot(name, title, described, WIDTH, len(rows) * ROW, tuple(marks), tuple(labels), legend)


def _fixes(report: Report) -> Plot | None:
    known = [row for row in report.fixes if row.probability is not None][:MOST_BARS]
    if not known:
        return None
    marks: list[Mark] = []
    labels: list[Label] = []
    for index, row in enumerate(known):
        assert row.probability is not None and row.between.low is not None and row.between.high is not None
        middle = index * ROW + ROW / 2
        low, at, high = (
            LEFT + (RIGHT - LEFT) * value for value in (row.between.low, row.probability, row.between.high)
        )
        what = f"{row.action.replace('_', ' ')} for {row.fault_class.replace('_', ' ')}"
        said = f"{what}: {share(row.probability)}, 90 % between {share(row.between.low)} and {share(row.between.high)}"
        marks.append(_mark(LEFT, middle - 0.5, RIGHT - LEFT, 1, "scale", what))
        marks.append(_mark(low, middle - 3, high - low, 6, "interval", said))
        marks.append(_mark(at - 2.5, middle - 8, 5, BAR, "mean", said))
        labels.append(Label(LEFT - 8, middle + 4, _short(what), "end"))
        labels.append(Label(RIGHT + 6, middle + 4, f"{row.fixed} of {row.fixed + row.not_fixed}"))
    return Plot(
        "fixes",
        "P(action fixes), from 0 to 1",
        "Posterior mean and 90 % interval of the share of repairs that fixed a fault.",
        WIDTH,
        len(known) * ROW,
        tuple(marks),
        tuple(labels),
    )


def _mark(x: float, y: float, width: float, height: float, look: str, said: str) -> Mark:
    return Mark(round(x, 2), round(y, 2), round(width, 2), round(height, 2), look, said)


def _short(label: str) -> str:
    return label if len(label) <= 26 else f"{label[:25]}…"
