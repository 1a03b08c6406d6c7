"""`fleetmend playbook lint|list|show`: playbooks as files; `rollout`: how a controller tries changed ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.table import Table

from cli.client import Client, Failed, with_client
from cli.exit_codes import ExitCode
from cli.printing import cell, console, plain, print_json
from cli.tables import table
from controller.playbooks import PlaybookErrors, load_default, load_directory, render
from controller.policy.playbook import Answers, Playbook

directory_option = click.option(
    "--directory",
    type=click.Path(path_type=Path),
    help="Directory of playbooks; default: those that come with fleetmend.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="JSON for programs.")


@click.group()
def playbook() -> None:
    """Check and show playbooks, and how changed ones are tried."""


def _loaded(directory: Path | None) -> tuple[Playbook, ...]:
    if directory is not None and not directory.is_dir():
        raise Failed(f"{directory} is not a directory", ExitCode.NO_INPUT)
    try:
        return load_default() if directory is None else load_directory(directory)
    except PlaybookErrors as errors:
        raise Failed(f"the playbooks are wrong\n{errors}", ExitCode.CONFIG) from errors


@playbook.command()
@click.argument("directory", required=False, type=click.Path(path_type=Path))
def lint(directory: Path | None) -> None:
    """Check every playbook of a directory and report all problems at once."""
    books = _loaded(directory)
    click.echo(f"{len(books)} playbooks are right.")


@playbook.command(name="list")
@directory_option
@json_option
def list_playbooks(directory: Path | None, as_json: bool) -> None:
    """List playbooks in the order in which they answer."""
    books = sorted(_loaded(directory), key=lambda book: (book.precedence, book.name))
    if as_json:
        print_json([_row(book) for book in books])
        return
    shown = table("playbook", "precedence", "severity", "mode", "answers*", "steps*")
    for book in books:
        row = _row(book)
        shown.add_row(
            cell(book.name, "bold"),
            str(book.precedence),
            cell(book.severity),
            cell(book.mode),
            cell(", ".join(row["answers"])),
            cell(" → ".join(row["steps"])),
        )
    console().print(shown)


def _row(book: Playbook) -> dict[str, Any]:
    return {
        "name": book.name,
        "summary": book.summary,
        "fault_class": book.fault_class,
        "severity": book.severity,
        "precedence": book.precedence,
        "mode": str(book.mode),
        "answers": [_answer(line) for line in book.answers],
        "steps": [step.name for step in book.steps],
        "hand_over": [step.name for step in book.hand_over],
        "digest": book.digest,
        "source": book.source,
    }


def _answer(line: Answers) -> str:
    codes = ",".join(sorted(line.codes, key=lambda code: (not code.isdecimal(), len(code), code)))
    actions = ",".join(sorted(line.actions))
    return f"{line.check} {codes}".strip() + (f" [{actions}]" if actions else "")


@playbook.command()
@click.argument("name")
@directory_option
def show(name: str, directory: Path | None) -> None:
    """Show what one playbook does, in words."""
    books = {book.name: book for book in _loaded(directory)}
    if name not in books:
        raise Failed(f"no playbook is called {name!r}; there are {', '.join(sorted(books))}", ExitCode.NO)
    for line in render(books[name]).splitlines():
        click.echo(plain(line))


@playbook.command()
@click.argument("name", required=False)
@click.option("--promote", "verdict", flag_value="promote", help="Trust the new text from now on.")
@click.option("--withdraw", "verdict", flag_value="withdraw", help="Use the new text no more; the old one stays.")
@click.option("--digest", metavar="HASH", default="", help="Only if the new text has this hash, or one beginning so.")
@click.option("--because", metavar="TEXT", default="", help="Why; goes into the log.")
@json_option
@with_client
def rollout(client: Client, name: str | None, verdict: str | None, digest: str, because: str, as_json: bool) -> None:
    """Show how changed playbooks are tried, or decide about one of them."""
    if verdict is not None:
        if name is None:
            raise click.UsageError(f"--{verdict} needs the name of a playbook")
        answer = client.post("rollouts", name, verdict, because=because, digest=digest)
        print_json(answer) if as_json else click.echo(plain(answer["text"]))
        return
    rows = [row for row in client.get("rollouts") if name in {None, row["playbook"]}]
    if as_json:
        print_json(rows)
    elif rows:
        console().print(_rollout_table(rows))
    else:
        click.echo("Every playbook is trusted." if name is None else f"No new text of {plain(name)} is tried.")


def _rollout_table(rows: list[dict[str, Any]]) -> Table:
    shown = table("playbook", "trusted", "tried", "ended well", "state*")
    for row in rows:
        well = sum(canary["verdict"] == "well" for canary in row["canaries"])
        shown.add_row(
            cell(row["playbook"], "bold"),
            cell(row["trusted"][:12] if row["trusted"] else "none"),
            cell(row["candidate"][:12]),
            cell(f"{well} of {row['canaries_wanted']}"),
            cell(_rollout_state(row)),
        )
    return shown


def _rollout_state(row: dict[str, Any]) -> str:
    if row["stopped"]:
        return str(row["stopped"])
    under_way = [canary["incident_id"] for canary in row["canaries"] if canary["verdict"] is None]
    return f"answers {', '.join(under_way)}" if under_way else "answers the next incident of its kind"
