"""A node for tests of the agent's core: a clock moved by hand, sources that say what a test tells them to."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from agent.clock import Clock
from agent.machine import ActionFailed, ActionRefused, Done
from agent.sources.source import Timing
from checks.readings import GpuReading, KernelLogState, KernelRecord, NvmlReading
from wire.messages import EventBody, FindingCleared, FindingRaised

EPOCH = 1_700_000_000.0
UUID = "GPU-11111111-2222-3333-4444-555555555555"
PCI = "0000:3b:00"


async def settle() -> None:
    """Let every task run until all of them wait for something."""
    for _ in range(50):
        await asyncio.sleep(0)


@dataclass(slots=True)
class ManualClock:
    """Time that moves only when a test says so."""

    now: float = 1_000.0
    _sleepers: list[tuple[float, int, asyncio.Future[None]]] = field(default_factory=list)
    _count: itertools.count[int] = field(default_factory=itertools.count)

    @property
    def clock(self) -> Clock:
        """The clock to give to what is tested."""
        return Clock(wall=lambda: EPOCH + self.now, monotonic=lambda: self.now, sleep=self._sleep)

    async def _sleep(self, seconds: float) -> None:
        sleeper: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + max(0.0, seconds), next(self._count), sleeper))
        await sleeper

    async def advance(self, seconds: float) -> None:
        """Move on, waking sleepers one by one at their own times."""
        target = self.now + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= target:
            self.now, _, sleeper = heapq.heappop(self._sleepers)
            if not sleeper.done():
                sleeper.set_result(None)
            await settle()
        self.now = target


STEADY = Timing(interval_s=10.0, fast_interval_s=10.0, deadline_s=5.0)


@dataclass(slots=True)
class ScriptedSource:
    """A polled source that answers what `answer` returns or raises, once `gate` is open."""

    name: str
    answer: Callable[[], Any]
    timing: Timing = STEADY
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    clock: ManualClock | None = None
    began: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begin with the gate open."""
        self.gate.set()

    async def read(self) -> Any:
        """Answer as told, as of the moment at which the reading began."""
        self.began.append(self.clock.now if self.clock else 0.0)
        answer = self.answer
        await self.gate.wait()
        return answer()

    async def close(self) -> None:
        """Nothing is kept running."""


@dataclass(slots=True)
class ScriptedLog:
    """A kernel log into which a test writes."""

    name: str = "kernel_log"
    readable: bool = True
    because: str = ""
    lines: asyncio.Queue[KernelRecord | Exception] = field(default_factory=asyncio.Queue)
    _sequence: itertools.count[int] = field(default_factory=itertools.count)

    def write(self, text: str, *, facility: int | None = 0) -> None:
        """Write a record as the kernel would."""
        sequence = next(self._sequence)
        self.lines.put_nowait(KernelRecord(float(sequence), text, facility, 3, sequence))

    def interrupt(self, error: Exception) -> None:
        """Let the stream fail."""
        self.lines.put_nowait(error)

    async def records(self) -> AsyncIterator[KernelRecord]:
        """Yield what is written."""
        while True:
            line = await self.lines.get()
            if isinstance(line, Exception):
                raise line
            yield line

    def backlog(self) -> Iterator[KernelRecord]:
        """Yield what was written."""
        while not self.lines.empty():
            line = self.lines.get_nowait()
            if isinstance(line, Exception):
                raise line
            yield line

    def state(self) -> KernelLogState:
        """Return what the test set."""
        return KernelLogState(0.0, self.readable, self.because)


@dataclass(slots=True)
class MemoryJournal:
    """The outbox's contract without a disk; what is in it survives a restart of the agent in the same test."""

    events: list[EventBody] = field(default_factory=list)
    state: dict[str, dict[str, Any]] = field(default_factory=dict)
    waiting: int = 0

    def put(self, body: EventBody, observed_at: float) -> int:
        """Keep the event."""
        assert body.observed_at == observed_at
        self.events.append(body)
        return len(self.events)

    def depth(self) -> int:
        """Return how many events a test says are waiting."""
        return self.waiting

    def load(self, key: str) -> dict[str, Any]:
        """Return what was saved."""
        return self.state.get(key, {})

    def save(self, key: str, value: dict[str, Any]) -> None:
        """Keep the value."""
        self.state[key] = value

    def told(self) -> list[str]:
        """Return the edges as `+check|device|code verdict` and `-check|device|code`."""
        return [text for event in self.events if (text := _short(event))]


def _short(event: EventBody) -> str:
    if isinstance(event, FindingRaised):
        finding = event.finding
        return f"+{finding.check}|{finding.device}|{finding.code} {finding.verdict}"
    if isinstance(event, FindingCleared):
        return f"-{event.key.check}|{event.key.device}|{event.key.code}"
    return ""


@dataclass(slots=True)
class ScriptedMachine:
    """A machine whose hands do what a test says."""

    simulated: bool = True
    boot: str = "boot-1"
    did: list[str] = field(default_factory=list)
    failure: ActionFailed | ActionRefused | RuntimeError | None = None
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        """Begin with the gate open."""
        self.gate.set()

    def boot_id(self) -> str:
        """Return the boot the test set."""
        return self.boot

    async def reset_gpu(self, device: str, *, neighbours: bool = False) -> Done:
        """Note it, and end as told."""
        return await self._do(f"reset_gpu {device}{' and neighbours' if neighbours else ''}")

    async def reload_driver(self) -> Done:
        """Note it, and end as told."""
        return await self._do("reload_driver")

    async def recover(self) -> str:
        """Note it, and end as told."""
        return (await self._do("recover")).because

    async def restart_service(self, service: str) -> Done:
        """Note it, and end as told."""
        return await self._do(f"restart_service {service}")

    async def reboot(self, *, force: bool = False) -> Done:
        """Note it, and end as told."""
        return await self._do("reboot by force" if force else "reboot")

    async def inject_fault(self, fault: str, *, device: str, parameters: dict[str, str]) -> Done:
        """Note it, and end as told."""
        return await self._do(f"inject_fault {fault} {device} {parameters.get('repair', '')}")

    async def _do(self, what: str) -> Done:
        self.did.append(what)
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return Done(f"did {what}", {"output.txt": what})


def nvml(at_s: float, **gpu: Any) -> NvmlReading:
    """Return a reading of one GPU."""
    one = GpuReading(0, UUID, PCI, serial="S1", name="H100", **gpu)
    return NvmlReading(at_s, (one,), driver_version="580.1", known_gpus={UUID: PCI})
