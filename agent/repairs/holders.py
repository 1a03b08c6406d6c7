"""Who holds the device files of the GPUs open: whom a reset or an unload of the driver would hit.

NVML names only processes that compute. A device plugin, an exporter or a monitor that merely looks holds the GPU as
well, and the driver resets nothing that is held.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.machine import ActionRefused
from agent.sources.processes import parse_stat
from agent.sources.procfs import head, text

MOST_NAMED: Final = 8
"""Source: our choice; who has to look at more than eight processes looks on the node."""

POD: Final = "a pod"
DRIVER_FOLDER: Final = "proc/driver/nvidia/gpus"
"""One folder a GPU, whose `information` names it. Source: NVIDIA driver, README, "The /proc/driver interface"."""

_UNIT = re.compile(r"(?:^|/)([^/]+\.service)(?:/|$)")
_MINOR = re.compile(r"^Device Minor:\s{1,40}(\d{1,4})\s*$", re.MULTILINE | re.ASCII)
_UUID = re.compile(r"^GPU UUID:\s{1,40}(GPU-[0-9a-f-]{36})\s*$", re.MULTILINE | re.ASCII)
_ANY_GPU = re.compile(r"/dev/nvidia\d{1,4}", re.ASCII)
_ANY_FILE = re.compile(r"/dev/nvidia[\w-]{0,40}(?:/[\w-]{1,60})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Holder:
    """One process that holds device files open. `place`: its systemd unit, or that it is in a pod, where known."""

    pid: int
    name: str
    files: tuple[str, ...]
    place: str = ""

    def __str__(self) -> str:
        """Return it as people read it."""
        where = f" ({self.place})" if self.place else ""
        return f"process {self.pid} {self.name}{where} holds {', '.join(self.files[:3])}"


@dataclass(frozen=True, slots=True)
class Holders:
    """All that were seen, and how many processes could not be looked into."""

    seen: tuple[Holder, ...]
    unseen: int = 0

    def but(self, places: Collection[str]) -> Holders:
        """Return those that are in none of these places."""
        return Holders(tuple(each for each in self.seen if each.place not in places), self.unseen)

    def refuse_unseen(self, what: str) -> None:
        """Return when every process could be looked into.

        Raises:
            ActionRefused: there are some that could not, and what nobody knows must not be acted upon.
        """
        if self.unseen:
            raise ActionRefused(
                f"it cannot be told who holds {what}: {self.unseen} processes cannot be looked into, which takes "
                "CAP_SYS_PTRACE (systemd/repairs.conf)"
            )

    def __str__(self) -> str:
        """Return them as people read them."""
        more = len(self.seen) - MOST_NAMED
        named = "; ".join(map(str, self.seen[:MOST_NAMED]))
        return f"{named}; and {more} more" if more > 0 else named


def find_holders(root: Path, is_meant: Callable[[str], bool]) -> Holders:
    """Return who holds a file that is meant, this process left out.

    Args:
        root: below which /proc lies.
        is_meant: whether a device file is, by its path.
    """
    found, unseen = list[Holder](), 0
    for pid in _pids(root / "proc"):
        try:
            files = tuple(sorted({link for link in _links(root / "proc" / str(pid) / "fd") if is_meant(link)}))
        except PermissionError:
            unseen += 1
            continue
        if files and pid != os.getpid():
            found.append(_describe(root / "proc" / str(pid), pid, files))
    return Holders(tuple(found), unseen)


def of_gpu(root: Path, uuid: str) -> Callable[[str], bool]:
    """Return what says whether a file is the GPU's; where nobody knows which it is, every GPU's file is."""
    minor = minors(root).get(uuid)
    if minor is None:
        return lambda path: bool(_ANY_GPU.fullmatch(path))
    return lambda path: path == f"/dev/nvidia{minor}"


def of_driver(path: str) -> bool:
    """Return whether a file is one of the driver's."""
    return bool(_ANY_FILE.fullmatch(path))


def minors(root: Path) -> dict[str, int]:
    """Return UUID → number of the device file, of the GPUs that the driver has taken up."""
    texts = [text(path) for path in sorted((root / DRIVER_FOLDER).glob("*/information"))]
    found = [(_UUID.search(each), _MINOR.search(each)) for each in texts]
    return {uuid[1]: int(minor[1]) for uuid, minor in found if uuid and minor}


def unit_of(groups: str) -> str:
    """Return the service in which a process is by what stands in its /proc/<pid>/cgroup, or that it is in a pod.

    Source: cgroups(7); the kubelet's folders begin with `kubepods`.
    """
    if "kubepods" in groups:
        return POD
    units = [match[1] for line in groups.splitlines() if (match := _UNIT.search(line.rpartition(":")[2]))]
    return units[0] if units else ""


def _pids(procfs: Path) -> Iterator[int]:
    for entry in os.scandir(procfs) if procfs.is_dir() else ():
        if entry.name.isascii() and entry.name.isdecimal():
            yield int(entry.name)


def _links(folder: Path) -> Iterator[str]:
    """Yield where the descriptors of a process lead; one that ends meanwhile holds nothing."""
    try:
        entries = [entry.path for entry in os.scandir(folder)]
    except (FileNotFoundError, ProcessLookupError, NotADirectoryError):
        return
    for entry in entries:
        try:
            yield os.readlink(entry)  # noqa: PTH115 # some ten thousand of them, of which no Path is needed
        except (FileNotFoundError, ProcessLookupError):
            continue


def _describe(folder: Path, pid: int, files: tuple[str, ...]) -> Holder:
    process = parse_stat(head(str(folder / "stat")))
    return Holder(pid, process.name if process else "?", files, unit_of(text(folder / "cgroup")))
