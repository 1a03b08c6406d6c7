"""`fleetmend playbook lint|list|show`: playbooks as files, without a controller."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cli.client import Failed
from cli.exit_codes import ExitCode
from cli.printing import cell, console, plain, print_json, table
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
    """Check and show playbooks."""


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
