"""A comparison of history and candidate as tables: what the terminal and the page have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from controller.api.moments import duration, iso
from controller.api.report_tables import NUMBER, TEXT, Cell, Column, ReportTable
from controller.api.report_words import hours
from controller.hindsight.result import Comparison, CordonRow, Figures


def _count(value: float) -> str:
    return f"{value:,.0f}"


FIGURES: Final[tuple[tuple[str, Callable[[Figures], float], Callable[[float], str]], ...]] = (
    ("cordons", lambda each: each.cordons, _count),
    ("cordons known to be false", lambda each: each.false_cordons, _count),
    ("cordons known to be right", lambda each: each.right_cordons, _count),
    ("node-hours out", lambda each: each.node_hours_out, hours),
    ("GPU-hours out", lambda each: each.gpu_hours_out, hours),
    ("node-hours in service with a failed finding", lambda each: each.missed_fault_node_hours, hours),
    ("tickets", lambda each: each.tickets, _count),
    ("pages", lambda each: each.pages, _count),
)


def hindsight_tables(found: Comparison) -> list[ReportTable]:
    """Return every table, in the order in which people read."""
    return [_figures(found), *(_cordons(*each) for each in _kinds(found)), _unknown(found)]


def _figures(found: Comparison) -> ReportTable:
    drawn = f"candidate, drawn (seed {found.seed})" if found.drawn is not None else ""
    titles = ["history", "candidate", "more or less", "history, not compared", *([drawn] if drawn else [])]
    rows = []
    for name, choose, shown in FIGURES:
        ours, theirs = choose(found.candidate), choose(found.history)
        values = [shown(theirs), shown(ours), _signed(ours - theirs, shown), shown(choose(found.not_compared))]
        rows.append((name, *values, *([shown(choose(found.drawn))] if found.drawn is not None else [])))
    columns = (Column("figure", "figure"), *(Column(title.replace(" ", "_"), title, NUMBER) for title in titles))
    return ReportTable("figures", "What it comes to", _meaning(found), columns, tuple(rows), "")


def _meaning(found: Comparison) -> str:
    said = (
        "History and candidate stand side by side where both can be held to each other. Not compared is what history "
        "did to nodes while one side had acted on them and the other had not."
    )
    if found.drawn is None:
        return said
    return (
        f"{said} What the candidate did to those nodes is drawn from the fault model by seed {found.seed}: no "
        "figure of that column is known."
    )


def _signed(value: float, shown: Callable[[float], str]) -> str:
    if shown(abs(value)) == shown(0.0):
        return "0"
    return f"{'+' if value > 0 else '-'}{shown(abs(value))}"


Kind = tuple[str, str, str, list[CordonRow], bool]


def _kinds(found: Comparison) -> tuple[Kind, ...]:
    return (
        ("added", "Cordons added", "The candidate takes these nodes out, and history did not.", found.added, False),
        ("avoided", "Cordons avoided", "History took these nodes out; the candidate does not.", found.avoided, False),
        ("moved", "Cordons at another moment", "Both take these nodes out.", found.moved, True),
    )


def _cordons(name: str, title: str, meaning: str, rows: list[CordonRow], with_lateness: bool) -> ReportTable:
    others = {"added": "what history made of it", "avoided": "what the candidate makes of it"}
    columns = (
        Column("node", "node"),
        Column("at", "when"),
        Column("incident", "incident"),
        Column("because", "why"),
        Column("other_because", others.get(name, "why the candidate does")),
        *((Column("later", "the candidate is"),) if with_lateness else ()),
        Column("truth", "was it right?"),
    )
    return ReportTable(name, title, meaning, columns, tuple(_cordon(row, with_lateness) for row in rows), "None.")


def _cordon(row: CordonRow, with_lateness: bool) -> tuple[Cell, ...]:
    late = f"{duration(abs(row.later_s))} {'later' if row.later_s > 0 else 'sooner'}"
    drawn = ", drawn from the model" if row.drawn else ""
    return (
        row.node,
        _moment(row.at),
        f"{row.incident_id}, {row.playbook}",
        row.because,
        row.other_because,
        *((f"{late}{drawn}",) if with_lateness else ()),
        f"{row.truth}: {row.truth_because}",
    )


def _unknown(found: Comparison) -> ReportTable:
    columns = tuple(Column(name, title, TEXT) for name, title in _UNKNOWN)
    rows = tuple(
        (
            row.node,
            _moment(row.at),
            _moment(row.until) if row.until is not None else "the log's end",
            f"{row.why[:1].upper()}{row.why[1:]}.",
            f"drawn as {row.drawn}, seed {found.seed}" if row.drawn else "unknown",
        )
        for row in found.unknown
    )
    left = sum(not row.drawn for row in found.unknown)
    meaning = (
        f"What a node says after an action that one side took and the other did not is no news to the other. {left} "
        f"courses stay unknown: {hours(found.unknown_gpu_hours)} GPU-hours, in which the candidate may have had the "
        "nodes out for none of the time, or all of it."
    )
    return ReportTable("unknown", "Courses that history does not tell", meaning, columns, rows, "None.")


_UNKNOWN: Final = (("node", "node"), ("at", "from"), ("until", "until"), ("why", "why"), ("drawn", "what came of it"))


def _moment(at: float) -> str:
    return f"{iso(at)[:19]}Z".replace("T", " ")
