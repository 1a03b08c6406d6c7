"""Which functions of the PCI bus matter to a GPU host, and the ports above them.

An error on a link is often counted by the other end of it, the port of a switch or of the root complex, so these belong
to the picture. Nothing here asks a device: the PCI core answers from what it read at start.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.sources.files import entries

KINDS: Final = {"0x03": "gpu", "0x12": "gpu", "0x02": "network", "0x0108": "nvme"}
"""Beginning of the class → what it is. Source: pci.ids, device classes."""

ACCELERATOR_VENDORS: Final = ("0x10de", "0x1002", "0x19e5")
"""NVIDIA, AMD, Huawei: other display controllers are a BMC's. Source: pci.ids."""

_ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", re.ASCII)


@dataclass(frozen=True, slots=True)
class PciFunction:
    """One function: its address, what it is, and the address of the port above it (empty for a root port)."""

    address: str
    kind: str
    upstream: str = ""


def read_tree(sysfs: Path) -> tuple[PciFunction, ...]:
    """Return the devices that matter and every port above one, in the order of addresses."""
    found: dict[str, PciFunction] = {}
    for device in entries(sysfs / "bus/pci/devices"):
        kind = _kind(device)
        if kind and _ADDRESS.fullmatch(device.name):
            above = list(_ports_above(device))
            chain = [*above, device.name]
            for upstream, port in zip(["", *above], above, strict=False):
                found.setdefault(port, PciFunction(port, "port", upstream))
            found[device.name] = PciFunction(device.name, kind, chain[-2] if above else "")
    return tuple(found[address] for address in sorted(found))


def _kind(device: Path) -> str:
    """Return what a function is, empty for what does not matter here; a virtual function shares its parent's link."""
    number = _line(device / "class")
    kind = next((kind for beginning, kind in KINDS.items() if number.startswith(beginning)), "")
    if kind == "gpu" and _line(device / "vendor") not in ACCELERATOR_VENDORS:
        return ""
    return "" if (device / "physfn").exists() else kind


def _ports_above(device: Path) -> Iterator[str]:
    """Yield the ports from the root down to the device, without itself."""
    try:
        parts = device.resolve().parts[:-1]
    except (OSError, RuntimeError):
        return
    yield from (part for part in parts if _ADDRESS.fullmatch(part))


def _line(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""
