"""Every process of the host by its state, from /proc.

Read directly: psutil takes 44 µs a process and this 4 µs, which on a host with some thousand processes is the agent's
whole processor budget. Only of those in uninterruptible sleep is more asked, and nothing that takes their memory's
lock (`cmdline`, `exe`), which a process that hangs may hold for ever.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.sources.procfs import head, text
from checks.readings.host import WaitingProcess

KERNEL_THREADS_PARENT: Final = 2
"""Process id of kthreadd. Source: kernel, init/main.c, `rest_init`."""

MAX_WAITING: Final = 256
"""More processes in uninterruptible sleep are not asked for more. Source: our choice; one dead mount can hold thousands
of them, and they all say the same."""

_STAT = re.compile(rb"(\d{1,10}) \((.*)\) ([A-Za-z]) (\d{1,10}) (?:\S{1,20} ){17}(\d{1,20}) ", re.DOTALL)
_SWITCHES = re.compile(r"^(?:non)?voluntary_ctxt_switches:\s{1,8}(\d{1,20})$", re.MULTILINE | re.ASCII)
_CHANNEL = re.compile(r"[A-Za-z_][\w.]{0,127}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Process:
    """One process, by its line in /proc/<pid>/stat. Source: proc_pid_stat(5)."""

    pid: int
    name: str
    state: str
    parent: int
    started_ticks: int


def read_processes(procfs: Path) -> list[Process]:
    """Return every process; one that ends meanwhile is left out."""
    stats = (head(f"{entry.path}/stat") for entry in os.scandir(procfs) if entry.name.isdigit())
    return [process for stat in stats if (process := parse_stat(stat)) is not None]


def parse_stat(stat: bytes) -> Process | None:
    """Return the process of a line of /proc/<pid>/stat."""
    match = _STAT.match(stat)
    if match is None:
        return None
    name = "".join(letter for letter in match[2].decode("utf-8", "replace") if letter.isprintable())
    return Process(int(match[1]), name, match[3].decode(), int(match[4]), int(match[5]))


def read_waiting(procfs: Path, processes: Iterable[Process]) -> Iterator[WaitingProcess]:
    """Yield what is known of those in uninterruptible sleep."""
    waiting = [process for process in processes if process.state == "D"]
    for process in waiting[:MAX_WAITING]:
        folder = procfs / str(process.pid)
        yield WaitingProcess(
            process.pid,
            process.name,
            process.started_ticks,
            switches=parse_switches(text(folder / "status")),
            waits_in=parse_channel(text(folder / "wchan")),
            is_kernel_thread=process.parent == KERNEL_THREADS_PARENT,
        )


def parse_switches(status: str) -> int | None:
    """Return how often a process was given a processor. Source: proc_pid_status(5), `*_ctxt_switches`."""
    counts = _SWITCHES.findall(status)
    return sum(map(int, counts)) if len(counts) == 2 else None


def parse_channel(channel: str) -> str:
    """Return the name in /proc/<pid>/wchan, empty for `0`, which a reader without rights is given as well."""
    match = _CHANNEL.fullmatch(channel.strip())
    return match[0] if match else ""


def worst_parent(processes: Iterable[Process]) -> tuple[str, int]:
    """Return who has most zombies as `name (pid)`, and how many; nobody when there are none."""
    by_pid = {process.pid: process for process in processes}
    parents = Counter(process.parent for process in by_pid.values() if process.state == "Z")
    for pid, count in parents.most_common(1):
        return (f"{by_pid[pid].name} ({pid})" if pid in by_pid else f"({pid})"), count
    return "", 0
