"""The host itself: memory, load, processes, file systems."""

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
class HostReading:
    """The host itself: memory, load, processes, file systems."""

    SOURCE: ClassVar[str] = "host"
    PARTS: ClassVar[str] = ""

    at_s: float
    memory_total_bytes: int | None = None
    memory_available_bytes: int | None = None
    load_1min: float | None = None
    cpu_count: int | None = None
    uptime_s: float | None = None
    zombies: int | None = None
    uninterruptible: tuple[str, ...] = ()
    filesystems: tuple[FilesystemReading, ...] = ()
