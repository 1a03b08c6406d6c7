"""Which file systems are mounted, which /etc/fstab wants, and which this host is known to have.

A mount is expected when it was once seen here and /etc/fstab still wants it, or, for a file server's that something
else mounts, when it stood for some minutes. What comes and goes with containers or with its use is never expected.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from checks.filesystems import NETWORK_KINDS, is_passing
from checks.readings import ExpectedMount, FilesystemReading

STOOD_S: Final = 600.0
"""How long a file server's mount that /etc/fstab does not know must have stood to be expected. Source: our choice: what
a person mounts to copy something is gone by then more often than not."""

BY_HAND: Final = frozenset({"noauto", "x-systemd.automount"})
"""Options of fstab that mount nothing at boot. Source: fstab(5), mount(8), systemd.mount(5)."""

AUTOFS: Final = "autofs"

_ESCAPE = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of mountinfo.

    Attributes:
        disk: the kernel's number of the file system, which its bind mounts share.
    """

    disk: str
    filesystem: FilesystemReading


def parse_mounts(text: str) -> list[Mount]:
    """Return the mounts that can be seen: of several at one place the last, which covers the others.

    Read-only is what the file system is, not the mount: a service's sandbox and a bind mount make it look read-only to
    one process. Source: proc_pid_mountinfo(5).
    """
    seen: dict[str, Mount] = {}
    automounters: set[str] = set()
    for line in text.splitlines():
        fields, of_filesystem = (part.split(" ") for part in f"{line} - ".split(" - ")[:2])
        if len(fields) < 6 or len(of_filesystem) < 3:
            continue
        number, parent, disk, _, place = fields[:5]
        filesystem = _filesystem(place, of_filesystem)
        if filesystem.kind == AUTOFS:
            automounters.add(number)
        seen[filesystem.mount] = Mount(disk, replace(filesystem, by_use=parent in automounters))
    return list(seen.values())


def parse_fstab(text: str) -> frozenset[str]:
    """Return the mount points that are to be mounted at boot. Source: fstab(5)."""
    return frozenset(place for line in text.splitlines() if (place := _fstab_place(line)))


def learn_mounts(known: Mapping[str, str], mounts: Iterable[Mount], stood: Iterable[str]) -> dict[str, str]:
    """Return mount point → kind of file system with those that are mounted now; one in another's place replaced it.

    Args:
        stood: mount points that may be learnt.
    """
    allowed = frozenset(stood)
    seen = {mount.filesystem.mount: mount.filesystem.kind for mount in mounts}
    return {**known, **{place: kind for place, kind in seen.items() if place in allowed or place in known}}


def is_lasting(mount: Mount) -> bool:
    """Return whether a mount that /etc/fstab does not know may be expected once it has stood."""
    return mount.filesystem.kind in NETWORK_KINDS and not is_passing(mount.filesystem)


def expected(known: Mapping[str, str], fstab: frozenset[str]) -> tuple[ExpectedMount, ...]:
    """Return what should be mounted. A local disk's mount that fstab no longer names was taken out on purpose."""
    wanted = ((place, kind, place in fstab) for place, kind in sorted(known.items()))
    return tuple(ExpectedMount(*each) for each in wanted if each[2] or each[1] in NETWORK_KINDS)


def _filesystem(place: str, of_filesystem: list[str]) -> FilesystemReading:
    kind, device, options = of_filesystem[:3]
    return FilesystemReading(unescape(place), unescape(device), kind, "ro" in options.split(","))


def _fstab_place(line: str) -> str:
    fields = line.split()
    if len(fields) < 4 or fields[0].startswith("#") or not fields[1].startswith("/") or fields[2] == "swap":
        return ""
    return "" if BY_HAND & frozenset(fields[3].split(",")) else unescape(fields[1])


def unescape(text: str) -> str:
    """Return a name as it is; these tables write space, tab, newline and backslash as `\\ooo`."""
    return _ESCAPE.sub(lambda octal: chr(int(octal[1], 8)), text)
