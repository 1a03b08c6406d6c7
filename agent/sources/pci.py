"""Which devices of a vendor the PCI bus has, whatever the vendor's own tools say.

The PCI core answers these files from what it read at start, so no driver and no device can make them hang.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from agent.sources.files import entries


def addresses(sysfs: Path, vendor: str, classes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the PCI addresses (`dddd:bb:dd`) of a vendor's devices, ascending; a device of many functions once."""
    return tuple(dict.fromkeys(device.name.partition(".")[0].lower() for device in devices(sysfs, vendor, classes)))


def devices(sysfs: Path, vendor: str, classes: tuple[str, ...]) -> Iterator[Path]:
    """Yield the folder of every PCI function of a vendor whose class begins so.

    Args:
        vendor: as in the file, e.g. `0x10de`.
        classes: beginnings of what the file `class` holds, e.g. `0x0302`.
    """
    for device in entries(sysfs / "bus/pci/devices"):
        if _line(device / "vendor") == vendor and _line(device / "class").startswith(classes):
            yield device


def _line(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""
