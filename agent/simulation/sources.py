"""The agent's real sources, pointed at a simulated machine."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from agent.benches import BenchPlace
from agent.manifest_file import Approved
from agent.simulation.kernel_log import KernelLogFiles
from agent.simulation.machine import SimulatedMachine
from agent.simulation.tree import NVML, TOOLS, read_host
from agent.sources import registry
from agent.sources.host import HostSource
from agent.sources.kernel_log import KernelLogSource, PipeReader
from agent.sources.mounts import MountsSource, Space, StatCommand
from agent.sources.rdma import RdmaSource
from agent.sources.remembered import Store
from agent.sources.source import PolledSource, Surroundings, Timing
from checks.errors import CannotObserve
from checks.readings import HostReading, RdmaReading

LIBRARY: Final = "agent.simulation.nvml_library"
BENCH: Final = "agent.simulation.bench"
HANG: Final = ("sh", "-c", "exec sleep infinity", "--")

AGE_S: Final = 86_400.0
"""A simulated machine is never young: what it does after a boot takes as long as an agent's start, and no minutes."""


def surroundings_of(machine: SimulatedMachine, store: Callable[[str], Store], approved: Approved) -> Surroundings:
    """Return the machine as its sources reach it."""
    return Surroundings(
        store,
        root=machine.directory,
        tools=str(machine.directory / TOOLS),
        nvml_command=(sys.executable, "-m", LIBRARY, str(machine.directory / NVML)),
        monotonic=lambda: AGE_S + time.monotonic(),
        approved=approved,
    )


def bench_place(machine: SimulatedMachine, folder: Path) -> BenchPlace:
    """Return where benchmarks of the machine run. Its processes are made up, and all of them are seen.

    Args:
        folder: of the agent's state.
    """
    return BenchPlace(
        folder,
        machine.boot_id,
        lambda: True,
        nvml_command=(sys.executable, "-m", LIBRARY, str(machine.directory / NVML), "bench"),
        command_of=lambda _: (sys.executable, "-m", BENCH, str(machine.directory)),
        speedup=machine.state().speedup,
    )


def make_sources(
    machine: SimulatedMachine, store: Callable[[str], Store], timings: Mapping[str, Timing], *, approved: Approved
) -> tuple[PolledSource, ...]:
    """Return each source that has a timing; where a plain file cannot stand for the machine, one of ours."""
    others: dict[str, registry.Make] = {
        "rdma": partial(_PassingRdmaSource, machine),
        "host": partial(_host_source, machine),
        "mounts": partial(_mounts_source, machine),
    }
    return registry.make_sources(surroundings_of(machine, store, approved), timings, others=others)


def _host_source(machine: SimulatedMachine, surroundings: Surroundings, timing: Timing) -> HostSource:
    """Return the host source over the machine's host readings."""

    def facts() -> HostReading:
        file = read_host(machine.directory)
        return replace(file.facts, uptime_s=max(0.0, time.time() - file.booted_at))

    return HostSource(surroundings, timing, facts=facts)


def _mounts_source(machine: SimulatedMachine, surroundings: Surroundings, timing: Timing) -> MountsSource:
    """Return the mounts source over the machine's mountinfo and the space that it has.

    A mount that hangs is asked by a process that really does, so that all is true of it that is true of `stat`.
    """
    hanging = StatCommand(HANG)

    async def ask_space(mount: str, deadline_s: float) -> Space:
        file = read_host(machine.directory)
        if mount == file.hung_mount:
            return await hanging(mount, deadline_s)
        space = file.space.get(mount)
        if space is None:
            raise CannotObserve("not mounted")
        return space

    return MountsSource(surroundings, timing, ask_space=ask_space)


class HistoryReader:
    """The log of a simulated machine up to now, for who looks on beside its agent, whose FIFO is the agent's alone."""

    is_gapless = True

    def __init__(self, history: Path) -> None:
        """Read the boot so far."""
        self._lines = deque(history.read_bytes().split(b"\n")[:-1])
        self._never, self._kept = os.pipe()

    def fileno(self) -> int:
        """Return a descriptor that never becomes readable."""
        return self._never

    def read(self) -> bytes | None:
        """Return the next line."""
        return self._lines.popleft() if self._lines else None

    def close(self) -> None:
        """Let go of the descriptors."""
        os.close(self._never)
        os.close(self._kept)


def kernel_log_history(machine: SimulatedMachine) -> KernelLogSource:
    """Return the machine's log up to now as a source."""
    return KernelLogSource(lambda: HistoryReader(KernelLogFiles(machine.directory).history))


def kernel_log_source(machine: SimulatedMachine, *, after_sequence: int = -1) -> KernelLogSource:
    """Return the kernel-log source over the machine's log."""
    files = KernelLogFiles(machine.directory)
    return KernelLogSource(lambda: PipeReader(files.history, files.pipe), after_sequence=after_sequence)


class _PassingRdmaSource(RdmaSource):
    """Between any two readings the machine's time passes: a port that flaps goes down and up, a job comes to its end.

    No reading sees such a port down, its counters tell.
    """

    def __init__(self, machine: SimulatedMachine, surroundings: Surroundings, timing: Timing) -> None:
        super().__init__(surroundings, timing)
        self._machine = machine

    async def read(self) -> RdmaReading:
        """Let the time pass, and return one reading."""
        self._machine.pass_time()
        return await super().read()
