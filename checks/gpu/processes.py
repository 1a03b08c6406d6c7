"""`gpu.processes`: what finished or orphaned processes left on a GPU that nobody uses.

Their memory is missing to the next job. Only processes of the host are judged: NVML tells numbers, and those of another
PID namespace would name somebody else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.nvml import about, each_history, unreadable
from checks.readings import GpuProcess, GpuReading, NvmlReading

ID = "gpu.processes"
WINDOW_S = 600.0
SPAN_S = 570.0
"""That the readings of a whole window span. Source: our choice: ten minutes less two readings. A job that loads its
data or saves a checkpoint leaves the GPU alone for minutes."""

DEAD_STATES = frozenset({"", "Z", "X"})
"""No such process, or one that has ended. Source: proc(5)."""
INIT = 1
MIB = 1 << 20

Seen = Sequence[tuple[float, GpuReading]]


def _judge_gpu(gpu: GpuReading, seen: Seen) -> Iterator[Finding]:
    yield from unreadable(ID, gpu, "processes", "utilization_percent")
    if not _has_rested(seen):
        return
    stayed = [process for process in gpu.details.processes or () if _pids(seen) >= {process.pid}]
    if gone := [process for process in stayed if process.state in DEAD_STATES]:
        because = f"{_said(gone)} ended and still holds memory of the idle GPU: only a reset frees it"
        yield about(ID, gpu, "gone", Verdict.DEGRADED, Action.RESET_GPU, because)
    if orphans := [process for process in stayed if _is_orphan(process)]:
        because = f"{_said(orphans)} was left behind by its job and holds memory of the idle GPU: end it"
        yield about(ID, gpu, "orphaned", Verdict.DEGRADED, Action.NONE, because)


def _has_rested(seen: Seen) -> bool:
    """Return whether nothing was computed in the whole window, as far as the GPU tells (not while MIG is on)."""
    return seen[-1][0] - seen[0][0] >= SPAN_S and all(gpu.utilization_percent == 0 for _, gpu in seen)


def _pids(seen: Seen) -> set[int]:
    """Return the processes that were there in every reading."""
    return set.intersection(*({process.pid for process in gpu.details.processes or ()} for _, gpu in seen))


def _is_orphan(process: GpuProcess) -> bool:
    """Return whether nobody but init waits for it; a service of systemd is meant to be so."""
    is_alive = process.state not in DEAD_STATES
    return process.parent_pid == INIT and is_alive and not process.unit and not process.is_benchmark


def _said(processes: Sequence[GpuProcess]) -> str:
    first = processes[0]
    name = f" ({first.name})" if first.name else ""
    memory = f" with {first.memory_bytes // MIB} MiB" if first.memory_bytes else ""
    others = f" (and {len(processes) - 1} more)" if len(processes) > 1 else ""
    return f"process {first.pid}{name}{memory}{others}"


CHECK = LevelCheck(
    id=ID,
    summary="What finished or orphaned processes left on a GPU that nobody uses.",
    reading=NvmlReading,
    judge=each_history(_judge_gpu),
    outcomes=(
        Outcome("unreadable", Verdict.UNKNOWN),
        Outcome("gone", Verdict.DEGRADED, Action.RESET_GPU),
        Outcome("orphaned", Verdict.DEGRADED),
    ),
    window_s=WINDOW_S,
    thresholds={"idle": f"nothing computed for {WINDOW_S / 60:.0f} min while the process was there (our choice)"},
)
