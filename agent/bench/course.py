"""One run of one benchmark, from the gate to the result, with nothing of it left at the end.

What it does in which order is here; when it may and when it must stop is the gate's to say (agent/bench/gate.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import structlog

from agent.bench import counters
from agent.bench.child import Progress, Rendezvous
from agent.bench.counters import Counted, NotCounted
from agent.bench.gate import IDLE_S, Gate, Terms
from agent.bench.idleness import Idleness
from agent.bench.lock import NotLocked, locked
from agent.bench.modes import Modes, NotTold
from agent.bench.running import Malformed, Running
from agent.benches import Benches
from agent.plain_text import plain
from agent.sources.child import Child, Slot, whereabouts
from checks.bench_bounds import MOST_FAULTS, bounded
from checks.bench_outcome import Outcome, worst
from checks.bench_result import BenchFault, Benchmark, BenchResult
from wire.bench import BenchWish
from wire.messages import BenchProgress, BenchRendezvous

log = structlog.get_logger()

PROVING_LOOK_S: Final = 0.5
RUNNING_LOOK_S: Final = 0.25
"""Between the beginnings of two looks at the GPUs. Source: the reference of active benchmarks, 250 to 500 ms."""

LEAST_IDLE_S: Final = 0.5
"""A simulated node, whose time flies, is watched so long in any case. Source: our choice, two looks."""

PROVING_LIMIT_S: Final = 10.0
RUNNING_LIMIT_S: Final = 2.0
"""For one look: a driver that initialises its GPUs takes seconds, one that runs has to answer at once. Source: our
choice."""

PROGRESS_S: Final = 1.0
"""How far it is, is told no more often than this."""

MOST_SAID: Final = 500
"""Letters of what a process said, in a sentence."""


def course_of(wish: BenchWish, benches: Benches) -> Course:
    """Return the run of a wish, with nothing begun."""
    now = benches.clock.monotonic()
    lease_ends_s = now + wish.lease_ends_at - benches.clock.wall()
    idle_s = max(LEAST_IDLE_S, IDLE_S / benches.place.speedup)
    terms = Terms(wish.lease, wish.idle_by, lease_ends_s, wish.limit_s, idle_s)
    return Course(wish, benches, Gate(terms, now))


async def restore(benches: Benches) -> tuple[str, ...]:
    """Set the GPUs as they were before a benchmark that the agent did not survive; return what could not be, as
    sentences."""
    child = Child(benches.place.nvml_command, Slot())
    try:
        return await Modes(child, benches.telling.journal, benches.place.boot_id()).restore()
    finally:
        await child.close()


@dataclass(slots=True)
class Course:
    """One run."""

    wish: BenchWish
    benches: Benches
    gate: Gate
    _called_off: asyncio.Event = field(default_factory=asyncio.Event)
    _told_s: float = float("-inf")

    def call_off(self, because: str) -> None:
        """Have it end now."""
        self.gate = self.gate.ended(because)
        self._called_off.set()

    async def run(self) -> BenchResult:
        """Return what it came back with, when nothing of it is left."""
        self.gate = self.gate.agreed(self._now())
        if self.gate.is_shut:
            return self._shut()
        try:
            with locked(self.benches.place.folder) as held:
                self.gate = self.gate.locked(self._now())
                return await self._locked(held)
        except NotLocked as refusal:
            self.gate = self.gate.locked(self._now(), refusal=str(refusal))
            return self._shut()

    async def _locked(self, held: int) -> BenchResult:
        async with self._child() as watching, self._child() as asking:
            modes = Modes(asking, self.benches.telling.journal, self.benches.place.boot_id())
            try:
                before = await counters.count(asking, self.benches.looks)
                await modes.keep()
            except (NotCounted, NotTold) as error:
                self.gate = self.gate.ended(f"it is not known how the GPUs are: {error}")
                return self._shut()
            problems: tuple[str, ...] = ()
            try:
                result = await self._proven(held, self._idleness(watching))
            finally:
                problems = await modes.restore()
            left = tuple(BenchFault("modes", each, severity=Outcome.ERROR) for each in problems)
            if self.gate.ran_since_s is not None:
                left += await self._happened(asking, before)
            return with_faults(result, left)

    async def _proven(self, held: int, idleness: Idleness) -> BenchResult:
        """Return what the benchmark came back with, once the node is proven idle."""
        while not self.gate.is_open and not self.gate.is_shut:
            began = self._now()
            sight = await idleness.look(limit_s=PROVING_LIMIT_S)
            self.gate = self.gate.looked(sight, self._now())
            if not self.gate.is_open:
                await self._pause(began + PROVING_LOOK_S)
        if not self.gate.is_shut:
            self.gate = self.gate.started(self._now())
        return self._shut() if self.gate.is_shut else await self._started(held, idleness)

    async def _started(self, held: int, idleness: Idleness) -> BenchResult:
        command = self.benches.place.command_of(self.wish.benchmark)
        try:
            running = Running(command, held=held, clock=self.benches.clock)
        except OSError as error:
            self.gate = self.gate.ended(f"its process could not be started: {error}")
            return self._shut()
        idleness.session = running.session
        log.info("bench.started", lease=self.wish.lease, benchmark=self.wish.benchmark, process=running.session)
        hearing = asyncio.create_task(self._hear(running), name="a benchmark's lines")
        watching = asyncio.create_task(self._watch(idleness), name="who is on the GPUs")
        stuck: tuple[BenchFault, ...] = ()
        try:
            await asyncio.wait({hearing, watching}, return_when=asyncio.FIRST_COMPLETED)
            if hearing.done() and not self.gate.is_shut:
                self.gate = self.gate.looked(await idleness.look(limit_s=RUNNING_LIMIT_S), self._now())
        finally:
            await _cancelled(hearing, watching)
            stuck = tuple(stuck_fault(pid, self.wish.benchmark) for pid in await running.end())
        result = self._shut() if self.gate.is_shut else hearing.result()
        return with_faults(result, stuck)

    async def _hear(self, running: Running) -> BenchResult:
        """Return the benchmark's result, or what became of it without one."""
        try:
            async with aclosing(running.lines(self.wish)) as lines:
                async for line in lines:
                    if isinstance(line, BenchResult):
                        await running.left()
                        return self._of_this(line)
                    self._pass_on(line)
        except Malformed as error:
            return self._error(f"its process said what is no line of a benchmark: {error}")
        said = running.last_errors[-MOST_SAID:]
        return self._error(f"its process ended without a result{f': {said}' if said else ''}")

    async def _watch(self, idleness: Idleness) -> None:
        """Return when the gate is shut."""
        while not self.gate.is_shut:
            began = self._now()
            sight = await idleness.look(limit_s=RUNNING_LIMIT_S)
            self.gate = self.gate.looked(sight, self._now())
            await self._pause(began + RUNNING_LOOK_S)

    def _pass_on(self, line: Progress | Rendezvous) -> None:
        now = self.benches.clock.wall()
        if isinstance(line, Rendezvous):
            self.benches.telling.tell(BenchRendezvous(self.wish.lease, line.unique_id, now))
        elif self._now() - self._told_s >= PROGRESS_S:
            self._told_s = self._now()
            text = plain(line.text)[:MOST_SAID]
            self.benches.say(BenchProgress(self.wish.lease, self.wish.benchmark, line.share, text, now))

    def _of_this(self, result: BenchResult) -> BenchResult:
        if result.benchmark is self.wish.benchmark:
            return bounded(result)
        return self._error(f"its process gave a result of {result.benchmark}")

    def _error(self, because: str) -> BenchResult:
        return BenchResult(self.wish.benchmark, Outcome.ERROR, plain(because))

    def _shut(self) -> BenchResult:
        return BenchResult(self.wish.benchmark, self.gate.outcome, plain(self.gate.because))

    async def _happened(self, asking: Child, before: Counted) -> tuple[BenchFault, ...]:
        try:
            return counters.grown(before, await counters.count(asking, self.benches.looks))
        except NotCounted as error:
            because = f"it is not known what counted while it ran: {error}"
            return (BenchFault("counter", because, severity=Outcome.ERROR),)

    def _idleness(self, child: Child) -> Idleness:
        return Idleness(
            child,
            self.benches.clock.monotonic,
            self.benches.place.sees_processes,
            is_diagnostics=self.wish.benchmark is Benchmark.DCGM,
        )

    @asynccontextmanager
    async def _child(self) -> AsyncIterator[Child]:
        child = Child(self.benches.place.nvml_command, Slot())
        try:
            yield child
        finally:
            await child.close()

    async def _pause(self, until_s: float) -> None:
        """Wait, but no longer than until it is called off or over."""
        self.gate = self.gate.passed(self._now())
        if self.gate.is_shut:
            return
        sleeping = asyncio.ensure_future(self.benches.clock.sleep(max(0.0, until_s - self._now())))
        called_off = asyncio.create_task(self._called_off.wait())
        try:
            await asyncio.wait({sleeping, called_off}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _cancelled(sleeping, called_off)

    def _now(self) -> float:
        return self.benches.clock.monotonic()


def with_faults(result: BenchResult, faults: Sequence[BenchFault]) -> BenchResult:
    """Return the result with what happened beside it, by which it can get worse and never better."""
    if not faults:
        return result
    outcome = worst((result.outcome, *(fault.severity for fault in faults)))
    because = result.because if outcome is result.outcome else _first_of(faults, outcome)
    kept = result.faults[: MOST_FAULTS - len(faults)]
    return msgspec.structs.replace(result, outcome=outcome, because=because, faults=(*kept, *faults))


def _first_of(faults: Iterable[BenchFault], outcome: Outcome) -> str:
    return next((fault.because for fault in faults if fault.severity is outcome), "")


def stuck_fault(pid: int, benchmark: Benchmark) -> BenchFault:
    """Return that a process stays. In the kernel it waits for hardware, but for a disk that may be a file server's."""
    where = whereabouts(pid)
    is_ours = "state D" in where and benchmark is not Benchmark.STORAGE
    severity = Outcome.FAIL if is_ours else Outcome.ERROR
    return BenchFault("hung", f"process {pid} of it does not die of SIGKILL: it {where}", severity=severity)


async def _cancelled(*tasks: asyncio.Future[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
