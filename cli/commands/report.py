"""`fleetmend report`: where time, GPU-hours and money went, from a controller or from an exported log."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.table import Table
from rich.text import Text

from cli.client import Client, Failed, with_client
from cli.commands.acts import json_option
from cli.exit_codes import ExitCode
from cli.printing import cell, console, plain, print_json
from cli.report_files import write_page, write_tables
from cli.report_log import LogAsked, report_of_log
from cli.report_printing import titled
from controller.api import report_tables
from controller.api.report_tables import tables
from controller.api.report_words import headlines, shown
from controller.policy.reporting.asked import Prices
from controller.policy.reporting.shapes import Report
from controller.web.report_view import report_file, report_view

PATIENCE_S = 600.0
"""How long a controller may read its log for a report. Source: our choice; a quarter of a large cell takes a minute."""

BAR = 24
TABLES_WITHOUT_ROWS_SHOWN = frozenset({"losses", "repair", "fixes"})

file_path = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.option("--since", metavar="WHEN", default="", help="7d, 12h or ISO 8601; default 7d, or all of --log.")
@click.option("--until", metavar="WHEN", default="", help="Likewise; default now, or the end of --log.")
@click.option("--drills", is_flag=True, help="Count faults that people injected like others.")
@click.option("--html", "html", metavar="FILE", type=file_path, help="Write one page that needs nothing else.")
@click.option(
    "--csv", "folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False), help="Write a file a table."
)
@click.option("--log", "log", metavar="FILE", type=file_path, help="Read an exported log (.gz too), ask no controller.")
@click.option(
    "--gpu-hour-price", metavar="PRICE", type=click.FloatRange(0), help="With --log: what a GPU-hour is worth."
)
@click.option("--currency", metavar="NAME", default="", help="With --log: shown with money.")
@json_option
@with_client
def report(client: Client, **given: Any) -> None:
    """Show availability, faults, repairs, and GPU-hours and money lost, over a span of time.

    docs/explanation/figures.md says how each figure is defined. What the log does not tell is a dash, never a zero.
    A controller knows its prices by [report] of its settings.
    """
    span = Span(given["since"], given["until"], given["drills"])
    log: Path | None = given["log"]
    price, currency = given["gpu_hour_price"], given["currency"]
    if log is None and (price is not None or currency):
        raise click.UsageError("--gpu-hour-price and --currency go with --log; a controller has them in its settings")
    if log is not None:
        made = report_of_log(LogAsked(log, span.since, span.until, span.drills, Prices(price, {}, currency)))
    else:
        made = _asked(client, span)
    _give(made, Wanted(given["html"], given["folder"], given["as_json"]), log.name if log is not None else client.url)


@dataclass(frozen=True, slots=True)
class Span:
    """What a report is about, as people wrote it."""

    since: str
    until: str
    drills: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """What becomes of a report: a page, a folder of tables, JSON; what people read where it is none of these."""

    html: Path | None
    folder: Path | None
    as_json: bool


def _give(made: Report, wanted: Wanted, about: str) -> None:
    if wanted.html is not None:
        write_page(report_file(made, about=about), wanted.html)
    if wanted.folder is not None:
        written = write_tables(made, wanted.folder)
        click.echo(plain(f"wrote {len(written)} tables to {wanted.folder}"), err=True)
    if wanted.as_json:
        print_json(msgspec.to_builtins(made))
    elif wanted.html is None and wanted.folder is None:
        _show(made)


def _asked(client: Client, span: Span) -> Report:
    asked = replace(client, timeout_s=PATIENCE_S)
    answer = asked.get("report", since=span.since, until=span.until, drills="include" if span.drills else "")
    try:
        return msgspec.convert(answer, Report)
    except msgspec.ValidationError as error:
        raise Failed(f"{client.url} gives a report of another version: {error}", ExitCode.UNREACHABLE) from error


def _show(made: Report) -> None:
    out = console()
    view = report_view(made)
    out.print(cell(f"Report: {view.span}", "bold"))
    out.print(cell(view.fleet, "dim"))
    out.print()
    out.print(_headlines(made))
    out.print(_states(made))
    for table in tables(made):
        if table.name in {"summary", "states"} or not (table.rows or table.name in TABLES_WITHOUT_ROWS_SHOWN):
            continue
        out.print()
        out.print(titled(table))
    for note in made.notes:
        out.print(cell(f"! {note}", "yellow"))


def _headlines(made: Report) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(style="dim", overflow="fold")
    for name, (value, below) in headlines(made).items():
        grid.add_row(name, cell(value), cell(below))
    return grid


_STATE_STYLES = {
    "in_service": "green",
    "held_out": "red",
    "kept_out": "yellow",
    "lost": "magenta",
    "planned": "blue",
    "drill": "cyan",
    "unknown": "dim",
}


def _states(made: Report) -> Table:
    """Return the states with a bar each: colour alone never carries a meaning."""
    grid = Table.grid(padding=(0, 2))
    for justify in ("left", "right", "right", "left"):
        grid.add_column(justify=justify, no_wrap=True)
    for row in made.availability.states:
        if row.node_hours:
            share = row.share or 0.0
            bar = Text("█" * max(1, round(BAR * share)), style=_STATE_STYLES[row.state])
            state = cell(shown(row.state, report_tables.TEXT))
            grid.add_row(state, shown(row.share, report_tables.SHARE), f"{shown(row.node_hours, 'hours')} node-h", bar)
    return grid
