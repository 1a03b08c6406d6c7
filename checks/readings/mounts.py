"""File systems, as mountinfo and the file systems themselves tell them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class FilesystemReading:
    """Space on one mounted file system.

    Attributes:
        unreadable: why it could not be asked: `timeout`, `stuck` (and the process that asked does not die), or the
            system's words, e.g. `Stale file handle`; empty when it answered.
        detail: what became of the process that asked, where it did not answer.
        by_use: it was mounted because somebody looked there, and goes when nobody does any more.
    """

    mount: str
    device: str = ""
    kind: str = ""
    read_only: bool = False
    total_bytes: int | None = None
    free_bytes: int | None = None
    total_inodes: int | None = None
    free_inodes: int | None = None
    unreadable: str = ""
    detail: str = ""
    by_use: bool = False


@dataclass(frozen=True, slots=True)
class ExpectedMount:
    """A mount that this host once had. `in_fstab`: /etc/fstab wants it at boot."""

    mount: str
    kind: str = ""
    in_fstab: bool = False


@dataclass(frozen=True, slots=True)
class MountsReading:
    """The file systems that checks look at; those that hold nothing of their own are left out.

    Attributes:
        expected: what should be mounted, mounted or not.
    """

    SOURCE: ClassVar[str] = "mounts"
    PARTS: ClassVar[str] = "filesystems"

    at_s: float
    filesystems: tuple[FilesystemReading, ...] = ()
    expected: tuple[ExpectedMount, ...] = ()
