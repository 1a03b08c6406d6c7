"""Reads exported logs from files, and writes them."""

from __future__ import annotations

import contextlib
import gzip
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Final, cast

from cli.client import Failed
from cli.exit_codes import ExitCode
from controller.events import Logged
from controller.store.cloud_events import cloud_event
from controller.store.exported import MAX_LINE_BYTES, BadLine, read_exported

STANDARD_INPUT: Final = Path("-")


def entries_of(file: Path, *, whole: bool = False) -> Iterator[Logged]:
    """Yield the entries of an exported log, compressed by gzip where its name says so; `-` is standard input.

    Args:
        whole: no entry may be missing in it.

    Raises:
        Failed: it cannot be read, or is no exported log (with the line's number).
    """
    read = _Count()
    try:
        with _opened(file) as lines:
            name = "standard input" if file == STANDARD_INPUT else str(file)
            yield from read_exported(read.seen(_lines(lines)), name, whole=whole)
    except BadLine as error:
        raise Failed(str(error), ExitCode.BAD_DATA) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        where = f"after line {read.lines}"
        raise Failed(f"{file} is compressed and damaged {where}: {error}", ExitCode.BAD_DATA) from error
    except OSError as error:
        raise Failed(f"{file} cannot be read: {error.strerror or error}", ExitCode.NO_INPUT) from error


@contextlib.contextmanager
def log_writer(file: Path, cell: str) -> Iterator[Callable[[Logged], None]]:
    """Give what writes entries of a cell to a file as an exported log has them, compressed where its name ends in .gz.

    Raises:
        Failed: it cannot be written; what was written so far stays.
    """
    try:
        with gzip.open(file, "wb") if file.suffix == ".gz" else file.open("wb") as lines:
            yield partial(_write, lines.write, cell)
    except OSError as error:
        raise Failed(f"{file} cannot be written: {error.strerror or error}", ExitCode.NO_OUTPUT) from error


def _write(write: Callable[[bytes], int], cell: str, entry: Logged) -> None:
    write(cloud_event(entry, cell) + b"\n")


@dataclass(slots=True)
class _Count:
    """How many lines passed by."""

    lines: int = 0

    def seen(self, lines: Iterator[bytes]) -> Iterator[bytes]:
        for line in lines:
            self.lines += 1
            yield line


def _opened(file: Path) -> IO[bytes]:
    if file == STANDARD_INPUT:
        return sys.stdin.buffer
    return cast(IO[bytes], gzip.open(file)) if file.suffix == ".gz" else file.open("rb")


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the lines; of an overlong one as much as shows that it is."""
    while line := file.readline(MAX_LINE_BYTES + 1):
        yield line
