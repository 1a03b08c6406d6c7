"""Who uses the GPUs, as a process of its own asks NVML, and which of them are the benchmark's own."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from agent.bench.gate import GpuUse, Sight
from agent.sources.child import Child, ChildEnded, DeadlineMissed, Stuck
from agent.sources.gpu_processes import unit_of
from agent.sources.procfs import text

PROCFS: Final = Path("/proc")
"""Of this host also where the machine is a simulated one: what a benchmark starts is real."""

DIAGNOSTICS: Final = "nvidia-dcgm.service"
TESTER: Final = "nvvs"
"""The service whose processes carry out what `dcgmi diag` asks for, and the name of the one that tests, for a host
engine that runs in a container. Source: DCGM's packages; DCGM, nvvs/."""


class _Gpu(msgspec.Struct, frozen=True):
    """One GPU, as the process says it."""

    name: str
    processes: tuple[int, ...] | None = None
    used_bytes: int | None = None
    utilization_percent: int | None = None
    errors: tuple[str, ...] = ()


class _Answer(msgspec.Struct, frozen=True):
    """What the process says."""

    gpus: tuple[_Gpu, ...] = ()
    failure: str = ""
    detail: str = ""


@dataclass(slots=True)
class Idleness:
    """Looks at the GPUs.

    Attributes:
        child: asks NVML, for nobody else.
        sees_processes: says whether the numbers of processes that NVML tells mean something here.
        session: of the benchmark's processes, 0 while there are none.
        is_diagnostics: whether the benchmark has DCGM's own service work for it.
    """

    child: Child
    monotonic: Callable[[], float]
    sees_processes: Callable[[], bool]
    session: int = 0
    is_diagnostics: bool = False
    _gone: frozenset[int] = field(default_factory=frozenset)
    """Processes that the last look showed on a GPU and that were no more: one of the benchmark's own that ends is so
    for a moment. What is on a GPU at two looks is somebody's."""

    async def look(self, *, limit_s: float) -> Sight:
        """Return what there is to be seen; that nobody can tell is seen, too."""
        at_s = self.monotonic()
        if not self.sees_processes():
            return Sight(at_s, unknown="the agent does not see the processes of the host, but those of its container")
        try:
            answer = msgspec.json.decode(await self.child.ask(b"look", deadline_s=limit_s), type=_Answer)
        except (DeadlineMissed, Stuck, ChildEnded, OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            return Sight(at_s, unknown=f"NVML cannot be asked: {error}")
        if answer.failure:
            return Sight(at_s, unknown=f"NVML does not answer: {answer.detail or answer.failure}")
        if not answer.gpus:
            return Sight(at_s, unknown="NVML tells of no GPU, and of other work nobody tells")
        return self._seen(at_s, answer.gpus)

    def _seen(self, at_s: float, gpus: tuple[_Gpu, ...]) -> Sight:
        gone, before = set[int](), self._gone
        uses = []
        for gpu in gpus:
            foreign = []
            for pid in gpu.processes or ():
                session = session_of(pid)
                if session is None:
                    gone.add(pid)
                if not self._is_own(pid, session, before):
                    foreign.append(_said(pid))
            uses.append(_use_of(gpu, tuple(foreign)))
        self._gone = frozenset(gone)
        return Sight(at_s, tuple(uses))

    def _is_own(self, pid: int, session: int | None, gone_before: frozenset[int]) -> bool:
        if not self.session:
            return False
        if session is None:
            return pid not in gone_before
        if session == self.session:
            return True
        return self.is_diagnostics and (unit_of(pid, PROCFS) == DIAGNOSTICS or _name_of(pid) == TESTER)


def session_of(pid: int) -> int | None:
    """Return the session of a process, `None` when there is no such process."""
    try:
        return os.getsid(pid)
    except OSError:
        return None


def _use_of(gpu: _Gpu, foreign: tuple[str, ...]) -> GpuUse:
    untold = [
        name.replace("_", " ")
        for name in ("processes", "used_bytes", "utilization_percent")
        if getattr(gpu, name) is None
    ]
    unknown = gpu.errors or ((f"{gpu.name} does not tell its {', '.join(untold)}",) if untold else ())
    return GpuUse(gpu.name, foreign, gpu.used_bytes or 0, gpu.utilization_percent or 0, tuple(unknown))


def _said(pid: int) -> str:
    name = _name_of(pid)
    return f"process {pid}{f' ({name})' if name else ''}"


def _name_of(pid: int) -> str:
    return text(PROCFS / str(pid) / "comm").strip()
