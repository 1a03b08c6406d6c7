"""`storage.io_stall`: disks that were given requests and bring none of them to an end.

A disk that is merely slow completes something now and then. One that completes nothing for two minutes while requests
wait keeps everybody who touches it in state D, and no reading of a file system says why.
"""

from __future__ import annotations

from collections.abc import Sequence

from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.readings import DisksReading
from checks.readings.disks import Disk

ID = "storage.io_stall"
STALLED_S = 120.0
"""Source: kernel.hung_task_timeout_secs is 120 s: whoever waits for the disk is then reported as a hung task."""

WINDOW_S = 240.0


def judge(readings: Sequence[DisksReading]) -> tuple[Finding, ...]:
    """Return every disk that stands still with requests waiting."""
    return tuple(finding for disk in readings[-1].disks for finding in _judge(disk, readings))


def _judge(disk: Disk, readings: Sequence[DisksReading]) -> tuple[Finding, ...]:
    if disk.in_flight is None:
        because = f"what {disk.name} has under way cannot be read"
        return (Finding(ID, disk.name, "unreadable", Verdict.UNKNOWN, Action.NONE, because),)
    if disk.in_flight == 0:
        return ()
    stalled_s = _stalled_s(disk, readings)
    if stalled_s < STALLED_S:
        return ()
    because = (
        f"{disk.name} has completed no request for at least {stalled_s:.0f} s while {disk.in_flight} wait: "
        "drain and reboot the host, replace the disk if it comes again"
    )
    return (Finding(ID, disk.name, "", Verdict.FAILED, Action.REBOOT, because),)


def _stalled_s(disk: Disk, readings: Sequence[DisksReading]) -> float:
    """Return for how long every reading up to the newest has shown requests waiting and none completed."""
    began_s = readings[-1].at_s
    for reading in reversed(readings):
        before = next((each for each in reading.disks if each.name == disk.name), None)
        if before is None or not before.in_flight or _completed(before) != _completed(disk):
            break
        began_s = reading.at_s
    return readings[-1].at_s - began_s


def _completed(disk: Disk) -> tuple[int | None, int | None]:
    return disk.reads_completed, disk.writes_completed


CHECK = LevelCheck(
    id=ID,
    summary="Disks that bring none of their requests to an end.",
    reading=DisksReading,
    judge=judge,
    outcomes=(Outcome("", Verdict.FAILED, Action.REBOOT), Outcome("unreadable", Verdict.UNKNOWN)),
    window_s=WINDOW_S,
    thresholds={
        "stalled": f"{STALLED_S:.0f} s with requests waiting and none completed (the kernel's limit of a hung task)"
    },
)
