"""`host.kernel_log`: whether the kernel log is read whole. What was not read cannot be judged, so it is unknown."""

from __future__ import annotations

from collections.abc import Sequence

from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.readings import KernelLogState

ID = "host.kernel_log"


def judge(readings: Sequence[KernelLogState]) -> tuple[Finding, ...]:
    """Return why faults in the kernel log may have been missed."""
    state = readings[-1]
    if not state.readable:
        because = f"the kernel log cannot be read: {state.because or 'no reason given'}"
        return (_finding("unreadable", because),)
    if state.lost_recently:
        because = (
            f"{state.lost_recently} kernel-log records were overwritten before they were read "
            f"({state.lost_records} since the agent started)"
        )
        return (_finding("lost", because),)
    return ()


def _finding(code: str, because: str) -> Finding:
    return Finding(ID, "host", code, Verdict.UNKNOWN, Action.NONE, because)


CHECK = LevelCheck(
    id=ID,
    summary="Whether every record of the kernel log is read.",
    reading=KernelLogState,
    judge=judge,
    outcomes=(
        Outcome("unreadable", Verdict.UNKNOWN),
        Outcome("lost", Verdict.UNKNOWN),
    ),
    thresholds={"lost": "any record in the last interval"},
)
