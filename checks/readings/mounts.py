"""File systems, as mountinfo and the file systems themselves tell them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class FilesystemReading:
    """Space on one mounted file system. `unreadable` holds why it could not be asked (e.g. `timeout`)."""

    mount: str
    device: str = ""
    kind: str = ""
    read_only: bool = False
    total_bytes: int | None = None
    free_bytes: int | None = None
    total_inodes: int | None = None
    free_inodes: int | None = None
    unreadable: str = ""


@dataclass(frozen=True, slots=True)
class MountsReading:
    """The file systems that checks look at; those that hold nothing of their own are left out."""

    SOURCE: ClassVar[str] = "mounts"
    PARTS: ClassVar[str] = "filesystems"

    at_s: float
    filesystems: tuple[FilesystemReading, ...] = ()
