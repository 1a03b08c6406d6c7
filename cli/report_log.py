"""Makes a report of an exported log, without a controller."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from cli.client import Failed
from cli.exit_codes import ExitCode
from controller.api.moments import iso
from controller.api.spans import moment_of
from controller.events import Logged
from controller.policy.reporting.asked import Asked, Prices
from controller.policy.reporting.fold import Fold
from controller.policy.reporting.shapes import Report
from controller.store.exported import MAX_LINE_BYTES, BadLine, read_exported


@dataclass(frozen=True, slots=True)
class LogAsked:
    """What is asked of a log. `since` and `until` as people wrote them; empty is from its first to its last entry."""

    file: Path
    since: str = ""
    until: str = ""
    drills: bool = False
    prices: Prices = field(default_factory=Prices)


def report_of_log(wanted: LogAsked) -> Report:
    """Return the report on an exported log. It is read twice: first to see which time it is about.

    Raises:
        Failed: it cannot be read, is no exported log (with the line's number), or has nothing in the span.
    """
    first, last = _ends(wanted.file)
    end = math.nextafter(last, math.inf)
    until = min(end, _moment(wanted.until, "--until", end, now=last))
    since = _moment(wanted.since, "--since", first, now=until)
    if since >= until:
        raise Failed(f"the log tells of {iso(first)} to {iso(last)}; nothing of that lies in the span", ExitCode.USAGE)
    fold = Fold(Asked(since, until, wanted.drills, wanted.prices))
    fold.take_all(_entries(wanted.file))
    return fold.report()


def _ends(file: Path) -> tuple[float, float]:
    first, last = 0.0, 0.0
    for entry in _entries(file):
        first, last = first or entry.at, max(last, entry.at)
    if not last:
        raise Failed(f"{file} has no entry", ExitCode.BAD_DATA)
    return first, last


def _moment(text: str, option: str, default: float, *, now: float) -> float:
    try:
        return moment_of(text, now) if text else default
    except ValueError as error:
        raise Failed(f"{option}: {error}", ExitCode.USAGE) from error


def _entries(file: Path) -> Iterator[Logged]:
    try:
        with _opened(file) as lines:
            yield from read_exported(_lines(lines), str(file))
    except BadLine as error:
        raise Failed(str(error), ExitCode.BAD_DATA) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise Failed(f"{file} is compressed and damaged: {error}", ExitCode.BAD_DATA) from error
    except OSError as error:
        raise Failed(f"{file} cannot be read: {error.strerror or error}", ExitCode.NO_INPUT) from error


def _opened(file: Path) -> BinaryIO | gzip.GzipFile:
    return gzip.open(file) if file.suffix == ".gz" else file.open("rb")


def _lines(file: BinaryIO | gzip.GzipFile) -> Iterator[bytes]:
    """Yield the lines; of an overlong one as much as shows that it is."""
    while line := file.readline(MAX_LINE_BYTES + 1):
        yield line
