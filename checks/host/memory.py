"""`host.memory`: a host that runs out of main memory."""

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

GIB = 1 << 30


def judge(readings: Sequence[HostReading]) -> tuple[Finding, ...]:
    """Return whether too little memory is available."""
    total, available = readings[-1].memory_total_bytes, readings[-1].memory_available_bytes
    if not total or available is None:
        return (_finding("unreadable", Verdict.UNKNOWN, "the host's memory could not be read"),)
    percent = 100.0 * available / total
    if percent >= DEGRADED_PERCENT:
        return ()
    verdict = Verdict.FAILED if percent < FAILED_PERCENT else Verdict.DEGRADED
    because = f"{percent:.1f} % of memory is available, {available / GIB:.1f} of {total / GIB:.0f} GiB"
    return (_finding("low", verdict, because),)


def _finding(code: str, verdict: Verdict, because: str) -> Finding:
    return Finding(ID, "host", code, verdict, Action.NONE, because)


CHECK = LevelCheck(
    id=ID,
    summary="A host that runs out of main memory.",
    reading=HostReading,
    judge=judge,
    outcomes=(
        Outcome("unreadable", Verdict.UNKNOWN),
        Outcome("low", Verdict.DEGRADED),
        Outcome("low", Verdict.FAILED),
    ),
    policy=Policy(raise_after=2, because="memory that a job is just giving back is no shortage"),
    thresholds={
        "failed": f"less than {FAILED_PERCENT:.0f} % available (our choice)",
        "degraded": f"less than {DEGRADED_PERCENT:.0f} % available (our choice)",
    },
)
