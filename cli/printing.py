"""What people see: tables and lines. Every text may come from a node, so no control character reaches the terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

PIPED_WIDTH = 200
"""Columns when the output is no terminal: wide enough that a line of `grep`'s input is a row."""

_STYLES = {
    "ok": "green",
    "done": "green",
    "returned": "green",
    "recovered": "green",
    "online": "green",
    "degraded": "yellow",
    "waiting": "yellow",
    "refused": "yellow",
    "in_doubt": "yellow",
    "failed": "red",
    "timed_out": "red",
    "handed_over": "red",
    "aborted": "red",
    "lost": "red",
    "running": "blue",
    "current": "blue",
    "pass": "green",
    "warn": "yellow",
    "fail": "red",
    "error": "magenta",
    "skip": "dim",
    "stopped": "yellow",
    "too_many": "red",
}

SHAPES = {"ok": "●", "degraded": "▲", "failed": "■", "unknown": "?"}
OUTCOME_SHAPES = {"pass": "●", "warn": "▲", "fail": "■", "error": "✕", "skip": "–"}
"""Of benchmarks: an error says nothing of the hardware, and must not look like a failure."""


def console() -> Console:
    """Return where people read: standard output."""
    return Console(width=None if sys.stdout.isatty() else PIPED_WIDTH, highlight=False)


def print_json(content: object) -> None:
    """Print JSON for programs, and nothing else."""
    click.echo(json.dumps(content, indent=2, ensure_ascii=False))


def plain(text: object) -> str:
    """Return the text on one line, every control character replaced: a node's words must not steer the terminal."""
    return "".join(map(_shown, str(text)))


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    return " " if character.isspace() else "�"


def cell(text: object, style: str = "") -> Text:
    """Return a text that is printed as it is, never read as markup."""
    return Text(plain(text), style=style)


def lines(texts: Iterable[object], style: str = "") -> Text:
    """Return texts one below the other, each on a line of its own."""
    return Text("\n").join(cell(text, style) for text in texts)


def state(word: str) -> Text:
    """Return a state, verdict or outcome in its colour, with its shape where it has one."""
    shape = SHAPES.get(word) or OUTCOME_SHAPES.get(word) or ""
    return Text(f"{shape} ".lstrip() + plain(word).replace("_", " "), style=_STYLES.get(word, ""))


def pairs(values: Mapping[str, object]) -> Table:
    """Return names and values side by side; what is empty is left out."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in values.items():
        if value is not None and str(value):
            grid.add_row(name, value if isinstance(value, Text) else cell(value))
    return grid


def timeline(entries: Iterable[Mapping[str, Any]]) -> Table:
    """Return log entries, oldest first."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for entry in entries:
        grid.add_row(clock(entry["at"]), entry_text(entry))
    return grid


def entry_text(entry: Mapping[str, Any]) -> Text:
    """Return one log entry: what happened and, dimmed, why."""
    text = cell(entry["text"])
    if entry["because"]:
        text.append(f"  {plain(entry['because'])}", style="dim")
    return text


def counted(number: int, thing: str) -> str:
    """Return a number of things, in words: `1 node`, `2 nodes`."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def moment(at: str) -> str:
    """Return date and time, UTC."""
    return datetime.fromisoformat(at).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def clock(at: str) -> str:
    """Return the time of day, UTC."""
    return datetime.fromisoformat(at).astimezone(UTC).strftime("%H:%M:%S")


def seconds(value: float | None) -> str:
    """Return how long ago, in words."""
    if value is None:
        return "never"
    if value < 90:
        return f"{value:.0f} s"
    if value < 5400:
        return f"{value / 60:.0f} min"
    return f"{value / 3600:.0f} h" if value < 172_800 else f"{value / 86_400:.0f} d"
