"""Who the processes on a GPU are: NVML tells their numbers only, the rest is in procfs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from agent.sources.procfs import head
from checks.readings import GpuProcess, GpuReading

HOST_PID_NAMESPACE: Final = "pid:[4026531836]"
"""Source: linux/proc_ns.h, PROC_PID_INIT_INO."""

GONE: Final = ""
STATE_FIELD, PARENT_FIELD, SESSION_FIELD = 0, 1, 3
"""Of /proc/PID/stat after the name, which alone may hold blanks and brackets. Source: proc(5)."""


def named(gpus: Sequence[GpuReading], procfs: Path) -> tuple[GpuReading, ...]:
    """Return the GPUs with what is known of their processes; nothing more, where the host's processes are not seen."""
    if not any(gpu.details.processes for gpu in gpus) or not sees_host(procfs):
        return tuple(gpus)
    return tuple(_named(gpu, procfs) if gpu.details.processes else gpu for gpu in gpus)


def sees_host(procfs: Path) -> bool:
    """Return whether the numbers of processes in here are those of the host, which NVML speaks of."""
    try:
        return str((procfs / "self/ns/pid").readlink()) == HOST_PID_NAMESPACE
    except OSError:
        return False


def _named(gpu: GpuReading, procfs: Path) -> GpuReading:
    processes = tuple(_look_up(process, procfs) for process in gpu.details.processes or ())
    return replace(gpu, details=replace(gpu.details, processes=processes))


def _look_up(process: GpuProcess, procfs: Path) -> GpuProcess:
    try:
        text = (procfs / str(process.pid) / "stat").read_bytes().decode("utf-8", "replace")
    except (FileNotFoundError, ProcessLookupError):
        return replace(process, state=GONE)
    except OSError:
        return process
    name, _, tail = text.rpartition(") ")
    words = tail.split()
    if len(words) <= SESSION_FIELD or not words[PARENT_FIELD].isdecimal():
        return process
    return replace(
        process,
        state=words[STATE_FIELD],
        name=name.partition(" (")[2],
        parent_pid=int(words[PARENT_FIELD]),
        unit=unit_of(process.pid, procfs),
        is_benchmark=_is_benchmark(words[SESSION_FIELD], procfs),
    )


def _is_benchmark(session: str, procfs: Path) -> bool:
    """Return whether this process, the agent, started the first process of a session: only of benchmarks does it let
    anything compute (agent/bench/running.py)."""
    words = head(procfs / session / "stat").rpartition(b") ")[2].split()
    return len(words) > PARENT_FIELD and words[PARENT_FIELD] == str(os.getpid()).encode()


def unit_of(pid: int, procfs: Path) -> str:
    """Return the service of systemd whose control group the process is in: the file says `0::/system.slice/x.service`.

    Source: cgroups(7), version 2.
    """
    try:
        path = (procfs / str(pid) / "cgroup").read_bytes().decode("utf-8", "replace").partition("::")[2].strip()
    except OSError:
        return ""
    last = path.rpartition("/")[2]
    return last if last.endswith(".service") else ""
