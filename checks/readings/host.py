"""The host itself: memory, load, processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class HostReading:
    """The host itself: memory, load, processes."""

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
