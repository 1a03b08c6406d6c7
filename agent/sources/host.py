"""The host itself: memory, load, processes, and what the kernel says of its own state.

All of it is the kernel's own text in procfs, which no driver serves; it is read in a thread all the same, as the lock
of a process that dies in a strange way can hold up even that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import psutil

from agent.sources.processes import read_processes, read_waiting, worst_parent
from agent.sources.procfs import (
    MEMINFO_BYTES,
    number,
    parse_asked_pools,
    parse_files,
    parse_load,
    parse_meminfo,
    parse_uptime,
    read_pools,
    read_pressures,
    text,
)
from agent.sources.remembered import numbers
from agent.sources.source import Cost, Declaration, Privilege, Surroundings, Timing
from agent.sources.thread import Apart
from checks.readings import HostReading
from checks.readings.host import HugePagePool


class HostSource:
    """Memory, load, processes and the kernel's state."""

    name = "host"

    def __init__(
        self, surroundings: Surroundings, timing: Timing, *, facts: Callable[[], HostReading] | None = None
    ) -> None:
        """Read nothing yet. `facts` gives the reading, whatever its time and without what was seen earlier."""
        self.timing = timing
        self._procfs, self._monotonic = surroundings.procfs, surroundings.monotonic
        self._facts = Apart("host", facts or (lambda: read_facts(surroundings.procfs, surroundings.sysfs)))
        self._store = surroundings.store(self.name)
        self._seen: dict[str, Any] = self._store.load()

    async def read(self) -> HostReading:
        """Return one reading.

        Raises:
            CannotObserve: procfs does not answer.
        """
        facts = await self._facts.result(deadline_s=self.timing.deadline_s)
        seen = first_sight(self._seen, facts, boot_id=boot_id(self._procfs))
        if seen != self._seen:
            self._seen = seen
            self._store.save(seen)
        return replace(with_first_sight(facts, seen), at_s=self._monotonic())

    async def close(self) -> None:
        """Leave nothing running: between readings nothing does."""


SOURCE: Final = Declaration(
    name=HostSource.name,
    summary="Memory, load, processes, pressure and taint from procfs.",
    reading=HostReading,
    timing=Timing(interval_s=30.0, fast_interval_s=10.0, deadline_s=10.0),
    cost=Cost.MEDIUM,
    privilege=Privilege.NONE,
    hangs_with="procfs",
    make=HostSource,
)


def boot_id(procfs: Path) -> str:
    """Return the kernel's id of this boot, empty when it cannot be read."""
    return text(procfs / "sys/kernel/random/boot_id").strip()


def first_sight(seen: dict[str, Any], reading: HostReading, *, boot_id: str) -> dict[str, Any]:
    """Return what has to be remembered of this boot: its first taint bits, and the most huge pages of each size."""
    of_boot = seen if seen.get("boot_id") == boot_id else {}
    pages = {str(pool.size_bytes): pool.total for pool in reading.huge_pages if pool.total is not None}
    known = {size: int(most) for size, most in numbers(of_boot.get("huge_pages")).items()}
    most = {size: max(total, known.get(size, 0)) for size, total in pages.items()}
    taint = of_boot.get("taint")
    return {
        "boot_id": boot_id,
        "taint": taint if isinstance(taint, int) else reading.taint,
        "huge_pages": {**known, **most},
    }


def with_first_sight(reading: HostReading, seen: dict[str, Any]) -> HostReading:
    """Return the reading with what was seen earlier in this boot beside what is there now."""
    pools = tuple(_expecting(pool, seen["huge_pages"].get(str(pool.size_bytes))) for pool in reading.huge_pages)
    return replace(reading, taint_at_first=seen["taint"], huge_pages=pools)


def _expecting(pool: HugePagePool, most: int | None) -> HugePagePool:
    return pool if pool.expected is not None else replace(pool, expected=most)


def read_facts(procfs: Path = Path("/proc"), sysfs: Path = Path("/sys")) -> HostReading:
    """Return what there is to know of this host at this moment."""
    total_bytes, available_bytes = read_memory(procfs)
    memory = parse_meminfo(text(procfs / "meminfo", MEMINFO_BYTES))
    processes = read_processes(procfs)
    load, tasks = parse_load(text(procfs / "loadavg"))
    files_open, files_max = parse_files(text(procfs / "sys/fs/file-nr"))
    zombie_parent, zombies_of_parent = worst_parent(processes)
    return HostReading(
        at_s=0.0,
        memory_total_bytes=total_bytes,
        memory_available_bytes=available_bytes,
        swap_total_bytes=memory.get("SwapTotal"),
        swap_free_bytes=memory.get("SwapFree"),
        committed_bytes=memory.get("Committed_AS"),
        commit_limit_bytes=memory.get("CommitLimit"),
        overcommit_mode=number(procfs / "sys/vm/overcommit_memory"),
        huge_pages=read_pools(sysfs, parse_asked_pools(text(procfs / "cmdline"))),
        load_1min=load,
        cpu_count=psutil.cpu_count(),
        uptime_s=parse_uptime(text(procfs / "uptime")),
        zombies=sum(process.state == "Z" for process in processes),
        zombie_parent=zombie_parent,
        zombies_of_parent=zombies_of_parent,
        waiting=tuple(read_waiting(procfs, processes)),
        tasks=tasks,
        tasks_max=_tasks_max(procfs),
        files_open=files_open,
        files_max=files_max,
        pressure=read_pressures(procfs),
        taint=number(procfs / "sys/kernel/tainted"),
    )


def read_memory(procfs: Path) -> tuple[int | None, int | None]:
    """Return how much memory there is and how much a new process could have, `None` when that cannot be told.

    psutil knows what to make of kernels and containers that do not say it outright.
    """
    psutil.PROCFS_PATH = str(procfs)
    try:
        memory = psutil.virtual_memory()
    except (OSError, LookupError, ValueError):
        return None, None
    return memory.total, memory.available


def _tasks_max(procfs: Path) -> int | None:
    """Return how many tasks there can be: threads take numbers as processes do, and the lower limit binds."""
    limits = [number(procfs / "sys/kernel" / name) for name in ("pid_max", "threads-max")]
    return min((limit for limit in limits if limit is not None), default=None)
