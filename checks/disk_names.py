"""Whose disk a finding is about, so that its serial number goes with it and history follows the part.

The kernel names controllers (`nvme0`), disks (`nvme0n1`, `sda`) and partitions (`nvme0n1p2`, `sda1`); a finding may be
about any of these, or about what is mounted from one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from checks.finding import Finding

_PART = re.compile(r"(?:/dev/)?(?:(nvme\d{1,5})(?:n\d{1,5}(?:p\d{1,5})?)?|((?:sd|vd|xvd)[a-z]{1,4})\d{0,5})", re.ASCII)
"""Source: kernel, block/genhd.c (`disk_name`), drivers/nvme/host/core.c; the namespaces of a local controller bear its
number since Linux 5.4."""


def with_serial(finding: Finding, serials: Mapping[str, str]) -> Finding:
    """Return the finding with the serial number of its disk, where that is known.

    Args:
        serials: name of a controller, or of a disk that has none, → serial number.
    """
    if finding.serial or not serials:
        return finding
    names = map(_whole, (finding.device, finding.evidence.get("device", "")))
    serial = next((serials[name] for name in names if name in serials), "")
    return replace(finding, serial=serial) if serial else finding


def is_disk_name(name: str) -> bool:
    """Return whether the kernel gave this name in the order of discovery: it may mean another disk after a boot."""
    return _PART.fullmatch(name) is not None


def _whole(name: str) -> str:
    match = _PART.fullmatch(name)
    return (match[1] or match[2]) if match else ""
