"""`storage.space`: file systems that run out of bytes or of inodes."""

from __future__ import annotations

from collections.abc import Sequence

from checks.check import LevelCheck, Outcome
from checks.filesystems import GIB, TINY_BYTES, is_judged, must_answer, one_per_device
from checks.finding import Action, Finding, Verdict
from checks.readings import FilesystemReading, MountsReading

ID = "storage.space"
FAILED_PERCENT = 95.0
DEGRADED_PERCENT = 90.0
"""Source: our choice; Meta gcm warns at 80 % and is critical at 85 % on small system disks."""

FAILED_FREE_BYTES = GIB
LARGE_BYTES = 10 * GIB
"""Only from this size on is 1 GiB left a fault by itself: on a smaller disk it is more than a tenth."""


def judge(readings: Sequence[MountsReading]) -> tuple[Finding, ...]:
    """Return every file system that is nearly full, and those that could not be asked."""
    shown = one_per_device(readings[-1].filesystems)
    return tuple(finding for filesystem in shown for finding in _judge_filesystem(filesystem))


def _judge_filesystem(filesystem: FilesystemReading) -> tuple[Finding, ...]:
    if filesystem.unreadable and must_answer(filesystem):
        because = f"{filesystem.mount} could not be asked: {filesystem.unreadable}"
        return (_finding(filesystem, "unreadable", Verdict.UNKNOWN, because),)
    if not is_judged(filesystem) or filesystem.read_only or (filesystem.total_bytes or 0) < TINY_BYTES:
        return ()
    return (*_judge_space(filesystem), *_judge_inodes(filesystem))


def _judge_space(filesystem: FilesystemReading) -> tuple[Finding, ...]:
    total, free = filesystem.total_bytes, filesystem.free_bytes
    if not total or free is None:
        return ()
    used_percent = 100.0 * (total - free) / total
    verdict = _verdict(used_percent)
    if total >= LARGE_BYTES and free < FAILED_FREE_BYTES:
        verdict = Verdict.FAILED
    because = f"{filesystem.mount} is {used_percent:.1f} % full, {free / GIB:.1f} of {total / GIB:.0f} GiB are free"
    return () if verdict is Verdict.OK else (_finding(filesystem, "space", verdict, because),)


def _judge_inodes(filesystem: FilesystemReading) -> tuple[Finding, ...]:
    total, free = filesystem.total_inodes, filesystem.free_inodes
    if not total or free is None:
        return ()
    used_percent = 100.0 * (total - free) / total
    verdict = _verdict(used_percent)
    because = f"{filesystem.mount} has used {used_percent:.1f} % of its inodes, {free} of {total} are free"
    return () if verdict is Verdict.OK else (_finding(filesystem, "inodes", verdict, because),)


def _verdict(used_percent: float) -> Verdict:
    if used_percent >= FAILED_PERCENT:
        return Verdict.FAILED
    return Verdict.DEGRADED if used_percent >= DEGRADED_PERCENT else Verdict.OK


def _finding(filesystem: FilesystemReading, code: str, verdict: Verdict, because: str) -> Finding:
    evidence = {"device": filesystem.device, "kind": filesystem.kind}
    return Finding(ID, filesystem.mount, code, verdict, Action.NONE, because, evidence=evidence)


CHECK = LevelCheck(
    id=ID,
    summary="File systems that run out of bytes or of inodes.",
    reading=MountsReading,
    judge=judge,
    outcomes=(
        Outcome("unreadable", Verdict.UNKNOWN),
        Outcome("space", Verdict.DEGRADED),
        Outcome("space", Verdict.FAILED),
        Outcome("inodes", Verdict.DEGRADED),
        Outcome("inodes", Verdict.FAILED),
    ),
    thresholds={
        "failed": f"{FAILED_PERCENT:.0f} % used, or less than 1 GiB free on a disk of at least 10 GiB (our choice)",
        "degraded": f"{DEGRADED_PERCENT:.0f} % used (our choice)",
        "left alone": "file systems under 1 GiB, read-only, or of a kind that is not written",
    },
)
