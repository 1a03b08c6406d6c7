"""Makes a report of an exported log, without a controller."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from cli.client import Failed
from cli.exit_codes import ExitCode
from cli.log_files import STANDARD_INPUT, entries_of
from controller.api.moments import iso
from controller.api.spans import moment_of
from controller.policy.reporting.asked import Asked, Prices
from controller.policy.reporting.fold import Fold
from controller.policy.reporting.shapes import Report


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
    if wanted.file == STANDARD_INPUT:
        raise Failed("--log wants a file: a report reads it twice", ExitCode.USAGE)
    first, last = _ends(wanted.file)
    end = math.nextafter(last, math.inf)
    until = min(end, _moment(wanted.until, "--until", end, now=last))
    since = _moment(wanted.since, "--since", first, now=until)
    if since >= until:
        raise Failed(f"the log tells of {iso(first)} to {iso(last)}; nothing of that lies in the span", ExitCode.USAGE)
    fold = Fold(Asked(since, until, wanted.drills, wanted.prices))
    fold.take_all(entries_of(wanted.file))
    return fold.report()


def _ends(file: Path) -> tuple[float, float]:
    first, last = 0.0, 0.0
    for entry in entries_of(file):
        first, last = first or entry.at, max(last, entry.at)
    if not last:
        raise Failed(f"{file} has no entry", ExitCode.BAD_DATA)
    return first, last


def _moment(text: str, option: str, default: float, *, now: float) -> float:
    try:
        return moment_of(text, now) if text else default
    except ValueError as error:
        raise Failed(f"{option}: {error}", ExitCode.USAGE) from error
