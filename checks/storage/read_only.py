"""`storage.read_only`: disks that the kernel turned read-only under a running host.

That a disk is mounted read-only proves nothing by itself (shared datasets, verified root images), so a data disk has to
have been writable earlier in the window. `storage.kernel` keeps the kernel's own line about it for longer than that.
"""

from __future__ import annotations

from collections.abc import Sequence

from checks.check import LevelCheck, Outcome
from checks.filesystems import is_disk
from checks.finding import Action, Finding, Verdict
from checks.readings import FilesystemReading, MountsReading

ID = "storage.read_only"
WINDOW_S = 3600.0
"""Source: our choice: how long it is remembered that a disk could be written."""

VERIFIED_IMAGE = "/dev/dm-"
"""How the kernel names a root that it mounts from a verified image itself; LVM shows as /dev/mapper/..."""

MUTABLE_ROOT_KINDS = frozenset({"btrfs", "ext3", "ext4", "xfs"})


def judge(readings: Sequence[MountsReading]) -> tuple[Finding, ...]:
    """Return every disk that has gone read-only."""
    written = {device for reading in readings for device in _writable(reading)}
    now_writable = _writable(readings[-1])
    gone = [each for each in _disks(readings[-1]) if each.read_only and each.device not in now_writable]
    return tuple(_finding(each) for each in gone if each.device in written or _is_mutable_root(each))


def _disks(reading: MountsReading) -> list[FilesystemReading]:
    return [each for each in reading.filesystems if is_disk(each)]


def _writable(reading: MountsReading) -> set[str]:
    """Return the devices that are writable at one mount at least: a read-only bind mount is no fault of the disk."""
    return {each.device for each in _disks(reading) if not each.read_only}


def _is_mutable_root(filesystem: FilesystemReading) -> bool:
    is_image = filesystem.device.startswith(VERIFIED_IMAGE)
    return filesystem.mount == "/" and filesystem.kind in MUTABLE_ROOT_KINDS and not is_image


def _finding(filesystem: FilesystemReading) -> Finding:
    because = (
        f"{filesystem.mount} ({filesystem.device}, {filesystem.kind}) has gone read-only: the kernel does that after "
        "write errors; drain and reboot the host, and replace the disk if it comes again"
    )
    evidence = {"device": filesystem.device, "kind": filesystem.kind}
    return Finding(ID, filesystem.mount, "", Verdict.FAILED, Action.REBOOT, because, evidence=evidence)


CHECK = LevelCheck(
    id=ID,
    summary="Disks that the kernel turned read-only.",
    reading=MountsReading,
    judge=judge,
    outcomes=(Outcome("", Verdict.FAILED, Action.REBOOT),),
    window_s=WINDOW_S,
    thresholds={"remembered": f"{WINDOW_S / 60:.0f} min since it could be written (our choice)"},
)
