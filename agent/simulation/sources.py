"""The agent's real sources, pointed at a simulated machine."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from typing import Final

from agent.simulation.kernel_log import KernelLogFiles
from agent.simulation.machine import SimulatedMachine
from agent.simulation.tree import MOUNTINFO, NVML, SYSFS, read_host
from agent.sources.host import HostSource, Space
from agent.sources.inventory import Store
from agent.sources.kernel_log import KernelLogSource, PipeReader
from agent.sources.nvml import NvmlSource, Question
from agent.sources.rdma import RdmaSource
from checks.errors import CannotObserve
from checks.readings import HostReading, RdmaReading

LIBRARY: Final = "agent.simulation.nvml_library"


def nvml_source(
    machine: SimulatedMachine, store: Store, *, interval_s: float = 15.0, deadline_s: float = 10.0
) -> NvmlSource:
    """Return the NVML source over the machine's simulated library."""
    command = (sys.executable, "-m", LIBRARY, str(machine.directory / NVML))
    question = Question(command=command, sysfs=machine.directory / SYSFS)
    return NvmlSource(store, interval_s=interval_s, deadline_s=deadline_s, question=question)


def rdma_source(
    machine: SimulatedMachine, store: Store, *, interval_s: float = 5.0, deadline_s: float = 3.0
) -> RdmaSource:
    """Return the RDMA source over the machine's sysfs."""
    return _FlappingRdmaSource(machine, store, interval_s=interval_s, deadline_s=deadline_s)


def host_source(machine: SimulatedMachine, *, interval_s: float = 30.0, deadline_s: float = 10.0) -> HostSource:
    """Return the host source over the machine's mounts and host readings."""

    def facts() -> HostReading:
        file = read_host(machine.directory)
        return replace(file.facts, uptime_s=max(0.0, time.time() - file.booted_at))

    async def ask_space(mount: str, _deadline_s: float) -> Space:
        space = read_host(machine.directory).space.get(mount)
        if space is None:
            raise CannotObserve("not mounted")
        return space

    return HostSource(
        interval_s=interval_s,
        deadline_s=deadline_s,
        facts=facts,
        mountinfo=machine.directory / MOUNTINFO,
        ask_space=ask_space,
    )


def kernel_log_source(machine: SimulatedMachine, *, after_sequence: int = -1) -> KernelLogSource:
    """Return the kernel-log source over the machine's log."""
    files = KernelLogFiles(machine.directory)
    return KernelLogSource(lambda: PipeReader(files.history, files.pipe), after_sequence=after_sequence)


class _FlappingRdmaSource(RdmaSource):
    """Between any two readings, a port that flaps goes down and up: no reading sees it down, its counters tell."""

    def __init__(self, machine: SimulatedMachine, store: Store, *, interval_s: float, deadline_s: float) -> None:
        super().__init__(store, interval_s=interval_s, deadline_s=deadline_s, sysfs=machine.directory / SYSFS)
        self._machine = machine

    async def read(self) -> RdmaReading:
        """Let the ports flap, and return one reading."""
        self._machine.flap()
        return await super().read()
