"""What sysfs says of the ends of a PCIe link: speed and lanes, in use and at most.

The PCI core reads these from the device's configuration, without its driver. A virtual function says `Unknown` and 0.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from agent.sources.files import Contents
from checks.readings import PcieLink

SPEED, MAX_SPEED = "current_link_speed", "max_link_speed"
WIDTH, MAX_WIDTH = "current_link_width", "max_link_width"
"""Source: kernel, Documentation/ABI/testing/sysfs-bus-pci."""

MAX_LANES: Final = 32
"""Source: PCI Express Base Specification, link widths x1 to x32; a link that is down says 0 or 63."""

_SPEED = re.compile(r"(\d{1,3}(?:\.\d)?) GT/s\b", re.ASCII)


def link_files(folder: Path) -> tuple[Path, ...]:
    """Return the files of one end, of the device or port in this folder."""
    return tuple(folder / name for name in (SPEED, WIDTH, MAX_SPEED, MAX_WIDTH))


def read_link(folder: Path, contents: Contents) -> PcieLink:
    """Return one end of a link."""
    return PcieLink(
        gt_per_s=parse_speed(contents.line(folder / SPEED)),
        lanes=read_lanes(folder / WIDTH, contents),
        max_gt_per_s=parse_speed(contents.line(folder / MAX_SPEED)),
        max_lanes=read_lanes(folder / MAX_WIDTH, contents),
    )


def read_lanes(path: Path, contents: Contents) -> int | None:
    """Return how many lanes a file says, `None` where there is no such link."""
    lanes = contents.number(path)
    return lanes if lanes is not None and 1 <= lanes <= MAX_LANES else None


def parse_speed(text: str) -> float | None:
    """Return the GT/s of `32.0 GT/s PCIe`, in older kernels `8 GT/s`."""
    match = _SPEED.match(text)
    return float(match[1]) if match and float(match[1]) else None
