"""The cell's one thread of thought: take events in, believe, decide, commit, and only then act and acknowledge.

Everything that happens goes through one queue, so belief needs no lock and the log has one order. What came together is
decided and committed together: a finding, the incident it opens and the intent to cordon are one transaction.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from controller.events import Event, Logged, incident_of, kind_of, node_of
from controller.policy.belief import Belief
from controller.policy.decide import decide
from controller.policy.rules import Rules
from controller.store.log import EventLog, Receipt
from controller.store.snapshot import restore

log = structlog.get_logger()

MAX_DECISIONS_PER_BATCH = 10_000
"""A policy that never comes to rest is a defect: it must not spin for ever and fill the log."""

BUSY_TICK_S = 0.2
IDLE_TICK_S = 1.0


@dataclass(slots=True)
class _Pending:
    events: list[Event]
    receipts: list[Receipt]
    committed: asyncio.Future[list[Logged]]


@dataclass(slots=True)
class Cell:
    """Belief, its log, and the loop that joins them.

    Attributes:
        act: called with every entry after its commit, in order; must not block.
        clock: Unix seconds.
    """

    log: EventLog
    rules: Rules
    act: Callable[[Logged], None] = lambda _: None
    clock: Callable[[], float] = time.time
    belief: Belief = field(default_factory=Belief)
    lag_s: float = 0.0
    _inbox: asyncio.Queue[_Pending] = field(default_factory=asyncio.Queue)

    def recall(self) -> int:
        """Believe what the log says: its newest snapshot and all that came after; return how many entries those were.

        Raises:
            StoreError: the log cannot be read, or not by this version.
        """
        self.belief, count = restore(self.log)
        return count

    async def catch_up(self) -> None:
        """Believe what another controller has put into the log since.

        Raises:
            StoreError: the log cannot be read now.
        """
        while entries := await self.log.follow(after=self.belief.last_event_id):
            if entries[0].event_id != self.belief.last_event_id + 1:
                self.recall()
                continue
            for entry in entries:
                self.belief.apply(entry)

    def submit(self, events: list[Event], receipts: list[Receipt] | None = None) -> asyncio.Future[list[Logged]]:
        """Queue events; the future ends when they are committed, with their log entries."""
        committed: asyncio.Future[list[Logged]] = asyncio.get_running_loop().create_future()
        self._inbox.put_nowait(_Pending(events, receipts or [], committed))
        return committed

    async def run(self) -> None:
        """Think until cancelled.

        Raises:
            StoreError: the log cannot be written. Nothing was acted on or acknowledged that is not in it.
        """
        while True:
            batch = await self._next_batch()
            await self._think(batch)

    async def _next_batch(self) -> list[_Pending]:
        tick_s = BUSY_TICK_S if self.belief.open_incidents or self.belief.silent else IDLE_TICK_S
        batch: list[_Pending] = []
        with contextlib.suppress(TimeoutError):
            # Not asyncio.wait_for: in Python 3.11 it can swallow a cancellation, and the cell would never stop.
            async with asyncio.timeout(tick_s):
                batch.append(await self._inbox.get())
        while not self._inbox.empty():
            batch.append(self._inbox.get_nowait())
        return batch

    async def _think(self, batch: list[_Pending]) -> None:
        now = self.clock()
        answers = [(pending, [self._believe(event, now) for event in pending.events]) for pending in batch]
        entries = [entry for _, believed in answers for entry in believed]
        entries += self._decide(now)
        receipts = [receipt for pending in batch for receipt in pending.receipts]
        if entries or receipts:
            await self.log.append(entries, receipts)
        self.lag_s = self.clock() - now
        for pending, believed in answers:
            if not pending.committed.done():
                pending.committed.set_result(believed)
        for entry in entries:
            _tell(entry)
            self.act(entry)

    def _believe(self, event: Event, now: float) -> Logged:
        entry = Logged(self.belief.last_event_id + 1, now, event)
        self.belief.apply(entry)
        return entry

    def _decide(self, now: float) -> list[Logged]:
        decided: list[Logged] = []
        while decisions := decide(self.belief, self.rules, now):
            decided += [self._believe(event, now) for event in decisions]
            if len(decided) > MAX_DECISIONS_PER_BATCH:
                raise RuntimeError(f"the policy does not come to rest; last decision: {decided[-1].event!r}")
        return decided


_QUIET = frozenset({"checks.changed", "node.seen", "schedule.observed"})


def _tell(entry: Logged) -> None:
    kind = kind_of(entry.event)
    if kind in _QUIET:
        return
    reason = getattr(entry.event, "reason", None)
    log.info(
        kind,
        event_id=entry.event_id,
        node=node_of(entry.event),
        incident_id=incident_of(entry.event),
        because=reason.because if reason else getattr(entry.event, "because", ""),
        step=getattr(entry.event, "step", ""),
        outcome=getattr(entry.event, "outcome", ""),
    )
