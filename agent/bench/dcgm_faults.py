"""What the results of DCGM's tests mean for the machine: its severities, mapped to the outcomes of a benchmark.

A test that failed because a library was missing, or because a setting is unusual, condemns no GPU.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import IntEnum
from functools import cache
from importlib.resources import files
from typing import Final

import msgspec

from agent.bench.dcgm_document import DiagError, DiagResult
from checks import data
from checks.bench_outcome import Outcome
from checks.bench_result import BenchFault


class Severity(IntEnum):
    """DCGM's own. Source: DCGM 4.6, dcgmlib/dcgm_errors.h; 3 is `unknown` there, and not a reset."""

    MONITOR = 1
    ISOLATE = 2
    UNKNOWN = 3
    TRIAGE = 4
    CONFIG = 5
    RESET = 6


MEANINGS: Final = {
    Severity.MONITOR: "to be watched",
    Severity.ISOLATE: "not fit for work",
    Severity.UNKNOWN: "of no severity that DCGM gives",
    Severity.TRIAGE: "to be tested more deeply before it works again",
    Severity.CONFIG: "a setting, and no fault of the hardware",
    Severity.RESET: "to be drained and reset",
}

DIAGNOSTIC_SOFTWARE: Final = frozenset({3, 4, 6, 7, 8, 16})
"""Categories of errors of the test's own means: configuration, libraries, CUDA, the field diagnostic's start, other
software, DCGM itself. Source: DCGM, dcgm_errors.h, dcgmErrorCategory_t; what they mean for us is our choice."""

FIELD_DIAGNOSTIC_FAILED: Final = 95
"""DCGM_FR_EUD_TEST_FAILED: in the category of its software, and yet about the GPU. Source: DCGM, dcgm_errors.h."""

PASSED: Final = frozenset({"pass"})
NOT_RUN: Final = frozenset({"skip", "skipped", "not run", "notrun"})
WARNED: Final = frozenset({"warn", "warning"})
FAILED: Final = frozenset({"fail", "failed"})

_NO_LETTER = re.compile(r"[^a-z0-9]+")


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: int
    name: str
    severity: str
    category: int


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    source: str
    errors: tuple[_Entry, ...]


def outcome_of(result: DiagResult) -> Outcome:
    """Return what one result means. A status that nobody knows is an error, never a pass."""
    if result.status in PASSED:
        return Outcome.PASS
    if result.status in NOT_RUN:
        return Outcome.SKIP
    if result.status in WARNED:
        return Outcome.WARN
    if result.status not in FAILED:
        return Outcome.ERROR
    outcomes = {_outcome(error) for error in result.errors}
    return next((each for each in (Outcome.FAIL, Outcome.ERROR, Outcome.WARN) if each in outcomes), Outcome.WARN)


def faults_of(result: DiagResult, uuids: Mapping[str, str]) -> Iterator[BenchFault]:
    """Yield a fault for each GPU and error of a test that did not pass.

    Args:
        uuids: DCGM's number of a GPU → its UUID.
    """
    if result.status in PASSED or result.status in NOT_RUN:
        return
    most = outcome_of(result)
    for gpu in result.gpus or ("",):
        for error in result.errors or (DiagError("it does not say why"),):
            severity = _outcome(error) if result.status in FAILED else most
            yield BenchFault(_code(error, result), _because(error, result, gpu), uuids.get(gpu, ""), severity)


def severity_of(error: DiagError) -> Severity:
    """Return how severe an error is: as the document says, or else as DCGM's own table has it for its number."""
    if error.severity in set(Severity) - {Severity.UNKNOWN}:
        return Severity(error.severity)
    entry = _entries().get(-1 if error.number is None else error.number)
    return Severity[entry.severity.upper()] if entry is not None else Severity.UNKNOWN


def _outcome(error: DiagError) -> Outcome:
    severity = severity_of(error)
    if severity in {Severity.MONITOR, Severity.CONFIG, Severity.UNKNOWN}:
        return Outcome.WARN
    if _category_of(error) in DIAGNOSTIC_SOFTWARE and error.number != FIELD_DIAGNOSTIC_FAILED:
        return Outcome.ERROR
    return Outcome.FAIL


def _category_of(error: DiagError) -> int | None:
    if error.category is not None:
        return error.category
    entry = _entries().get(-1 if error.number is None else error.number)
    return entry.category if entry is not None else None


def _code(error: DiagError, result: DiagResult) -> str:
    """Return DCGM's name of the error, or the test's where it gives no number."""
    entry = _entries().get(-1 if error.number is None else error.number)
    if entry is not None:
        return entry.name
    if error.number is not None:
        return f"error_{error.number}"
    return _NO_LETTER.sub("_", result.test.lower()).strip("_") or "test"


def _because(error: DiagError, result: DiagResult, gpu: str) -> str:
    whose = f" on GPU {gpu} of DCGM" if gpu else ""
    return f"DCGM's test {result.test} ended with {result.status}{whose}, {MEANINGS[severity_of(error)]}: {error.text}"


@cache
def _entries() -> Mapping[int, _Entry]:
    table = msgspec.json.decode(files(data).joinpath("dcgm_errors.json").read_bytes(), type=_Table)
    return {entry.id: entry for entry in table.errors}
