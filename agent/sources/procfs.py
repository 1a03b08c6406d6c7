"""Plain text of procfs, and of the few files in sysfs that the kernel itself serves and no driver: read directly.

Any file may be missing or full of anything: what it was to tell is `None` then.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from agent.sources.files import entries
from checks.readings.host import HugePagePool, Pressure

HEAD_BYTES: Final = 8192
MEMINFO_BYTES: Final = 16_384
RESOURCES: Final = ("cpu", "memory", "io")
POOLS: Final = "kernel/mm/hugepages"
"""Source: kernel, Documentation/ABI/testing/sysfs-kernel-mm-hugepages."""

_MEMORY = re.compile(r"^([A-Za-z_()0-9]{1,40}):\s{1,40}(\d{1,18}) kB$", re.MULTILINE | re.ASCII)
_PRESSURE = re.compile(
    r"^(some|full) avg10=\d{1,3}\.\d{1,2} avg60=(\d{1,3}\.\d{1,2}) avg300=(\d{1,3}\.\d{1,2}) ", re.MULTILINE | re.ASCII
)
_FILES = re.compile(r"(\d{1,20})\s{1,8}(\d{1,20})\s{1,8}(\d{1,20})\s*", re.ASCII)
_LOAD = re.compile(r"(\d{1,7}\.\d{1,4}) \S{1,12} \S{1,12} \d{1,9}/(\d{1,9}) ", re.ASCII)
_UPTIME = re.compile(r"(\d{1,12}(?:\.\d{1,4})?) ", re.ASCII)
_NUMBER = re.compile(r"\s*(\d{1,20})\s*", re.ASCII)
_POOL = re.compile(r"hugepages-(\d{1,9})kB", re.ASCII)
_ASKED = re.compile(r"(?:^|\s)(default_hugepagesz|hugepagesz|hugepages)=(\S{1,40})")
_SIZE = re.compile(r"(\d{1,9})([KMG])", re.ASCII | re.IGNORECASE)
_UNITS: Final = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
DEFAULT_POOL_BYTES: Final = 2 << 20
"""Source: kernel, Documentation/admin-guide/mm/hugetlbpage.rst: 2 MiB on x86 and on arm64 with pages of 4 KiB."""


def head(path: Path | str, size: int = HEAD_BYTES) -> bytes:
    """Return the first bytes of a file, none when it cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(descriptor, size)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def text(path: Path, size: int = HEAD_BYTES) -> str:
    """Return the first bytes of a file as text."""
    return head(path, size).decode("utf-8", "replace")


def number(path: Path) -> int | None:
    """Return the one number that a file holds."""
    match = _NUMBER.fullmatch(text(path))
    return int(match[1]) if match else None


def parse_meminfo(meminfo: str) -> dict[str, int]:
    """Return name → bytes. Source: proc_meminfo(5)."""
    return {name: int(kib) << 10 for name, kib in _MEMORY.findall(meminfo)}


def parse_pressure(resource: str, said: str) -> Pressure:
    """Return what /proc/pressure/<resource> says. Source: kernel, Documentation/accounting/psi.rst."""
    shares = {kind: (float(minute), float(minutes)) for kind, minute, minutes in _PRESSURE.findall(said)}
    some, full = shares.get("some", (None, None)), shares.get("full", (None, None))
    return Pressure(resource, some_60s=some[0], full_60s=full[0], some_300s=some[1], full_300s=full[1])


def parse_files(file_nr: str) -> tuple[int | None, int | None]:
    """Return how many files are open and how many can be. Source: kernel, Documentation/admin-guide/sysctl/fs.rst."""
    match = _FILES.fullmatch(file_nr)
    return (int(match[1]), int(match[3])) if match else (None, None)


def parse_load(loadavg: str) -> tuple[float | None, int | None]:
    """Return the load of the last minute and the number of tasks. Source: proc_loadavg(5)."""
    match = _LOAD.match(loadavg)
    return (float(match[1]), int(match[2])) if match else (None, None)


def parse_uptime(uptime: str) -> float | None:
    """Return the seconds since the boot. Source: proc_uptime(5)."""
    match = _UPTIME.match(uptime)
    return float(match[1]) if match else None


def parse_asked_pools(command_line: str) -> dict[int, int]:
    """Return size in bytes → pages that the kernel was told at its start to set aside.

    Source: kernel, Documentation/admin-guide/kernel-parameters.txt: `hugepages` counts for the `hugepagesz` before it,
    and for the default size where there is none.
    """
    asked: dict[int, int] = {}
    default_bytes, size_bytes = DEFAULT_POOL_BYTES, 0
    for name, value in _ASKED.findall(command_line):
        if name == "hugepages":
            if value.isascii() and value.isdigit():
                asked[size_bytes or default_bytes] = int(value)
        elif name == "hugepagesz":
            size_bytes = _size(value)
        else:
            default_bytes = _size(value) or default_bytes
    return asked


def read_pools(sysfs: Path, asked: dict[int, int]) -> tuple[HugePagePool, ...]:
    """Return the pools of huge pages in the order of their size."""
    folders = {int(match[1]) << 10: each for each in entries(sysfs / POOLS) if (match := _POOL.fullmatch(each.name))}
    return tuple(_pool(folder, size, asked.get(size)) for size, folder in sorted(folders.items()))


def read_pressures(procfs: Path) -> tuple[Pressure, ...]:
    """Return the pressure on each resource; none from a kernel without PSI."""
    said = {resource: text(procfs / "pressure" / resource) for resource in RESOURCES}
    return tuple(parse_pressure(resource, words) for resource, words in said.items() if words)


def _pool(folder: Path, size_bytes: int, expected: int | None) -> HugePagePool:
    return HugePagePool(
        size_bytes,
        total=number(folder / "nr_hugepages"),
        free=number(folder / "free_hugepages"),
        reserved=number(folder / "resv_hugepages"),
        expected=expected,
    )


def _size(said: str) -> int:
    match = _SIZE.fullmatch(said)
    return int(match[1]) * _UNITS[match[2].upper()] if match else 0
