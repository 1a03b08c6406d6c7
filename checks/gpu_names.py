"""Which GPU a PCI address is: the kernel log names faults by address, history and people go by UUID and serial.

The driver prints UUID and serial once per GPU, ahead of its first fault, so the names are learnt from the same log.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from checks.readings import KernelRecord

PCI = r"[0-9a-fA-F]{4,8}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}"
"""A PCI address without its function, as part of a pattern."""

MAX_GPUS = 256
"""More addresses than this are not learnt: no host has them, so the log is not what it seems."""

_UUID = re.compile(rf"NVRM: GPU at PCI:({PCI})(?:\.[0-7])?: (GPU-[0-9a-fA-F]{{8}}(?:-[0-9a-fA-F]{{4,12}}){{4}})")
_SERIAL_OF_LAST = re.compile(r"NVRM: GPU Board Serial Number: (\w{1,64})")
_SERIAL = re.compile(rf"NVRM: GPU ({PCI})(?:\.[0-7])?: GPU serial number is (\w{{1,64}})")


def normalise_pci(address: str) -> str:
    """Return the address as `dddd:bb:dd`: lower case, four digits of domain, no function.

    `0000:91:00.0`, `00000000:91:00.0` and `0000:91:00` are the same device.
    """
    domain, _, rest = address.lower().partition(":")
    return f"{domain.removeprefix('0000') if len(domain) == 8 else domain}:{rest.partition('.')[0]}"


@dataclass(frozen=True, slots=True)
class GpuNames:
    """What the log has told so far. `last_pci` is the GPU that a serial number without an address belongs to."""

    uuid_by_pci: Mapping[str, str] = field(default_factory=dict)
    serial_by_pci: Mapping[str, str] = field(default_factory=dict)
    last_pci: str = ""


def learn(names: GpuNames, record: KernelRecord) -> GpuNames:
    """Return the names including what this record tells."""
    if len(names.uuid_by_pci) + len(names.serial_by_pci) >= MAX_GPUS or not record.text.startswith("NVRM: GPU "):
        return names
    if uuid := _UUID.match(record.text):
        pci = normalise_pci(uuid[1])
        return replace(names, uuid_by_pci={**names.uuid_by_pci, pci: uuid[2]}, last_pci=pci)
    if serial := _SERIAL.match(record.text):
        return replace(names, serial_by_pci={**names.serial_by_pci, normalise_pci(serial[1]): serial[2]})
    serial = _SERIAL_OF_LAST.match(record.text)
    if serial and names.last_pci:
        return replace(names, serial_by_pci={**names.serial_by_pci, names.last_pci: serial[1]})
    return names
