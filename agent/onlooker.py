"""Who looks at a node beside its agent, or without one: the same sources and the same runner, and no state of it.

It keeps nothing on disk, takes no lock and tells no controller, so it may run at any time, as often as anybody likes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Coroutine, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from agent.clock import Clock
from agent.desk import Desk
from agent.host_machine import HostMachine
from agent.manifest_file import Approved
from agent.recorder import NOBODY, Observer, Recorder, header_of
from agent.runner import KernelLog, Runner, sources_of
from agent.scratch import Drawer, Scratch
from agent.settings import Watch
from agent.simulation import sources as simulated
from agent.simulation.machine import SimulatedMachine
from agent.sources.kernel_log import DeviceReader, KernelLogSource
from agent.sources.registry import make_sources
from agent.sources.site import Program, site_sources
from agent.sources.source import PolledSource, StreamedSource, Surroundings, Timing
from agent.watched import Watched
from checks.check import Check, LatchedCheck, LevelCheck
from checks.finding import Finding
from checks.manifest import Manifest
from checks.readings import AgentReading, InventoryReading, KernelLogState
from checks.stocktaking import SOURCES, manifest_of
from wire.messages import CheckLevel, NodeFacts

LEAVE_S: Final = 2.5
"""Kept of the limit of a look for ending its children: the 2 s that a process may take to die, and a little."""


@dataclass(frozen=True, slots=True)
class Eyes:
    """What of a node can be looked at."""

    boot_id: str
    sources: tuple[PolledSource, ...]
    kernel_log: StreamedSource
    scratch: Scratch

    async def close(self) -> None:
        """End what the sources keep running."""
        await asyncio.gather(*(source.close() for source in self.sources), return_exceptions=True)


def open_eyes(watch: Watch, *, programs: Sequence[Program] = (), only: Collection[str] = ()) -> Eyes:
    """Return the eyes on the node that the settings describe, with nothing running.

    Args:
        programs: the site's own, which are sources, too.
        only: names of the sources that are wanted; all when there are none.

    Raises:
        MachineBroken: there is no simulated machine in its directory.
    """
    timings = {name: timing for name, timing in watch.timings().items() if not only or name in only}
    approved = Approved(watch.approved_inventory)
    wanted = [program for program in programs if not only or program.name in only]
    if watch.simulation_directory is not None:
        return _simulated(SimulatedMachine.open(watch.simulation_directory), timings, wanted, approved)
    scratch = Scratch()
    surroundings = Surroundings(partial(Drawer, scratch), approved=approved, redfish=watch.redfish.access())
    return Eyes(
        boot_id=HostMachine().boot_id(),
        sources=(*make_sources(surroundings, timings), *site_sources(wanted, surroundings)),
        kernel_log=KernelLogSource(lambda: DeviceReader(watch.kernel_log.path)),
        scratch=scratch,
    )


def look_with(eyes: Eyes, watch: Watch, *, checks: Sequence[Check], observer: Observer = NOBODY) -> tuple[Desk, Runner]:
    """Return desk and runner over these eyes, with nothing running."""
    clock = Clock()
    desk = Desk(checks, journal=eyes.scratch, boot_id=eyes.boot_id, notify=lambda: None, clock=clock, observer=observer)
    log = watch.kernel_log
    runner = Runner(
        desk,
        sources=eyes.sources,
        kernel_log=KernelLog(eyes.kernel_log, log.state_interval_s, log.accept_userspace_records),
        outbox=eyes.scratch,
        facts=NodeFacts(),
        clock=clock,
    )
    return desk, runner


@dataclass(frozen=True, slots=True)
class Look:
    """How a node stands at one look: check → level, and every finding that is raised."""

    levels: dict[str, CheckLevel]
    findings: tuple[Finding, ...]


async def look(watch: Watch, ours: Watched, *, ids: Sequence[str], limit_s: float) -> Look:
    """Return how these checks stand on readings that are taken now, within the limit.

    Each source is read twice or oftener, so that hysteresis lets count what it sees. A check without a fresh reading in
    time is `unknown`. What needs a history (rates, flaps, throttling over minutes) shows only in a running agent.

    Raises:
        MachineBroken: there is no simulated machine in its directory.
    """
    checks = [check for check in ours.checks if check.id in ids]
    needed = {source for check in checks for source in sources_of(check)}
    eyes = open_eyes(watch, programs=ours.programs, only=needed)
    desk, runner = look_with(eyes, watch, checks=checks)
    running = asyncio.create_task(runner.run(), name="looking")
    span_s = max(limit_s / 2, limit_s - LEAVE_S)
    try:
        try:
            async with asyncio.timeout(span_s):
                await _while_running(running, _look(runner, checks))
        except TimeoutError:
            _blind_late(desk, span_s)
        levels = desk.levels(ids)
        return Look(levels, tuple(entry.finding for _, entry in sorted(desk.book.raised.items())))
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await eyes.close()


async def _look(runner: Runner, checks: Sequence[Check]) -> None:
    """Read each source as often as its checks need, beside those that hang; then judge what the kernel log came to."""
    by_lines = [check.id for check in checks if isinstance(check, LatchedCheck)]
    by_level = [check.id for check in checks if isinstance(check, LevelCheck)]
    await asyncio.gather(runner.first_look.wait(), runner.run_checks(by_level))
    await runner.run_checks(by_lines)


async def _while_running(running: asyncio.Task[None], work: Coroutine[Any, Any, object]) -> None:
    """Wait for the work. A runner that ends before that has crashed, and its silence must not pass for a slow source.

    Raises:
        Exception: what the runner ended with.
    """
    working = asyncio.create_task(work)
    try:
        await asyncio.wait({running, working}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
        await working
    finally:
        working.cancel()


def _blind_late(desk: Desk, span_s: float) -> None:
    """Make unknown what no reading, or too few of them, came to say in time: it must not pass as ok."""
    levels, raised = desk.levels(desk.check_ids), {key.check for key in desk.book.raised}
    for check in desk.level_checks:
        if levels[check.id].judged_at == 0.0 and check.id not in raised:
            _blind(desk, check, f"the source {check.source} gave no answer within {span_s:g} s")
        elif desk.is_unsettled((check,)):
            _blind(desk, check, f"the source {check.source} did not answer often enough within {span_s:g} s")


def _blind(desk: Desk, check: LevelCheck, because: str) -> None:
    desk.blind((check,), code="overdue", because=because)


async def take_stock(watch: Watch, *, limit_s: float) -> Manifest:
    """Return what this node is made of, by one look at it; what gave no answer within the limit is unread.

    Raises:
        MachineBroken: there is no simulated machine in its directory.
    """
    eyes = open_eyes(watch, only={*SOURCES, InventoryReading.SOURCE})
    _, runner = look_with(eyes, watch, checks=())
    running = asyncio.create_task(runner.run(), name="taking stock")
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(limit_s / 2, limit_s - LEAVE_S)):
                await _while_running(running, runner.first_look.wait())
        readings = runner.last_readings
        stock = readings.get(InventoryReading.SOURCE, InventoryReading(0.0))
        now = datetime.now(UTC).replace(microsecond=0)
        return manifest_of(readings, kernel=stock.kernel, node=watch.node, captured_at=now)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await eyes.close()


async def record(
    watch: Watch, ours: Watched, recorder: Recorder, *, only: Collection[str], ending: asyncio.Event
) -> None:
    """Record what this node's sources read until the end is wanted, or nothing more can be written.

    Raises:
        MachineBroken: there is no simulated machine in its directory.
    """
    eyes = open_eyes(watch, programs=ours.programs, only=only)
    recorder.begin(header_of(watch.node, eyes.boot_id, accept_userspace=watch.kernel_log.accept_userspace_records))
    _, runner = look_with(eyes, watch, checks=ours.checks, observer=recorder)
    running = asyncio.create_task(runner.run(), name="recording")
    waits = [asyncio.create_task(event.wait()) for event in (ending, recorder.ended)]
    try:
        await asyncio.wait({running, *waits}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
    finally:
        for task in (running, *waits):
            task.cancel()
        await asyncio.gather(running, *waits, return_exceptions=True)
        recorder.close()
        await eyes.close()


def source_names(watch: Watch, ours: Watched) -> tuple[str, ...]:
    """Return every source that can be recorded on this node."""
    programs = (program.name for program in ours.programs)
    return (*watch.timings(), KernelLogState.SOURCE, AgentReading.SOURCE, *programs)


def _simulated(
    machine: SimulatedMachine, timings: dict[str, Timing], programs: Sequence[Program], approved: Approved
) -> Eyes:
    scratch = Scratch()
    drawer = partial(Drawer, scratch)
    surroundings = simulated.surroundings_of(machine, drawer, approved)
    return Eyes(
        boot_id=machine.boot_id(),
        sources=(
            *simulated.make_sources(machine, drawer, timings, approved=approved),
            *site_sources(programs, surroundings),
        ),
        kernel_log=simulated.kernel_log_history(machine),
        scratch=scratch,
    )
