"""Puts a candidate policy over a recorded log, says what differs, and says no where a limit is crossed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import click
import msgspec
from rich import box
from rich.table import Table

from cli.client import Failed
from cli.exit_codes import ExitCode
from cli.printing import cell, console, plain, print_json
from cli.report_files import write_page
from controller.api.hindsight_tables import hindsight_tables
from controller.api.report_tables import TEXT, ReportTable
from controller.api.report_words import shown
from controller.events import Logged
from controller.hindsight.compare import Compare
from controller.hindsight.limits import crossed
from controller.hindsight.result import Comparison
from controller.policy.replaying.again import CannotReplay
from controller.policy.rules import Rules
from controller.settings import ControllerSettings, SettingsError
from controller.simulation.model import Model, load_model
from controller.store.choosing import open_store
from controller.store.log import StoreError
from controller.store.snapshot import oldest
from controller.web.hindsight_view import hindsight_file, hindsight_view

ROWS = 20
"""Of one table in a terminal; --html and --json have all."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """How a candidate is to be compared.

    Attributes:
        forward: what history does not know is drawn from the fault model, by `seed`.
        limits: name of `hindsight.limits.MEASURES` → how much is allowed.
    """

    html: Path | None
    forward: bool
    model: Path | None
    seed: int
    limits: Mapping[str, float]
    as_json: bool


def compare_log(log: Iterator[Logged], rules: Rules, wanted: Wanted, *, name: str) -> None:
    """Compare over an exported log, and say what differs.

    Raises:
        Failed: the log is none, or a file cannot be written.
        click.exceptions.Exit: a limit is crossed.
    """
    _compare(Compare(rules, model=_model(wanted), seed=wanted.seed), log, wanted, name)


def compare_store(settings: ControllerSettings, rules: Rules, wanted: Wanted) -> None:
    """Compare over a controller's event log; see `compare_log`."""
    try:
        with closing(open_store(settings.store, settings.state)) as event_log, event_log.frozen():
            belief = oldest(event_log)
            comparing = Compare(rules, belief, model=_model(wanted), seed=wanted.seed)
            _compare(comparing, event_log.read(after=belief.last_event_id), wanted, event_log.name)
    except StoreError as error:
        raise Failed(str(error), ExitCode.UNREACHABLE) from error


def _model(wanted: Wanted) -> Model | None:
    try:
        return load_model(wanted.model) if wanted.forward else None
    except SettingsError as error:
        raise Failed(str(error), ExitCode.CONFIG) from error


def _compare(comparing: Compare, log: Iterator[Logged], wanted: Wanted, name: str) -> None:
    try:
        comparing.take_all(log)
    except CannotReplay as error:
        raise Failed(f"{name}: {error}", ExitCode.BAD_DATA) from error
    if not comparing.entries:
        raise Failed(f"{name} has no entry", ExitCode.BAD_DATA)
    found = comparing.result()
    said = crossed(found, wanted.limits)
    if wanted.html is not None:
        write_page(hindsight_file(found, about=Path(name).name, crossed=said), wanted.html)
    if wanted.as_json:
        print_json({**msgspec.to_builtins(found), "crossed": said})
    elif wanted.html is None:
        _show(found)
    for sentence in said:
        click.echo(plain(sentence), err=True)
    if said:
        raise click.exceptions.Exit(ExitCode.NO)


def _show(found: Comparison) -> None:
    out, view = console(), hindsight_view(found, [])
    out.print(cell(f"Candidate against history: {view.span}", "bold"))
    out.print(cell(view.fleet, "dim"))
    for table in hindsight_tables(found):
        out.print()
        out.print(cell(table.title, "bold"))
        out.print(cell(table.meaning, "dim"))
        out.print(_values(table) if table.rows else cell(table.empty))
    for note in view.notes:
        out.print(cell(f"! {note}", "yellow"))


def _values(table: ReportTable) -> Table:
    values = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in table.columns:
        values.add_column(column.title, justify="left" if column.kind == TEXT else "right", overflow="fold")
    for row in table.rows[:ROWS]:
        values.add_row(*(cell(shown(value, column.kind)) for value, column in zip(row, table.columns, strict=True)))
    if len(table.rows) > ROWS:
        values.caption = f"and {len(table.rows) - ROWS} more: --html, --json"
    return values
