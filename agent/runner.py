"""Keeps time for the checks: when each source is read, and what becomes of one that fails or is late.

Each polled source has its own task and its own beat, and the kernel log is followed as it is written. What is read goes
to the desk (agent/desk.py), which judges it. Nothing here waits for a source that does not answer: its checks become
`unknown`, and the watchdog is no longer fed.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

import msgspec
import structlog

from agent.clock import Clock
from agent.desk import Desk
from agent.sources.source import PolledSource, StreamedSource, Timing
from agent.status import Unsent, build_status, learn_gpus, learn_ports, learn_switches, place
from checks.check import Check, LatchedCheck, LevelCheck
from checks.errors import CannotObserve
from checks.kernel_log import believed
from checks.manifest import Manifest
from checks.measures import MEASURED, measures_of
from checks.node_counters import COUNTED, RECENT_S, counters_of
from checks.readings import (
    AgentReading,
    InventoryReading,
    KernelLogState,
    KernelRecord,
    LastEnd,
    LldpReading,
    NvmlReading,
    RdmaReading,
    Reading,
    SourceState,
)
from checks.stocktaking import SOURCES, manifest_of
from wire.messages import CheckLevel, NodeFacts, NodeHold, Status
from wire.orders import OrderAction

log = structlog.get_logger()

KERNEL_LOG: Final = KernelLogState.SOURCE
NVML: Final = NvmlReading.SOURCE
ITSELF: Final = AgentReading.SOURCE
INVENTORY: Final = InventoryReading.SOURCE
OWN_INTERVAL_S: Final = 10.0
"""How often the agent looks at itself."""

KERNEL_LINES_KEPT: Final = 200
RECORDS_PER_TURN: Final = 256
"""After so many records in one go the other tasks get their turn: a flood must not starve them."""

FIRST_RETRY_S: Final = 1.0
LAST_RETRY_S: Final = 60.0
OVERDUE_LOOK_S: Final = 1.0
SETTLE_S: Final = 1.0
"""Between the readings that an order forces until hysteresis has settled."""


def _no_hold() -> None:
    """Return nothing: most nodes are held by a scheduler."""


class Depth(Protocol):
    """What the level says of the outbox."""

    def depth(self) -> int:
        """Return how many events wait."""
        ...


@dataclass(frozen=True, slots=True)
class KernelLog:
    """The kernel log as the runner is given it.

    Attributes:
        state_interval_s: how often its state is judged.
        accept_userspace: believe records that any process could have written.
    """

    source: StreamedSource
    state_interval_s: float = 10.0
    accept_userspace: bool = False


@dataclass(slots=True)
class Feed:
    """One source, and how well it answers.

    Attributes:
        checks: those that it feeds.
        budget_s: it is overdue when it has not answered for longer than this.
        answered_at: monotonic time of its last answer, good or bad; of the start before the first.
        readings, reading_s: how often it was read, and how long that took altogether; last_reading_s: the last time.
        stuck: why nothing of it can be started any more, empty while it can.
        wake: set when the next reading is wanted at once.
        lock: one reading of a source at a time.
    """

    name: str
    checks: tuple[LevelCheck, ...]
    budget_s: float
    answered_at: float
    answered: bool = False
    overdue: bool = False
    readings: int = 0
    reading_s: float = 0.0
    last_reading_s: float = 0.0
    stuck: str = ""
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Runner:
    """The sources of one node, being read.

    Attributes:
        records_ignored: kernel-log records that were not believed.
        first_look: set once every source has answered or is overdue.
        hold: says who holds the node, where it holds itself.
    """

    def __init__(
        self,
        desk: Desk,
        *,
        sources: Sequence[PolledSource],
        kernel_log: KernelLog,
        outbox: Depth,
        facts: NodeFacts,
        last_end: LastEnd | None = None,
        clock: Clock | None = None,
        phase: Callable[[], float] = random.random,
    ) -> None:
        """Read nothing yet.

        Args:
            last_end: how the boot before this one ended.
            phase: gives a number in [0, 1) per source, so that a fleet that starts together does not read together.
        """
        self.records_ignored = 0
        self.hold: Callable[[], NodeHold | None] = _no_hold
        self.first_look = asyncio.Event()
        self._parts_seen = asyncio.Event()
        self._desk, self._outbox, self._facts = desk, outbox, facts
        self._told = facts.places
        self._clock = clock or Clock()
        self._phase = phase
        self._started_at = self._clock.wall()
        self._kernel_log = kernel_log
        self._last_end = last_end
        self._sources = {source.name: source for source in sources}
        self._feeds = {source.name: self._feed(source.name, _budget_s(source.timing)) for source in sources}
        self._feeds[KERNEL_LOG] = self._feed(KERNEL_LOG, 3 * kernel_log.state_interval_s)
        self._feeds[ITSELF] = self._feed(ITSELF, 3 * OWN_INTERVAL_S)
        self._lines: deque[str] = deque(maxlen=KERNEL_LINES_KEPT)
        self._believed: deque[str] = deque(maxlen=KERNEL_LINES_KEPT)
        self._records = 0
        self._forced: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Read every source until cancelled; no reading goes on after that."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._follow_kernel_log())
                tasks.create_task(self._repeat(self._feeds[KERNEL_LOG], self._kernel_log.state_interval_s))
                tasks.create_task(self._repeat(self._feeds[ITSELF], OWN_INTERVAL_S))
                tasks.create_task(self._watch_overdue())
                for name in self._sources:
                    tasks.create_task(self._poll(name))
        finally:
            forced = tuple(self._forced)
            for reading in forced:
                reading.cancel()
            await asyncio.gather(*forced, return_exceptions=True)

    def allow(self, orders: Iterable[OrderAction]) -> None:
        """Tell from here on that the node may be asked for these."""
        self._facts = msgspec.structs.replace(self._facts, orders_allowed=sorted(orders))

    async def run_checks(self, ids: Iterable[str]) -> dict[str, CheckLevel]:
        """Judge these checks on readings that begin after this call, and return how they stand.

        A source is read again until the hysteresis of its checks has settled, so that the level is what the fresh
        readings say. A source without an answer in time makes its checks `unknown`.
        """
        names = frozenset(ids)
        wanted = [check for check in self._desk.checks if check.id in names]
        sources = {source for check in wanted for source in sources_of(check)} & self._feeds.keys()
        for turn in (sources - {INVENTORY}, sources & {INVENTORY}):
            await asyncio.gather(*(self._read_until_settled(self._feeds[source], wanted) for source in sorted(turn)))
        for check in wanted:
            if isinstance(check, LevelCheck) and check.source not in self._feeds:
                self._desk.blind((check,), code="unobserved", because=f"this node has no source {check.source}")
        return self._desk.levels([check.id for check in wanted])

    def status(self) -> Status:
        """Return the whole level of the node."""
        return build_status(
            self._desk.book,
            facts=self._facts,
            levels=self._desk.levels(self._desk.check_ids),
            unsent=Unsent(self._outbox.depth(), self._desk.last_event_seq),
            agent_started_at=self._started_at,
            observed_at=self._clock.wall(),
            measures=self._measures(),
            hold=self.hold(),
            counters=counters_of(self._recent()),
        )

    def _measures(self) -> dict[str, float]:
        """Return what is compared with other nodes."""
        return measures_of(self._fresh(MEASURED))

    def _fresh(self, sources: Iterable[str]) -> Iterator[Any]:
        """Yield the newest reading of each source; one that is overdue says nothing of now."""
        newest, now = self._desk.newest(), self._clock.monotonic()
        for feed in (self._feeds[source] for source in sources if source in self._feeds and source in newest):
            if now - newest[feed.name].at_s <= feed.budget_s:
                yield newest[feed.name]

    def _recent(self) -> Iterator[Any]:
        """Yield of each source whose newest reading is fresh that one, and the ones shortly before it."""
        for newest in self._fresh(COUNTED):
            for reading in self._desk.newest_first(type(newest).SOURCE):
                if reading.at_s < newest.at_s - RECENT_S:
                    break
                yield reading

    @property
    def meets_budget(self) -> bool:
        """Whether every source answered in time; the watchdog is fed only then."""
        now = self._clock.monotonic()
        return all(now - feed.answered_at <= feed.budget_s for feed in self._feeds.values())

    @property
    def feeds(self) -> Mapping[str, Feed]:
        """Every source, by its name."""
        return self._feeds

    @property
    def records(self) -> int:
        """How many kernel-log records were read."""
        return self._records

    @property
    def kernel_lines(self) -> tuple[str, ...]:
        """The last kernel-log lines, oldest first, believed or not."""
        return tuple(self._lines)

    @property
    def believed_lines(self) -> tuple[str, ...]:
        """The last of them that are believed, oldest first."""
        return tuple(self._believed)

    @property
    def last_readings(self) -> Mapping[str, Any]:
        """The newest reading of each source that has one."""
        return self._desk.newest()

    def _feed(self, name: str, budget_s: float) -> Feed:
        return Feed(name, self._desk.fed_by(name), budget_s, self._clock.monotonic())

    async def _poll(self, name: str) -> None:
        """Read at once, then on a beat that does not drift; beats missed by a slow reading are left out.

        The beat is fast while something smoulders, and a reading that is wanted at once begins a new one.
        """
        feed, timing = self._feeds[name], self._sources[name].timing
        if name == INVENTORY:
            await self._parts_seen.wait()
        beat_at = self._clock.monotonic() - timing.interval_s * (1.0 - self._phase()) / 2
        while True:
            await self._read(feed)
            now = self._clock.monotonic()
            interval_s = timing.fast_interval_s if self._desk.smoulders(self._watched(feed)) else timing.interval_s
            next_at = beat_at + interval_s * max(1, math.ceil((now - beat_at) / interval_s))
            is_wanted = await self._sleep(feed, next_at - now)
            beat_at = self._clock.monotonic() if is_wanted else next_at

    def _watched(self, feed: Feed) -> frozenset[str]:
        """Return the checks whose unrest makes the source be read faster: what NVML says releases what is latched."""
        fed: tuple[Check, ...] = feed.checks
        released = self._desk.latched_checks if feed.name == NVML else ()
        return frozenset(check.id for check in (*fed, *released))

    async def _sleep(self, feed: Feed, seconds: float) -> bool:
        """Sleep until the next beat; return whether a reading was wanted before that."""
        beat = asyncio.ensure_future(self._clock.sleep(seconds))
        wanted = asyncio.ensure_future(feed.wake.wait())
        try:
            await asyncio.wait({beat, wanted}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            beat.cancel()
            wanted.cancel()
        was_wanted = feed.wake.is_set()
        feed.wake.clear()
        return was_wanted

    async def _read(self, feed: Feed) -> None:
        """Take one reading of the source and have it judged."""
        async with feed.lock:
            began, began_at = self._clock.monotonic(), self._clock.wall()
            if feed.name == KERNEL_LOG:
                self._desk.take(self._kernel_log.source.state(), began=began, began_at=began_at)
            elif feed.name == ITSELF:
                self._desk.take(self._look_at_itself(), began=began, began_at=began_at)
            else:
                await self._read_source(feed)
            self._answer(feed, began)

    async def _read_source(self, feed: Feed) -> None:
        began, began_at = self._clock.monotonic(), self._clock.wall()
        try:
            reading = await self._sources[feed.name].read()
        except CannotObserve as error:
            feed.stuck = str(error) if error.stuck else ""
            self._desk.take_failure(feed.name, code="unobserved", because=str(error))
        except Exception as error:
            self._desk.note_crash(feed.name, error)
            self._desk.take_failure(feed.name, code="crashed", because=f"the source {feed.name} crashed: {error!r}")
        else:
            feed.stuck = ""
            if isinstance(reading, InventoryReading):
                reading = replace(reading, found=self._take_stock(reading))
            self._learn(reading)
            self._desk.take(reading, began=began, began_at=began_at)

    def _take_stock(self, reading: InventoryReading) -> Manifest:
        """Return what the host is made of, by readings that are not overdue."""
        newest = self._desk.newest()
        fresh = {name: newest[name] for name in SOURCES & newest.keys() & self._feeds.keys()}
        return manifest_of(
            {name: each for name, each in fresh.items() if reading.at_s - each.at_s <= self._feeds[name].budget_s},
            kernel=reading.kernel,
        )

    def _look_at_itself(self) -> AgentReading:
        now = self._clock.monotonic()
        others = [feed for feed in self._feeds.values() if feed.name != ITSELF]
        states = tuple(SourceState(feed.name, max(0.0, now - feed.answered_at), feed.stuck) for feed in others)
        return AgentReading(now, states, self._last_end)

    def _learn(self, reading: Reading) -> None:
        if isinstance(reading, NvmlReading):
            self._facts = learn_gpus(self._facts, reading)
        elif isinstance(reading, RdmaReading):
            self._facts = learn_ports(self._facts, reading)
        elif isinstance(reading, LldpReading):
            self._facts = learn_switches(self._facts, reading)
        self._facts = place(self._facts, self._told)

    def _answer(self, feed: Feed, began: float) -> None:
        feed.answered_at, feed.answered, feed.overdue = self._clock.monotonic(), True, False
        feed.last_reading_s = feed.answered_at - began
        feed.readings, feed.reading_s = feed.readings + 1, feed.reading_s + feed.last_reading_s
        self._note_first_look()

    def _note_first_look(self) -> None:
        waiting = {feed.name for feed in self._feeds.values() if not feed.answered and not feed.overdue}
        if not waiting & SOURCES:
            self._parts_seen.set()
        if not waiting:
            self.first_look.set()

    async def _read_until_settled(self, feed: Feed, wanted: Sequence[Check]) -> None:
        fed = [check for check in feed.checks if check in wanted]
        most = max([1, *(check.policy.settles_after for check in fed)])
        for count in range(1, most + 1):
            if not await self._read_in_time(feed):
                because = f"no fresh reading from {feed.name} within {feed.budget_s:g} s"
                self._desk.blind(fed, code="overdue", because=because)
                return
            if count == most or not self._desk.is_unsettled(fed):
                return
            await self._clock.sleep(SETTLE_S)

    async def _read_in_time(self, feed: Feed) -> bool:
        """Read, and return whether it ended in time. A reading that is late is left to end by itself."""
        reading = asyncio.create_task(self._read(feed))
        self._forced.add(reading)
        reading.add_done_callback(self._forced.discard)
        late = asyncio.ensure_future(self._clock.sleep(feed.budget_s))
        await asyncio.wait({reading, late}, return_when=asyncio.FIRST_COMPLETED)
        late.cancel()
        return reading.done() and not reading.cancelled()

    async def _follow_kernel_log(self) -> None:
        retry_s = FIRST_RETRY_S
        while True:
            try:
                async for record in self._kernel_log.source.records():
                    retry_s = FIRST_RETRY_S
                    await self._take_record(record)
                because = "the stream ended"
            except CannotObserve as error:
                because = str(error)
            except Exception as error:
                self._desk.note_crash(KERNEL_LOG, error)
                because = f"the source crashed: {error!r}"
            log.warning("kernel_log.interrupted", because=because, retry_s=retry_s)
            await self._clock.sleep(retry_s)
            retry_s = min(2 * retry_s, LAST_RETRY_S)

    async def _take_record(self, record: KernelRecord) -> None:
        is_believed = believed(record, accept_userspace=self._kernel_log.accept_userspace)
        if self._desk.take_record(record, is_believed=is_believed) and NVML in self._feeds:
            self._feeds[NVML].wake.set()
        self._lines.append(record.text)
        if is_believed:
            self._believed.append(record.text)
        self.records_ignored += not is_believed
        self._records += 1
        if self._records % RECORDS_PER_TURN == 0:
            await asyncio.sleep(0)

    async def _repeat(self, feed: Feed, interval_s: float) -> None:
        while True:
            await self._read(feed)
            await self._clock.sleep(interval_s)

    async def _watch_overdue(self) -> None:
        while True:
            await self._clock.sleep(OVERDUE_LOOK_S)
            now = self._clock.monotonic()
            for feed in self._feeds.values():
                late_s = now - feed.answered_at
                if late_s > feed.budget_s and not feed.overdue:
                    feed.overdue = True
                    log.warning("source.overdue", source=feed.name, late_s=late_s)
                    self._desk.take_failure(feed.name, code="overdue", because=f"no reading for {late_s:.0f} s")
                    self._note_first_look()


def _budget_s(timing: Timing) -> float:
    return 2 * timing.interval_s + timing.deadline_s


def sources_of(check: Check) -> tuple[str, ...]:
    """Return the sources whose fresh readings say how the check stands: NVML readings release what is latched, and the
    inventory is taken by what all others read."""
    if isinstance(check, LatchedCheck):
        return (NVML, KERNEL_LOG)
    return (*SOURCES, INVENTORY) if check.source == INVENTORY else (check.source,)
