"""The host itself: memory, load and processes.

The states of processes are read from /proc directly: psutil takes 44 µs a process and this 4 µs, which on a host with
some thousand processes is the agent's whole processor budget.
"""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import psutil

from agent.sources.source import Cost, Declaration, Privilege, Surroundings, Timing
from agent.sources.thread import Apart
from checks.readings import HostReading

STAT_BYTES: Final = 1024
_PROCESS = re.compile(rb"\d+ \((.*)\) ([A-Za-z]) ", re.DOTALL)


class HostSource:
    """Memory, load and processes of a host."""

    name = "host"

    def __init__(
        self, surroundings: Surroundings, timing: Timing, *, facts: Callable[[], HostReading] | None = None
    ) -> None:
        """Read nothing yet. `facts` gives the reading, whatever its time."""
        self.timing = timing
        self._facts = Apart("host", facts or read_facts)
        self._monotonic = surroundings.monotonic

    async def read(self) -> HostReading:
        """Return one reading.

        Raises:
            CannotObserve: procfs does not answer.
        """
        facts = await self._facts.result(deadline_s=self.timing.deadline_s)
        return replace(facts, at_s=self._monotonic())

    async def close(self) -> None:
        """Leave nothing running: between readings nothing does."""


SOURCE: Final = Declaration(
    name=HostSource.name,
    summary="Memory, load and processes from procfs.",
    reading=HostReading,
    timing=Timing(interval_s=30.0, fast_interval_s=10.0, deadline_s=10.0),
    cost=Cost.MEDIUM,
    privilege=Privilege.NONE,
    hangs_with="procfs",
    make=HostSource,
)


def read_facts(procfs: Path = Path("/proc")) -> HostReading:
    """Return memory, load and processes of this host."""
    memory = psutil.virtual_memory()
    states = list(process_states(procfs))
    return HostReading(
        at_s=0.0,
        memory_total_bytes=memory.total,
        memory_available_bytes=memory.available,
        load_1min=psutil.getloadavg()[0],
        cpu_count=psutil.cpu_count(),
        uptime_s=max(0.0, time.time() - psutil.boot_time()),
        zombies=sum(state == "Z" for _, state in states),
        uninterruptible=_names(name for name, state in states if state == "D"),
    )


def _names(names: Iterable[str]) -> tuple[str, ...]:
    """Return each name once, in order, with how often it is there when that is more than once."""
    return tuple(f"{name} x{count}" if count > 1 else name for name, count in sorted(Counter(names).items()))


def process_states(procfs: Path) -> Iterator[tuple[str, str]]:
    """Yield name and state letter of every process; one that ends meanwhile is left out.

    Source: proc_pid_stat(5).
    """
    for entry in os.scandir(procfs):
        if entry.name.isdigit():
            match = _PROCESS.match(_head(f"{entry.path}/stat"))
            if match is not None:
                yield match[1].decode("utf-8", "replace"), match[2].decode()


def _head(path: str) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(descriptor, STAT_BYTES)
    except OSError:
        return b""
    finally:
        os.close(descriptor)
