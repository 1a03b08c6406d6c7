"""The door to benchmarks: it stands open to orders all the time, and what is behind it is loaded at the first of them.

One benchmark runs at a time, beside orders that look and hold, and never beside one that repairs. Each run has a record
on disk while it lasts, so that the end of one that the agent did not survive is told by the next start.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
import structlog

from agent.clock import Clock
from agent.machine import ActionRefused, Done
from agent.telling import Telling
from checks.bench_outcome import Outcome
from checks.bench_result import Benchmark, BenchResult
from wire.bench import BenchWish, from_parameters, stopped_lease
from wire.messages import BenchEnded, BenchProgress, CheckLevel, Refused
from wire.orders import Order

log = structlog.get_logger()

COURSE: Final = "agent.bench.course"
"""Imported at the first benchmark: a node that never runs one does not carry it."""

UNDER_WAY: Final = "bench"
MODES: Final = "bench_modes"
"""Keys under which the outbox keeps what runs, and how the GPUs were set before it."""

MOST_STOPPED: Final = 64
"""So many leases that were taken back are remembered, for an order that comes after the one that stops it. Source: our
choice; a controller takes one back that it gave within the last minutes."""

ASKS_NVML: Final = (sys.executable, "-m", "agent.bench.nvml_child")


def child_of(benchmark: Benchmark) -> tuple[str, ...]:
    """Return the command of a benchmark's process (agent/bench/child.py)."""
    return (sys.executable, "-m", f"agent.bench.children.{benchmark}")


@dataclass(frozen=True, slots=True)
class BenchPlace:
    """Where benchmarks run: the real host, or a simulated machine.

    Attributes:
        folder: where the lock lies, on a disk of this host.
        boot_id: says which boot this is.
        sees_processes: says whether the numbers of processes that NVML tells mean something here.
        nvml_command: starts the process that asks NVML.
        command_of: starts the process of a benchmark.
        speedup: simulated seconds a second.
    """

    folder: Path
    boot_id: Callable[[], str]
    sees_processes: Callable[[], bool]
    nvml_command: tuple[str, ...] = ASKS_NVML
    command_of: Callable[[Benchmark], tuple[str, ...]] = child_of
    speedup: float = 1.0


class Bencher(Protocol):
    """What orders need of benchmarks."""

    async def recover(self) -> None:
        """Bring what the last run left in order; nothing runs before."""
        ...

    async def run(self, order: Order) -> Done:
        """Run what the order asks for, or end what it takes back; return when it is over."""
        ...

    def kept_away(self, because: str) -> AbstractAsyncContextManager[None]:
        """Let nothing run meanwhile; what runs has ended when this is entered."""
        ...

    async def close(self) -> None:
        """End what runs, and let nothing begin any more."""
        ...


class NoBenchmarks:
    """Runs none."""

    async def recover(self) -> None:
        """Do nothing."""

    async def run(self, order: Order) -> Done:
        """Refuse."""
        raise ActionRefused(f"{order.order_id}: this node runs no benchmarks")

    def kept_away(self, because: str) -> AbstractAsyncContextManager[None]:
        """Return what does nothing: there is nothing to keep away."""
        assert because
        return nullcontext()

    async def close(self) -> None:
        """Do nothing."""


class Course(Protocol):
    """One run, from the gate to the result (agent/bench/course.py)."""

    async def run(self) -> BenchResult:
        """Return what it came back with, when nothing of it is left."""
        ...

    def call_off(self, because: str) -> None:
        """Have it end now."""
        ...


class Looks(Protocol):
    """What benchmarks need of the runner: the counters of the fabric, and the kernel log."""

    @property
    def believed_lines(self) -> tuple[str, ...]:
        """The last lines of the kernel log that the kernel itself wrote, oldest first."""
        ...

    @property
    def last_readings(self) -> Mapping[str, Any]:
        """The newest reading of each source."""
        ...

    async def run_checks(self, ids: tuple[str, ...]) -> dict[str, CheckLevel]:
        """Judge these checks on fresh readings."""
        ...


class UnderWay(msgspec.Struct, frozen=True):
    """The record of a run while it lasts."""

    lease: str
    benchmark: Benchmark
    started_at: float


@dataclass(slots=True)
class Benches:
    """The benchmarks of one node.

    Attributes:
        say: tells whoever watches how far it is; nobody keeps it.
    """

    place: BenchPlace
    looks: Looks
    telling: Telling
    clock: Clock = field(default_factory=Clock)
    say: Callable[[BenchProgress], None] = lambda _: None
    _course: Course | None = None
    _lease: str = ""
    _over: asyncio.Event = field(default_factory=asyncio.Event)
    _obstacles: list[str] = field(default_factory=list)
    _stopped: deque[str] = field(default_factory=lambda: deque(maxlen=MOST_STOPPED))
    _recovered: asyncio.Event = field(default_factory=asyncio.Event)

    async def recover(self) -> None:
        """Tell of a run that the agent did not survive, and set the GPUs back as they were before it."""
        try:
            await self._recover()
        except Exception as error:
            log.error("bench.unfinished", because=repr(error), exc_info=error)
        finally:
            self._recovered.set()

    async def run(self, order: Order) -> Done:
        """Run what the order asks for, or end what it takes back.

        Raises:
            ActionRefused: what it asks for cannot be read.
        """
        lease = stopped_lease(order.parameters)
        if lease:
            return await self._stop(lease)
        try:
            wish = from_parameters(order.parameters)
        except Refused as refusal:
            raise ActionRefused(str(refusal)) from refusal
        started_at = self.clock.wall()
        result = self._why_not(wish)
        if result is not None:
            return self._tell(wish, result, started_at)
        done = self._tell(wish, await self._run(wish, started_at), started_at)
        self.telling.journal.save(UNDER_WAY, {})
        return done

    @asynccontextmanager
    async def kept_away(self, because: str) -> AsyncIterator[None]:
        """Let nothing run meanwhile; what runs has ended when this is entered."""
        self._obstacles.append(because)
        try:
            await self._end(because)
            yield
        finally:
            self._obstacles.remove(because)

    async def close(self) -> None:
        """End what runs, and let nothing begin any more."""
        self._obstacles.append("the agent stops")
        await self._end("the agent stops")

    def _why_not(self, wish: BenchWish) -> BenchResult | None:
        """Return why nothing is run, `None` when something may be."""
        because = ""
        if wish.lease in self._stopped:
            because = f"the lease {wish.lease} was taken back before it began"
        elif self._obstacles:
            because = f"nothing is run now: {self._obstacles[0]}"
        elif self._course is not None:
            because = f"a benchmark runs here already, under the lease {self._lease}"
        return BenchResult(wish.benchmark, Outcome.SKIP, because) if because else None

    async def _run(self, wish: BenchWish, started_at: float) -> BenchResult:
        course: Course = import_module(COURSE).course_of(wish, self)
        self._course = course
        self._lease = wish.lease
        self._over.clear()
        try:
            await self._recovered.wait()
            record = UnderWay(wish.lease, wish.benchmark, started_at)
            self.telling.journal.save(UNDER_WAY, msgspec.to_builtins(record))
            return await course.run()
        except Exception as error:
            log.error("bench.crashed", lease=wish.lease, benchmark=wish.benchmark, exc_info=error)
            return BenchResult(wish.benchmark, Outcome.ERROR, f"the agent could not run it: {error!r}")
        finally:
            self._course, self._lease = None, ""
            self._over.set()

    def _tell(self, wish: BenchWish, result: BenchResult, started_at: float) -> Done:
        self.telling.tell(BenchEnded(wish.lease, result, started_at, self.clock.wall()))
        log.info("bench.ended", lease=wish.lease, benchmark=wish.benchmark, outcome=result.outcome)
        return Done(f"{wish.benchmark}: {result.outcome}: {result.because}")

    async def _stop(self, lease: str) -> Done:
        self._stopped.append(lease)
        if self._lease != lease:
            return Done(f"nothing runs under the lease {lease}, and nothing will")
        await self._end("its lease was taken back")
        return Done(f"what ran under the lease {lease} has ended")

    async def _end(self, because: str) -> None:
        if self._course is not None:
            self._course.call_off(because)
            await self._over.wait()

    async def _recover(self) -> None:
        if self.telling.journal.load(MODES):
            problems = await import_module(COURSE).restore(self)
            for problem in problems:
                log.error("bench.unfinished", because=problem)
            if not problems:
                log.warning("bench.restored", because="a benchmark was cut off; the GPUs are set as before it")
        self._tell_cut_off()

    def _tell_cut_off(self) -> None:
        state = self.telling.journal.load(UNDER_WAY)
        if not state:
            return
        try:
            record = msgspec.convert(state, type=UnderWay)
        except msgspec.ValidationError as error:
            log.error("bench.forgotten", because=str(error))
        else:
            result = BenchResult(record.benchmark, Outcome.ERROR, "the agent ended while it ran")
            self.telling.tell(BenchEnded(record.lease, result, record.started_at, self.clock.wall()))
        self.telling.journal.save(UNDER_WAY, {})
