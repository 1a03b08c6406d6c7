"""Which CPUs are next to a GPU, so that the host's memory of a copy is not on the far side of the machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

PCI_DEVICES: Final = Path("/sys/bus/pci/devices")
MOST_CPUS: Final = 65_536


@contextmanager
def near(pci: str, *, devices: Path = PCI_DEVICES) -> Iterator[None]:
    """Run this thread on the CPUs next to a PCI device, as far as it may, and where it was afterwards.

    The kernel gives memory of the node on which a thread runs. Where the kernel does not say which CPUs are near, or
    this process may run on none of them, nothing changes.
    """
    allowed = os.sched_getaffinity(0)
    wanted = allowed & cpus_of(devices / pci / "local_cpulist")
    try:
        if wanted:
            os.sched_setaffinity(0, wanted)
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def cpus_of(path: Path) -> set[int]:
    """Return the CPUs that a file lists, e.g. `0-31,64-95`; none where it cannot be read or says something else."""
    try:
        text = path.read_text(errors="replace").strip()
        return {cpu for part in text.split(",") if part for cpu in _range(part)}
    except (OSError, ValueError):
        return set()


def _range(part: str) -> range:
    first, _, last = part.partition("-")
    begin, end = int(first), int(last or first)
    if not 0 <= begin <= end < MOST_CPUS:
        raise ValueError(part)
    return range(begin, end + 1)
