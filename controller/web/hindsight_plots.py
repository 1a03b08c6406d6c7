"""Pictures of a comparison. Every number of them is in a table below them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from controller.api.moments import iso
from controller.api.report_words import hours
from controller.hindsight.result import Comparison, CordonRow, Figures
from controller.web.report_plots import LEFT, RIGHT, ROW, WIDTH, Label, Mark, Plot, bars, mark

SIDES: Final = ("history", "candidate")
TICK: Final = 3.0
LOOKS: Final = {
    "known": "held to each other",
    "apart": "not compared",
    "drawn": "drawn from the model",
    "unknown": "unknown",
}


def hindsight_plots(found: Comparison) -> tuple[Plot, ...]:
    """Return those pictures for which there is something to show."""
    drawn = (
        _over_time(found),
        _cordons(found),
        _hours("gpu-hours", "GPU-hours out", found, lambda each: each.gpu_hours_out, found.unknown_gpu_hours),
        _hours("missed", "Node-hours with a failed finding", found, lambda each: each.missed_fault_node_hours, 0.0),
        _notices(found),
    )
    return tuple(plot for plot in drawn if plot is not None)


def _over_time(found: Comparison) -> Plot | None:
    """Return when cordons differ; those that are the same would hide it."""
    kinds = (("added", found.added), ("avoided", found.avoided), ("moved", found.moved))
    if not any(rows for _, rows in kinds):
        return None
    marks, labels = [], []
    for index, (name, rows) in enumerate(kinds):
        y = index * ROW + ROW / 2
        marks.append(mark(LEFT, y, RIGHT - LEFT, 1, "scale", name))
        marks += _ticks(name, rows, found, y)
        labels += [Label(LEFT - 8, y + 5, name, "end"), Label(RIGHT + 6, y + 5, str(len(rows)))]
    described = "When the candidate's cordons differ from history's, from the log's beginning to its end."
    title = "When cordons differ"
    return Plot("over-time", title, described, WIDTH, len(kinds) * ROW, tuple(marks), tuple(labels))


def _ticks(name: str, rows: Iterable[CordonRow], found: Comparison, y: float) -> list[Mark]:
    span_s = max(found.last_at - found.first_at, 1.0)
    return [
        mark(
            LEFT + (RIGHT - LEFT - TICK) * (row.at - found.first_at) / span_s,
            y - 8,
            TICK,
            16,
            f"cordon-{name}",
            f"{row.node}, {iso(row.at)[:19]}Z: {row.because}",
        )
        for row in rows
    ]


def _cordons(found: Comparison) -> Plot | None:
    shared = [(float(found.same_cordons), "cordon-same", f"{found.same_cordons} at the same moment")]
    shared.append((float(len(found.moved)), "cordon-moved", f"{len(found.moved)} at another moment"))
    apart, drawn = found.not_compared.cordons, found.drawn.cordons if found.drawn is not None else 0
    theirs = [
        *shared,
        (float(len(found.avoided)), "cordon-avoided", f"{len(found.avoided)} that the candidate avoids"),
        (float(apart), "hindsight-apart", f"{apart} not compared"),
    ]
    ours = [
        *shared,
        (float(len(found.added)), "cordon-added", f"{len(found.added)} that history did not make"),
        (float(drawn), "hindsight-drawn", f"{drawn} drawn from the model"),
    ]
    names = {"same": "same moment", "moved": "another moment", "avoided": "avoided", "added": "added"}
    legend = [(f"cordon-{name}", words) for name, words in names.items()]
    legend += [(f"hindsight-{look}", LOOKS[look]) for look in ("apart", "drawn")]
    return _sides("cordons", "Cordons", (theirs, ours), legend)


def _hours(name: str, title: str, found: Comparison, choose: Callable[[Figures], float], unknown: float) -> Plot | None:
    theirs = [_part(choose(found.history), "known"), _part(choose(found.not_compared), "apart")]
    ours = [_part(choose(found.candidate), "known")]
    ours += [_part(choose(found.drawn), "drawn")] if found.drawn is not None else []
    ours += [_part(unknown, "unknown")] if unknown else []
    legend = [(f"hindsight-{look}", words) for look, words in LOOKS.items()]
    return _sides(name, title, (theirs, ours), legend)


def _part(value: float, look: str) -> tuple[float, str, str]:
    return value, f"hindsight-{look}", f"{hours(value)} h, {LOOKS[look]}"


def _notices(found: Comparison) -> Plot | None:
    rows = []
    for name, each in zip(SIDES, (found.history, found.candidate), strict=True):
        parts = [(float(each.tickets), "notice-ticket", f"{each.tickets} tickets")]
        parts.append((float(each.pages), "notice-page", f"{each.pages} pages"))
        rows.append((name, parts, f"{each.tickets} + {each.pages}"))
    legend = (("notice-ticket", "tickets"), ("notice-page", "pages"))
    return bars("notices", "Tickets and pages, where held to each other", "Tickets and pages by side.", rows, legend)


def _sides(
    name: str, title: str, parts: tuple[list[tuple[float, str, str]], ...], legend: list[tuple[str, str]]
) -> Plot | None:
    rows = [
        (side, [part for part in here if part[0]], hours(sum(value for value, _, _ in here)))
        for side, here in zip(SIDES, parts, strict=True)
    ]
    used = {look for _, here, _ in rows for _, look, _ in here}
    chosen = tuple(each for each in legend if each[0] in used)
    return bars(name, title, f"{title} of history and of the candidate.", rows, chosen)
