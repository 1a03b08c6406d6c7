"""What a host is made of, part by part: the list that a person approves once, and that the host is held to ever after.

It is captured from readings (checks/stocktaking.py) and compared by checks/differences.py. A part has a place, by which
people find it, and an identity that it keeps wherever it is put.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

import msgspec

SCHEMA: Final = 1

Name = Annotated[str, msgspec.Meta(min_length=1)]
Count = Annotated[int, msgspec.Meta(ge=0)]
Rate = Annotated[float, msgspec.Meta(gt=0)]
Place = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}$")]
"""PCI address, `dddd:bb:dd`, lower case, no function."""

Pci = Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2})?$")]
"""The same, empty where there is none."""


class Section(StrEnum):
    """What can be read or not, each for itself."""

    GPUS = "gpus"
    ACCELERATORS = "accelerators"
    PORTS = "ports"
    DISKS = "disks"
    MOUNTS = "mounts"
    MEMORY = "memory"
    MEMORY_MODULES = "memory_modules"
    PROCESSORS = "processors"
    BMC = "bmc"
    DRIVER = "driver"
    KERNEL = "kernel"


@dataclass(frozen=True, slots=True)
class Gpu:
    """An NVIDIA GPU. `nvlinks`: how many links it has, in whatever state."""

    uuid: Name
    pci: Place
    serial: str = ""
    model: str = ""
    vbios: str = ""
    nvlinks: Count | None = None


@dataclass(frozen=True, slots=True)
class Accelerator:
    """A device that no NVML speaks for: an NPU, or a GPU of AMD. `uuid`: its name where it tells none."""

    vendor: Name
    uuid: Name
    pci: Pci = ""
    name: str = ""
    serial: str = ""
    model: str = ""


@dataclass(frozen=True, slots=True)
class Port:
    """An RDMA port. `rate_gbit_per_s`: what it has to come up with; left out where no link is expected."""

    name: Name
    guid: str = ""
    pci: Pci = ""
    link_layer: str = ""
    rate_gbit_per_s: Rate | None = None
    firmware: str = ""


@dataclass(frozen=True, slots=True)
class Disk:
    """A local disk. Its name may be another after the next boot; its serial number is who it is."""

    name: Name
    serial: str = ""
    pci: Pci = ""
    model: str = ""
    size_bytes: Count | None = None
    firmware: str = ""


@dataclass(frozen=True, slots=True)
class Mount:
    """A file system that has to be mounted. `source`: a device, or what a server calls it."""

    mount: Name
    kind: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Host:
    """The host itself; what is `None` was not read.

    Attributes:
        memory_modules: labels of the slots that hold one.
        bmc: whether there is one that can be asked from the host.
    """

    memory_bytes: Count | None = None
    memory_modules: tuple[Name, ...] = ()
    processors: Count | None = None
    bmc: bool | None = None


@dataclass(frozen=True, slots=True)
class Versions:
    """Software that changes by upgrade: told apart, so that an upgrade is never taken for a part that was swapped."""

    driver: str = ""
    kernel: str = ""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a host is made of.

    Attributes:
        node: the host it was captured on, or empty where it is meant for any; approved for no other one.
        unread: section, or `section.part` → why it could not be read. A section that was not read says nothing: its
            parts are neither there nor missing.
    """

    schema: int = SCHEMA
    node: str = ""
    captured_at: datetime | None = None
    host: Host = Host()
    versions: Versions = Versions()
    gpus: tuple[Gpu, ...] = ()
    accelerators: tuple[Accelerator, ...] = ()
    ports: tuple[Port, ...] = ()
    disks: tuple[Disk, ...] = ()
    mounts: tuple[Mount, ...] = ()
    unread: dict[str, str] = field(default_factory=dict)

    def holds(self, section: Section) -> bool:
        """Return whether the section was read: only then does it say what is to be there."""
        return section not in self.unread

    def serials(self) -> dict[str, str]:
        """Return what a part is called for good (UUID, port, PCI address) → its serial number or GUID."""
        told = (
            *((names, gpu.serial) for gpu in self.gpus for names in (gpu.uuid, gpu.pci)),
            *((name, each.serial) for each in self.accelerators for name in (each.uuid, each.name, each.pci)),
            *((name, port.guid) for port in self.ports for name in (port.name, port.pci)),
            *((disk.pci, disk.serial) for disk in self.disks),
        )
        return {name: serial for name, serial in told if name and serial}


def unless_replaced(approved: Mapping[str, str], seen: Mapping[str, str]) -> dict[str, str]:
    """Return the approved parts (identity → place) that are to be there.

    One in whose place sits a part that nobody approved was replaced, not lost.

    Args:
        seen: the parts that are there.
    """
    taken = {place for identity, place in seen.items() if identity not in approved and place}
    return {identity: place for identity, place in approved.items() if identity in seen or place not in taken}
