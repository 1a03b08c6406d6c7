"""Writes a report to files: a page of HTML, or a table a file."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

import click

from cli.client import Failed
from cli.exit_codes import ExitCode
from cli.printing import plain
from controller.api.report_tables import Cell, tables
from controller.policy.reporting.shapes import Report

_RUN_BY_SPREADSHEETS = ("=", "+", "-", "@", "\t", "\r")
"""Beginnings of texts that a spreadsheet would run. Source: OWASP, CSV Injection."""


def write_page(page: str, file: Path) -> None:
    """Write one page of HTML, and say so.

    Raises:
        Failed: the file cannot be written.
    """
    _write(file, page.encode())
    click.echo(plain(f"wrote {file}"), err=True)


def write_tables(report: Report, folder: Path) -> list[Path]:
    """Write every table into a folder, which is made when it is not there, and return the files.

    Raises:
        Failed: a file cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Failed(f"{folder} cannot be made: {error.strerror}", ExitCode.NO_OUTPUT) from error
    written = []
    for table in tables(report):
        text = io.StringIO()
        lines = csv.writer(text, lineterminator="\n")
        lines.writerow([column.name for column in table.columns])
        lines.writerows([harmless(value) for value in row] for row in table.rows)
        file = folder / f"{table.name}.csv"
        _write(file, text.getvalue().encode())
        written.append(file)
    return written


def harmless(value: Cell) -> Cell:
    """Return a value that no spreadsheet takes for a formula; a number stays one, what is not known stays empty."""
    if isinstance(value, str) and value.startswith(_RUN_BY_SPREADSHEETS):
        return f"'{value}"
    return value


def _write(file: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    partial = file.with_name(f".{file.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(file)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise Failed(f"{file} cannot be written: {error.strerror}", ExitCode.NO_OUTPUT) from error
