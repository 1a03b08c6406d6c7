"""Where sysfs keeps RDMA adapters, their ports and the network interfaces behind them.

Folders are listed here, which asks no driver; the files in them are left to a child (agent/sources/files.py).
"""

from __future__ import annotations

import re
from pathlib import Path

from agent.sources.files import Contents, entries

_STATE = re.compile(r"(\d{1,3}): ", re.ASCII)
_RATE = re.compile(r"(\d{1,6}(?:\.\d{1,3})?) Gb/sec(?: \((\d{1,3})X\b)?", re.ASCII)
_HEXADECIMAL = re.compile(r"0x[0-9a-f]{1,16}", re.ASCII | re.IGNORECASE)
_PCI = re.compile(r"([0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2})\.[0-7]", re.ASCII)


def adapters(sysfs: Path) -> list[Path]:
    """Return the folder of every adapter, in the order of names."""
    return entries(sysfs / "class/infiniband")


def interfaces(adapter: Path) -> list[Path]:
    """Return the folders of the network interfaces of an adapter."""
    return entries(adapter / "device/net")


def interface_of(port: Path, found: list[Path], contents: Contents) -> Path | None:
    """Return the network interface behind a port, `None` where there is none or it cannot be told.

    A device with several ports has an interface for each, which says by `dev_port` (from 0) whose it is.

    Args:
        found: `interfaces` of the port's adapter.
        contents: with `dev_port` of each where there are several.
    """
    if len(found) > 1:
        found = [each for each in found if str((contents.number(each / "dev_port") or 0) + 1) == port.name]
    return found[0] if len(found) == 1 else None


def pci_of(adapter: Path) -> str:
    """Return the PCI address without function, empty for a device that is not on the PCI bus."""
    try:
        match = _PCI.fullmatch((adapter / "device").resolve().name.lower())
    except (OSError, RuntimeError):
        return ""
    return match[1] if match else ""


def is_virtual(adapter: Path) -> bool:
    """Return whether the adapter is a virtual function: the cable and the slot are its physical function's."""
    return (adapter / "device/physfn").exists()


def parse_state(text: str) -> int | None:
    """Return the number of `4: ACTIVE`."""
    match = _STATE.match(text)
    return int(match[1]) if match else None


def parse_rate(text: str) -> float | None:
    """Return the Gb/s of `400 Gb/sec (4X NDR)`."""
    match = _RATE.match(text)
    return float(match[1]) if match else None


def parse_lanes(text: str) -> int | None:
    """Return the lanes of `400 Gb/sec (4X NDR)`."""
    match = _RATE.match(text)
    return int(match[2]) if match and match[2] else None


def parse_hexadecimal(text: str) -> int | None:
    """Return the number of `0x12`."""
    return int(text, 16) if _HEXADECIMAL.fullmatch(text) else None
