"""Holding this node: what a controller orders where there is no scheduler to ask, and what the node says of it.

The node is held by a flag file (agent/hold_flag.py). How much work is still on it is told by the processes on its
GPUs, as NVML last told them; that nobody can tell is never taken for none.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import structlog

from agent.clock import Clock
from agent.hold_flag import MOST_LETTERS, Flag, HoldFlag, Standing
from agent.hold_targets import Targets
from agent.machine import ActionFailed, ActionRefused, Done
from agent.plain_text import plain, printable
from checks.errors import CannotObserve
from checks.gpu import count
from checks.readings import GpuReading, NvmlReading
from wire.messages import CheckLevel, NodeHold
from wire.orders import Order

log = structlog.get_logger()

LOOK_S: Final = 2.0
"""So often the flag files are looked at. Source: our choice; a listing of an empty folder in memory costs nothing."""

JOBS_LOOK_S: Final = 10.0
"""So often NVML is asked anew for processes while a held node is not empty; at other times it is asked once a minute.
Source: our choice."""

GONE: Final = ""
"""State of a process that is no more: its memory on the GPU is a fault (gpu.processes), and no job."""

MOST_JOBS: Final = 64
"""So many are named. Source: our choice; what counts is whether there is any."""


class Looking(Protocol):
    """What holding needs of the runner."""

    @property
    def last_readings(self) -> Mapping[str, Any]:
        """The newest reading of each source."""
        ...

    async def run_checks(self, ids: tuple[str, ...]) -> dict[str, CheckLevel]:
        """Judge these checks on fresh readings."""
        ...


@dataclass(slots=True)
class Holding:
    """This node's holds.

    Attributes:
        forget: makes the next reading of NVML remember nothing of the ones before.
        publish: sends the node's level now.
    """

    flag: HoldFlag
    targets: Targets
    looking: Looking
    forget: Callable[[], Awaitable[None]]
    clock: Clock = field(default_factory=Clock)
    publish: Callable[[], None] = lambda: None
    _fresh_from_s: float = 0.0
    """Monotonic: processes that were read before are not believed."""
    _wanted: bool = False
    """Processes are to be read anew: by `watch`, for an order is answered without waiting for NVML."""

    async def hold(self, order: Order) -> Done:
        """Hold the node for the order's incident.

        Raises:
            ActionRefused: somebody else holds it.
            ActionFailed: the flag cannot be written, or nobody follows it.
        """
        if not 0 < len(order.incident_id) <= MOST_LETTERS or not order.incident_id.isprintable():
            raise ActionRefused("the order names no incident for which the node is to be held")
        standing = self._look()
        _refuse_unless_free(standing, order.incident_id)
        if standing.ours is None:
            reason = plain(printable(order.parameters.get("reason", "")))[:MOST_LETTERS]
            self._write(lambda: self.flag.put(Flag(order.incident_id, reason, self.clock.wall(), order.order_id)))
            self._fresh_from_s, self._wanted = math.inf, True
        said = await self.targets.follow(self.flag.folder, held=True)
        self.publish()
        already = " already" if standing.ours is not None else ""
        return Done(f"the node is held for {order.incident_id}{already}. {said}".strip())

    async def release(self, order: Order) -> Done:
        """Give the node back that is held for the order's incident.

        Raises:
            ActionRefused: it is held by somebody else alone.
            ActionFailed: the flag cannot be taken away, or nobody follows it.
        """
        standing = self._look()
        _refuse_unless_ours(standing, order.incident_id)
        if standing.ours is not None:
            self._write(self.flag.take_away)
        said = await self.targets.follow(self.flag.folder, held=bool(standing.foreign))
        self.publish()
        if standing.foreign:
            return Done(f"the node is given back by fleetmend, and still held by somebody else: {standing.foreign}")
        return Done(f"the node is given back. {said}".strip())

    def level(self) -> NodeHold:
        """Return who holds the node, and what works on it."""
        try:
            standing = self.flag.look()
        except CannotObserve as error:
            return NodeHold(unknown=str(error))
        ours = standing.ours or Flag("", "", 0.0)
        jobs, unknown = self._jobs()
        return NodeHold(ours.incident, ours.reason, ours.since, standing.foreign, list(jobs), unknown)

    async def watch(self) -> None:
        """Tell at once when a hold came or went or the last job ended, until cancelled."""
        before, looked_at = self.level(), self.clock.monotonic()
        while True:
            await self.clock.sleep(LOOK_S)
            now = self.level()
            if now != before:
                self.publish()
            before = now
            is_held, age_s = bool(now.held_by or now.foreign), self.clock.monotonic() - looked_at
            if self._wanted or (is_held and age_s >= JOBS_LOOK_S and (now.jobs or now.jobs_unknown)):
                self._wanted, looked_at = False, self.clock.monotonic()
                await self._look_anew()

    def _look(self) -> Standing:
        try:
            return self.flag.look()
        except CannotObserve as error:
            raise ActionFailed(f"it cannot be told who holds the node: {error}") from error

    def _write(self, write: Callable[[], None]) -> None:
        try:
            write()
        except OSError as error:
            raise ActionFailed(f"{error.filename or self.flag.folder}: {error.strerror}") from error

    async def _look_anew(self) -> None:
        """Have the processes read that are on the GPUs now, and not a minute ago."""
        await self.forget()
        self._fresh_from_s = self.clock.monotonic()
        await self.looking.run_checks((count.ID,))

    def _jobs(self) -> tuple[tuple[str, ...], str]:
        """Return the jobs, and why they cannot be told, empty when they can."""
        reading = self.looking.last_readings.get(NvmlReading.SOURCE)
        if reading is None or reading.at_s < self._fresh_from_s:
            return (), "NVML has not been asked since"
        if reading.failure == "library_not_found" and not reading.expected:
            return (), "this node has no NVIDIA GPU, and of other work nobody tells"
        if reading.failure:
            return (), f"NVML does not answer: {reading.failure}"
        blind = [gpu.uuid or gpu.pci for gpu in reading.gpus if gpu.details.processes is None and not gpu.lost]
        jobs = tuple(job for gpu in reading.gpus for job in _jobs_on(gpu))[:MOST_JOBS]
        return jobs, f"NVML does not tell the processes of {', '.join(blind)}" if blind else ""


def _jobs_on(gpu: GpuReading) -> Iterator[str]:
    """Yield the processes on a GPU that are jobs; a benchmark of our own ends as soon as one comes."""
    for process in gpu.details.processes or ():
        if process.state != GONE and not process.is_benchmark:
            yield f"{process.pid} {process.name}".strip()


def _refuse_unless_free(standing: Standing, incident_id: str) -> None:
    if standing.foreign:
        raise ActionRefused(f"the node is held by somebody else: {standing.foreign}")
    if standing.ours is not None and standing.ours.incident != incident_id:
        raise ActionRefused(f"the node is held for another incident of fleetmend: {standing.ours.incident}")


def _refuse_unless_ours(standing: Standing, incident_id: str) -> None:
    if standing.ours is not None and standing.ours.incident != incident_id:
        raise ActionRefused(f"the node is held for another incident of fleetmend: {standing.ours.incident}")
    if standing.ours is None and standing.foreign:
        raise ActionRefused(f"the node is held by somebody else: {standing.foreign}")
