"""`storage.raid`: md arrays of local scratch and system disks that lost a disk, or all their use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.readings import DisksReading
from checks.readings.disks import Array

ID = "storage.raid"
STATES = frozenset(
    {
        "clear",
        "inactive",
        "suspended",
        "readonly",
        "read-auto",
        "clean",
        "active",
        "write-pending",
        "active-idle",
        "broken",
    }
)
"""Source: kernel, Documentation/admin-guide/md.rst, `array_state`."""

USELESS = frozenset({"inactive", "broken"})
"""`broken`: an array without redundancy that misses a disk. `inactive`: its disks are known and it was not started."""

REBUILDING = frozenset({"recover", "resync"})


def judge(readings: Sequence[DisksReading]) -> tuple[Finding, ...]:
    """Return every array that lost something."""
    return tuple(finding for array in readings[-1].arrays for finding in _judge(array))


def _judge(array: Array) -> Iterator[Finding]:
    if array.state not in STATES:
        yield _finding(array, "unreadable", Verdict.UNKNOWN, Action.NONE, "its state cannot be read")
    elif array.state in USELESS:
        because = f"it is {array.state}: what is on it cannot be reached; look at its disks"
        yield _finding(array, "failed", Verdict.FAILED, Action.CONTACT_SUPPORT, because)
    elif array.missing:
        because = f"{array.missing} of its {array.disks or '?'} disks are gone, and it serves on without them"
        told = f"{because}; it is being rebuilt" if array.sync_action in REBUILDING else f"{because}: replace them"
        yield _finding(array, "degraded", Verdict.DEGRADED, Action.CONTACT_SUPPORT, told)


def _finding(array: Array, code: str, verdict: Verdict, action: Action, because: str) -> Finding:
    told = {"level": array.level, "state": array.state, "sync_action": array.sync_action}
    evidence = {name: text for name, text in told.items() if text}
    return Finding(ID, array.name, code, verdict, action, f"{array.name}: {because}", evidence=evidence)


CHECK = LevelCheck(
    id=ID,
    summary="md arrays that lost a disk, or all their use.",
    reading=DisksReading,
    judge=judge,
    outcomes=(
        Outcome("failed", Verdict.FAILED, Action.CONTACT_SUPPORT),
        Outcome("degraded", Verdict.DEGRADED, Action.CONTACT_SUPPORT),
        Outcome("unreadable", Verdict.UNKNOWN),
    ),
    thresholds={"degraded": "any missing disk (kernel: md/degraded)", "failed": "array_state inactive or broken"},
)
