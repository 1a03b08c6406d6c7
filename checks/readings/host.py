"""The host itself: memory, load, processes, and what the kernel says of its own state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class HugePagePool:
    """The huge pages of one size.

    Attributes:
        free: pages nobody uses.
        reserved: of the free ones, those that are promised to somebody.
        expected: what the kernel was told at its start, or the most there were since; `None` when neither is known.
    """

    size_bytes: int
    total: int | None = None
    free: int | None = None
    reserved: int | None = None
    expected: int | None = None


@dataclass(frozen=True, slots=True)
class WaitingProcess:
    """A process in uninterruptible sleep (state D) at the moment of the reading.

    Attributes:
        started_ticks: when it was started, in the kernel's clock ticks: with `pid` it names one process for good.
        switches: how often it was given a processor and gave it up again; while that stands still, it never ran.
        waits_in: the kernel's function in which it sleeps, empty when that may not be seen.
        is_kernel_thread: a thread of the kernel itself.
    """

    pid: int
    name: str
    started_ticks: int
    switches: int | None = None
    waits_in: str = ""
    is_kernel_thread: bool = False


@dataclass(frozen=True, slots=True)
class Pressure:
    """How much time was lost to waiting for one resource, in percent of the last minutes.

    Attributes:
        resource: `cpu`, `memory` or `io`.
        some_60s, full_60s, some_300s, full_300s: `some`: at least one task waited; `full`: all of them did.
    """

    resource: str
    some_60s: float | None = None
    full_60s: float | None = None
    some_300s: float | None = None
    full_300s: float | None = None


@dataclass(frozen=True, slots=True)
class HostReading:
    """The host itself.

    Attributes:
        committed_bytes, commit_limit_bytes: memory that was promised, and how much may be.
        overcommit_mode: number of vm.overcommit_memory; only in mode 2 does the limit bind.
        zombies: processes that ended and that nobody has waited for.
        zombie_parent: the process that has most of them, as `name (pid)`; `zombies_of_parent` is how many.
        tasks, tasks_max: processes and threads, and how many there can be.
        files_open, files_max: open files of the whole host.
        taint, taint_at_first: the kernel's taint bits now, and when this agent first saw this boot.
    """

    SOURCE: ClassVar[str] = "host"
    PARTS: ClassVar[str] = ""

    at_s: float
    memory_total_bytes: int | None = None
    memory_available_bytes: int | None = None
    swap_total_bytes: int | None = None
    swap_free_bytes: int | None = None
    committed_bytes: int | None = None
    commit_limit_bytes: int | None = None
    overcommit_mode: int | None = None
    huge_pages: tuple[HugePagePool, ...] = ()
    load_1min: float | None = None
    cpu_count: int | None = None
    uptime_s: float | None = None
    zombies: int | None = None
    zombie_parent: str = ""
    zombies_of_parent: int = 0
    waiting: tuple[WaitingProcess, ...] = ()
    tasks: int | None = None
    tasks_max: int | None = None
    files_open: int | None = None
    files_max: int | None = None
    pressure: tuple[Pressure, ...] = ()
    taint: int | None = None
    taint_at_first: int | None = None
