"""`fleetmend doctor`: what is missing or unsafe on this host, in sentences, each with what to do."""

from __future__ import annotations

import logging
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.client import DEFAULT_URL, client_of
from cli.doctor.diagnosis import WORST_FIRST, Role, Severity
from cli.doctor.examine import Told, code_of, examine
from cli.doctor.patient import patient_at
from cli.place import Place
from cli.printing import cell, console, counted, print_json
from wire.logs import configure_logging

SIGNS = {
    Severity.UNSAFE: ("✖", "bold red"),
    Severity.MISSING: ("✖", "red"),
    Severity.UNKNOWN: ("?", "magenta"),
    Severity.ADVICE: ("!", "yellow"),
    Severity.FINE: ("✓", "green"),
}
INDENT = 10


@click.command()
@click.argument("role", required=False, type=click.Choice([role.value for role in Role]))
@click.option("--json", "as_json", is_flag=True, help="JSON for programs.")
@click.option("--all", "shows_fine", is_flag=True, help="Say what is fine, too.")
@click.option(
    "--root",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=Path("/"),
    help="Look at the image below DIR: at its files alone.",
)
@click.option("--url", metavar="URL", help=f"The controller's address (FLEETMEND_URL; default {DEFAULT_URL}).")
@click.pass_context
def doctor(
    ctx: click.Context, *, role: str | None, as_json: bool, shows_fine: bool, root: Path, url: str | None
) -> None:
    """Say what is missing or unsafe on this host, in sentences, each with what to do.

    ROLE is what the host is: agent, controller or broker; without it, all that it shows to be. Run it as root. Changes
    nothing; at the broker it tries whether strangers are let in. Exit codes: 0 nothing is missing (there may be
    advice), 1 something is missing or could not be looked at, 2 something is unsafe.
    """
    configure_logging(level=logging.CRITICAL)
    patient = patient_at(Place(root.absolute()), Role(role) if role else None, client_of(ctx, url))
    told = list(examine(patient))
    if as_json:
        print_json([_row(each) for each in told])
    else:
        _show(told, shows_fine=shows_fine)
    ctx.exit(code_of(told))


def _row(each: Told) -> dict[str, str]:
    found = each.diagnosis
    return {"check": each.check, "severity": found.severity, "sentence": found.sentence, "remedy": found.remedy}


def _show(told: list[Told], *, shows_fine: bool) -> None:
    """Print the worst first: whoever reads this at night sees it without scrolling up from the end of a list."""
    out = console()
    for severity in WORST_FIRST:
        if severity is Severity.FINE and not shows_fine:
            continue
        for each in (each for each in told if each.diagnosis.severity is severity):
            _show_one(out, each)
    out.print(_summary(told))


def _show_one(out: Console, each: Told) -> None:
    """Print one sentence and its remedy: wrapped below themselves at a terminal, a line each for `grep`."""
    sign, style = SIGNS[each.diagnosis.severity]
    sentence = cell(each.diagnosis.sentence).append(f"  [{each.check}]", style="dim")
    remedy = cell(f"→ {each.diagnosis.remedy}", "cyan")
    if not out.is_terminal:
        out.print(Text(f"{sign} {each.diagnosis.severity:<8}").append_text(sentence), soft_wrap=True)
        if each.diagnosis.remedy:
            out.print(Text(" " * INDENT).append_text(remedy), soft_wrap=True)
        return
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True, width=INDENT - 1)
    grid.add_column(overflow="fold")
    grid.add_row(Text(f"{sign} {each.diagnosis.severity}", style), sentence)
    if each.diagnosis.remedy:
        grid.add_row("", remedy)
    out.print(grid)


def _summary(told: list[Told]) -> Text:
    counts = {severity: sum(each.diagnosis.severity is severity for each in told) for severity in WORST_FIRST}
    parts = [f"{count} {severity}" for severity, count in counts.items() if count]
    worst = next((severity for severity in WORST_FIRST if counts[severity]), Severity.FINE)
    sign, style = SIGNS[worst]
    return Text(f"{sign} {counted(len(told), 'thing')} looked at: {', '.join(parts)}.", style=style)
