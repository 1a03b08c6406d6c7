"""What the parts of this node were last called, and which serial number or GUID each has.

A kernel record knows a PCI address, a port that vanished not even that. History has to follow the part all the same, so
what the readings tell is remembered over restarts, and what was approved is known before anything was read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from checks.disk_names import is_disk_name, with_serial
from checks.finding import Finding
from checks.judge import identify
from checks.readings import (
    AcceleratorReading,
    DisksReading,
    InventoryReading,
    NvmlReading,
    RdmaReading,
    Reading,
    SmartReading,
)

Told = Iterator[tuple[Iterable[str], str]]
"""What a part may be called, and its serial number."""


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one node's parts.

    Attributes:
        uuid_by_pci: of GPUs.
        serials: UUID, name or PCI address of a part → its serial number or GUID.
    """

    uuid_by_pci: dict[str, str] = field(default_factory=dict)
    serials: dict[str, str] = field(default_factory=dict)

    def identified(self, finding: Finding, *, keeps_name: bool) -> Finding:
        """Return the finding under its GPU's name, with the serial number of its part, as far as these are known.

        Args:
            keeps_name: it is raised under the name that it has, and stays there.
        """
        named = identify(finding, {} if keeps_name else self.uuid_by_pci, self.serials)
        return with_serial(named, self.serials)


def load_names(state: Mapping[str, Any], *, same_boot: bool) -> Names:
    """Return the names that were kept, none when they cannot be read: the readings will tell them again.

    Args:
        same_boot: they were kept in this boot; else a disk's name may be another's by now.
    """
    try:
        names = msgspec.convert(state.get("names", {}), type=Names)
    except msgspec.ValidationError:
        return Names()
    lasting = {name: serial for name, serial in names.serials.items() if same_boot or not is_disk_name(name)}
    return Names(names.uuid_by_pci, lasting)


def learn(names: Names, reading: Reading) -> Names:
    """Return the names with what a reading tells; what is read wins over what was approved."""
    match reading:
        case NvmlReading():
            uuids = {pci: uuid for uuid, pci in reading.known_gpus.items()}
            uuids |= {gpu.pci: gpu.uuid for gpu in reading.gpus if gpu.pci and gpu.uuid}
            names = Names({**names.uuid_by_pci, **uuids}, names.serials)
        case InventoryReading(approved=approved) if approved is not None:
            return Names(names.uuid_by_pci, {**approved.serials(), **names.serials})
    told = {name: serial for called, serial in _told(reading) for name in called if name and serial}
    return Names(names.uuid_by_pci, {**names.serials, **told})


def _told(reading: Reading) -> Told:
    match reading:
        case NvmlReading():
            yield from (((gpu.uuid,), gpu.serial) for gpu in reading.gpus)
        case RdmaReading():
            yield from (((each.name, each.interface, each.pci), each.node_guid) for each in reading.ports)
        case DisksReading():
            yield from (((each.name, each.address), each.serial) for each in reading.controllers)
        case SmartReading():
            yield from (((each.name, each.pci), each.serial) for each in reading.disks)
        case AcceleratorReading():
            yield from (((each.uuid, each.name, each.pci), each.serial) for each in reading.devices)
