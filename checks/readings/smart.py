"""What disks say of their own health (SMART)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class DiskSmart:
    """One disk.

    Attributes:
        name: the kernel's, e.g. `nvme0` for an NVMe controller, `sda` for any other disk.
        critical_warning: byte 0 of the NVMe health log, a flag a bit.
        spare_percent, spare_threshold_percent: spare blocks left, and how many the vendor calls too few.
        used_percent: the vendor's estimate of how much of the disk's life is used; it goes on beyond 100.
        media_errors: reads and writes of an NVMe disk that no correction could save, as a total.
        warning_minutes, critical_minutes: how long an NVMe disk has been hotter than its two limits, as totals.
        limit_celsius: above it the disk is too hot by its own word, where it says so.
        passed: the overall verdict of a SATA or SAS disk on itself.
        reallocated, pending, uncorrectable: bad places that were replaced, that will be, and that could not be read
            back, of a SATA or SAS disk, as totals.
        silent: why the disk tells nothing of its health though nothing is wrong, e.g. that it sleeps.
        unreadable: why it could not be asked.
    """

    name: str
    serial: str = ""
    model: str = ""
    pci: str = ""
    critical_warning: int | None = None
    spare_percent: int | None = None
    spare_threshold_percent: int | None = None
    used_percent: int | None = None
    media_errors: int | None = None
    temperature_celsius: int | None = None
    limit_celsius: int | None = None
    warning_minutes: int | None = None
    critical_minutes: int | None = None
    passed: bool | None = None
    reallocated: int | None = None
    pending: int | None = None
    uncorrectable: int | None = None
    silent: str = ""
    unreadable: str = ""


@dataclass(frozen=True, slots=True)
class SmartReading:
    """All disks of the host.

    Attributes:
        missing_tools: programs that are not installed and would be asked: the disks that only they can ask have no
            values, and nobody expects any.
        denied: names of the disks that the agent lacks the rights to ask.
    """

    SOURCE: ClassVar[str] = "smart"
    PARTS: ClassVar[str] = "disks"

    at_s: float
    disks: tuple[DiskSmart, ...] = ()
    missing_tools: tuple[str, ...] = ()
    denied: tuple[str, ...] = ()
