"""The platform around the GPUs: memory modules, the PCI bus, processors, as sysfs tells them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class MemoryModule:
    """One module (or rank, or the unplaced rest) of a memory controller, as EDAC counts its errors since the boot.

    Attributes:
        name: `mc0/dimm3`; `mc0` alone for errors that the controller could give no module.
        label: of the slot, as firmware or administrator named it; empty when it has none.
        corrected, uncorrected: totals since the boot or since the driver was loaded.
    """

    name: str
    label: str = ""
    corrected: int | None = None
    uncorrected: int | None = None


@dataclass(frozen=True, slots=True)
class PciDevice:
    """One function on the PCI bus that matters, or a port on the way to one.

    Attributes:
        address: `dddd:bb:dd.f`.
        kind: `gpu`, `network`, `nvme` or `port`.
        upstream: address of the port above it, empty for a root port.
        correctable, nonfatal, fatal: kind of error → how many since the device was found, without those of which there
            were none; `None` when the device does not count them.
        fatal_at_first: how many fatal ones there were when this agent first saw the device in this boot.
        width, max_width, upstream_max_width: lanes in use, that the device has, and that the port above it has; `None`
            while unknown, of ports and GPUs, whose links change with their load, and of RDMA adapters, which have a
            reading of their own.
    """

    address: str
    kind: str
    upstream: str = ""
    correctable: dict[str, int] | None = None
    nonfatal: dict[str, int] | None = None
    fatal: dict[str, int] | None = None
    fatal_at_first: int | None = None
    width: int | None = None
    max_width: int | None = None
    upstream_max_width: int | None = None


@dataclass(frozen=True, slots=True)
class PlatformReading:
    """The platform at one moment.

    Attributes:
        modules: empty where no EDAC driver is loaded.
        throttles: times that any core or package was too hot since the boot, all together; `None` where none counts.
        governors: cpufreq governor → on how many processors; those whose energy preference is `performance` count as
            `performance`, whatever their governor is called. Empty where the kernel sets no frequencies.
        clocksource: what the kernel takes the time from.
    """

    SOURCE: ClassVar[str] = "platform"
    PARTS: ClassVar[str] = ""

    at_s: float
    modules: tuple[MemoryModule, ...] = ()
    devices: tuple[PciDevice, ...] = ()
    throttles: int | None = None
    governors: dict[str, int] = field(default_factory=dict)
    clocksource: str = ""
