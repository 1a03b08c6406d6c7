"""Disks and arrays as the kernel keeps account of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class NvmeController:
    """One controller under /sys/class/nvme.

    Attributes:
        state: the kernel's word: `live`, `new`, `resetting`, `connecting`, `deleting`, `deleting (no IO)`, `dead`;
            empty when it cannot be read.
        transport: `pcie`, or `tcp`, `rdma`, `fc`, `loop` for a disk behind a network.
        address: of the PCI device (`dddd:bb:dd`), or what the kernel says of the network target.
    """

    name: str
    state: str = ""
    transport: str = ""
    address: str = ""
    model: str = ""
    serial: str = ""
    firmware: str = ""


@dataclass(frozen=True, slots=True)
class Disk:
    """One whole disk under /sys/block. Requests are counted from the boot on.

    Attributes:
        in_flight: requests that were given to the disk and have not come back.
    """

    name: str
    in_flight: int | None = None
    reads_completed: int | None = None
    writes_completed: int | None = None
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Array:
    """One md array.

    Attributes:
        state: the kernel's word, e.g. `clean`, `active`, `inactive`, `broken`; empty when it cannot be read.
        missing: disks that it should have and has not, `None` for levels without redundancy.
        sync_action: `idle`, or what it does with its redundancy: `recover`, `resync`, `check`, `repair`, `reshape`.
    """

    name: str
    level: str = ""
    state: str = ""
    disks: int | None = None
    missing: int | None = None
    sync_action: str = ""


@dataclass(frozen=True, slots=True)
class DisksReading:
    """All disks and arrays of the host at one moment.

    Attributes:
        known_controllers: serial number → name, of every NVMe controller on the PCI bus that was approved, else of all
            that were ever live here, so that one that vanished is missed.
    """

    SOURCE: ClassVar[str] = "disks"
    PARTS: ClassVar[str] = "disks"

    at_s: float
    controllers: tuple[NvmeController, ...] = ()
    disks: tuple[Disk, ...] = ()
    arrays: tuple[Array, ...] = ()
    known_controllers: dict[str, str] = field(default_factory=dict)
