"""`host.memory`: a host that runs out of main memory, or out of memory that may still be promised."""

from __future__ import annotations

from collections.abc import Sequence

from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.policy import Policy
from checks.readings import HostReading

ID = "host.memory"
FAILED_PERCENT = 2.0
DEGRADED_PERCENT = 5.0
"""Available memory in percent of all. Source: our choice; the kernel's own reserve is about 1 %."""

PROMISED_PERCENT = 95.0
"""Of the commit limit. Source: our choice; one large job asks for the rest at once."""

STRICT = 2
"""vm.overcommit_memory: nothing is promised beyond the limit. Source: kernel, mm/overcommit-accounting.rst."""

GIB = 1 << 30


def judge(readings: Sequence[HostReading]) -> tuple[Finding, ...]:
    """Return whether too little memory is available, or may be promised."""
    return (*_available(readings[-1]), *_promised(readings[-1]))


def _available(reading: HostReading) -> tuple[Finding, ...]:
    total, available = reading.memory_total_bytes, reading.memory_available_bytes
    if not total or available is None:
        return (_finding("unreadable", Verdict.UNKNOWN, "the host's memory could not be read"),)
    percent = 100.0 * available / total
    if percent >= DEGRADED_PERCENT:
        return ()
    verdict = Verdict.FAILED if percent < FAILED_PERCENT else Verdict.DEGRADED
    because = f"{percent:.1f} % of memory is available, {available / GIB:.1f} of {total / GIB:.0f} GiB"
    return (_finding("low", verdict, because + _swap(reading)),)


def _promised(reading: HostReading) -> tuple[Finding, ...]:
    """Where promises are limited, the limit is met long before memory is used up, and every `malloc` fails."""
    promised, limit = reading.committed_bytes, reading.commit_limit_bytes
    if reading.overcommit_mode != STRICT or promised is None or not limit:
        return ()
    percent = 100.0 * promised / limit
    if percent <= PROMISED_PERCENT:
        return ()
    because = f"{percent:.0f} % of the memory that may be promised is, and vm.overcommit_memory = 2 allows no more"
    return (_finding("promised", Verdict.DEGRADED, because),)


def _swap(reading: HostReading) -> str:
    total, free = reading.swap_total_bytes, reading.swap_free_bytes
    return f"; {free / GIB:.1f} of {total / GIB:.0f} GiB of swap are free" if total and free is not None else ""


def _finding(code: str, verdict: Verdict, because: str) -> Finding:
    return Finding(ID, "host", code, verdict, Action.NONE, because)


CHECK = LevelCheck(
    id=ID,
    summary="A host that runs out of main memory, or of what may be promised of it.",
    reading=HostReading,
    judge=judge,
    outcomes=(
        Outcome("unreadable", Verdict.UNKNOWN),
        Outcome("low", Verdict.DEGRADED),
        Outcome("low", Verdict.FAILED),
        Outcome("promised", Verdict.DEGRADED),
    ),
    policy=Policy(raise_after=2, because="memory that a job is just giving back is no shortage"),
    thresholds={
        "failed": f"less than {FAILED_PERCENT:.0f} % available (our choice)",
        "degraded": f"less than {DEGRADED_PERCENT:.0f} % available (our choice)",
        "promised": f"more than {PROMISED_PERCENT:.0f} % of the commit limit in mode {STRICT} (our choice)",
    },
)
