"""The cell's one thread of thought: take events in, believe, decide, commit, and only then act and acknowledge.

Everything that happens goes through one queue, so belief needs no lock and the log has one order. What came together is
decided and committed together: a finding, the incident it opens and the intent to cordon are one transaction.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import structlog

from controller.clock_steps import ClockSteps
from controller.events import ClockSet, Event, Logged, RulesLoaded, incident_of, kind_of, node_of
from controller.policy import folding
from controller.policy.belief import Belief
from controller.policy.decide import decide
from controller.policy.rollout import loaded
from controller.policy.rules import Rules
from controller.store.log import EventLog, Receipt
from controller.store.snapshot import restore
from controller.tracing.moments import Thought
from controller.turns import Turns

log = structlog.get_logger()

MAX_DECISIONS_PER_QUESTION = 100
"""A policy that never comes to rest is a defect: it must not spin for ever and fill the log."""

MAX_BATCH = 2_000
"""So many submissions are thought about at once: more would make the first of them wait for the last."""

TIME_DIGITS = 6
"""A moment of thought is one of whole microseconds: an exported log tells no finer ones, and what is decided by it
again must come out the same (I12)."""

BUSY_TICK_S = 0.2
IDLE_TICK_S = 1.0


@dataclass(slots=True)
class _Pending:
    events: list[Event]
    receipts: list[Receipt]
    since: float
    then: Callable[[list[Logged]], None]


@dataclass(slots=True)
class Cell:
    """Belief, its log, and the loop that joins them.

    Attributes:
        act: called with every entry after its commit, in order; must not block.
        told: called with the same, and with what another controller put into the log; for those who only watch.
        thought: when the batch was thought about that was committed last.
        came_round: called whenever a batch was thought about, or entries of another controller were taken in.
        clock: Unix seconds.
        steps: tells when somebody set that clock.
        busy_tick_s: how often it thinks while something is under way and nothing comes.
    """

    log: EventLog
    rules: Rules
    act: Callable[[Logged], None] = lambda _: None
    clock: Callable[[], float] = time.time
    busy_tick_s: float = BUSY_TICK_S
    belief: Belief = field(default_factory=Belief)
    told: Callable[[Logged], None] = lambda _: None
    steps: ClockSteps = field(default_factory=lambda: ClockSteps(time.monotonic))
    thought: Thought = field(default_factory=Thought)
    came_round: Callable[[], None] = lambda: None
    _inbox: Turns[_Pending] = field(default_factory=Turns)
    _came: asyncio.Event = field(default_factory=asyncio.Event)
    _thought_about: list[_Pending] = field(default_factory=list)
    _committing: asyncio.Future[None] | None = None
    _last_lag_s: float = 0.0

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
                folding.apply(self.belief, entry)
                self.told(entry)
            self.came_round()

    def load_rules(self, why: str = "The controller started with other playbooks, budgets or limits.") -> None:
        """Put it into the log when other rules decide from here on than before, and which playbooks are other ones.

        It goes before all that waits: nothing may be decided by rules that are in force and not yet in the log.
        """
        news: list[Event] = list(loaded(self.belief, self.rules))
        digest = self.rules.digest()
        if digest != self.belief.rules_digest:
            news.append(RulesLoaded(digest, why))
        if news:
            self._inbox.add_first(_Pending(news, [], self.clock(), lambda _: None))
            self._came.set()

    def submit(self, events: list[Event], receipts: list[Receipt] | None = None) -> asyncio.Future[list[Logged]]:
        """Queue events; the future ends when they are committed, with their log entries."""
        committed: asyncio.Future[list[Logged]] = asyncio.get_running_loop().create_future()
        self.hand_in(events, receipts or [], lambda logged: None if committed.done() else committed.set_result(logged))
        return committed

    def hand_in(
        self, events: list[Event], receipts: list[Receipt], then: Callable[[list[Logged]], None], *, node: str = ""
    ) -> None:
        """Queue events; `then` is called with their log entries once they are committed, and must not block or raise.

        It is what `submit` is without its future, which costs more than all else that is done for an edge. `node` is
        whose words they are: they wait for its turn; without one they go before all that nodes say.
        """
        self._inbox.add(_Pending(events, receipts, self.clock(), then), node, events=len(events))
        self._came.set()

    def lag_s(self, now: float) -> float:
        """Return how long the oldest thing waits that is not decided yet, or how long the last one did."""
        waiting = self._thought_about or self._inbox.oldest()
        oldest = min((pending.since for pending in waiting), default=now - self._last_lag_s)
        return max(now - oldest, self._last_lag_s)

    async def caught_up(self) -> None:
        """Wait until what is believed now is in the log: belief is ahead of it while a batch is committed."""
        if self._committing is not None and not self._committing.done():
            await asyncio.shield(self._committing)

    async def run(self) -> None:
        """Think until cancelled.

        Raises:
            StoreError: the log cannot be written. Nothing was acted on or acknowledged that is not in it.
        """
        while True:
            self._thought_about = await self._next_batch()
            await self._think(self._thought_about)
            self._thought_about = []
            self.came_round()

    async def _next_batch(self) -> list[_Pending]:
        busy = self.belief.open_incidents or self.belief.silent or self.belief.bench.open_runs
        tick_s = self.busy_tick_s if busy else IDLE_TICK_S
        with contextlib.suppress(TimeoutError):
            # Not asyncio.wait_for: in Python 3.11 it can swallow a cancellation, and the cell would never stop.
            async with asyncio.timeout(tick_s):
                await self._came.wait()
        batch = self._inbox.take(MAX_BATCH)
        if not self._inbox:
            self._came.clear()
        return batch

    async def _think(self, batch: list[_Pending]) -> None:
        now = round(self.clock(), TIME_DIGITS)
        self._committing = asyncio.get_running_loop().create_future()
        set_clock = [self._believe(event, now) for event in self._clock_set()]
        answers = [(pending, [self._believe(event, now) for event in pending.events]) for pending in batch]
        entries = set_clock + [entry for _, believed in answers for entry in believed]
        entries += self._decide(now)
        decided = self.clock()
        receipts = [receipt for pending in batch for receipt in pending.receipts]
        if entries or receipts:
            await self.log.append(entries, receipts)
        self._committing.set_result(None)
        self.thought = Thought(now, decided, self.clock())
        self._last_lag_s = self.thought.committed - min((pending.since for pending in batch), default=now)
        for pending, believed in answers:
            pending.then(believed)
        for entry in entries:
            _tell(entry)
            self.act(entry)
            self.told(entry)

    def _believe(self, event: Event, now: float) -> Logged:
        entry = Logged(self.belief.last_event_id + 1, now, event)
        folding.apply(self.belief, entry)
        return entry

    def _clock_set(self) -> Iterator[Event]:
        """Yield that somebody set the clock since the last thought, before anything is decided by what it shows."""
        if step_s := self.steps.look():
            because = "The wall clock went another way than the one that nobody sets; what is under way goes on."
            yield ClockSet(round(step_s, TIME_DIGITS), because)

    def _decide(self, now: float) -> list[Logged]:
        decided: list[Logged] = []
        questions, before = self._questions(), -1
        while len(decided) > before:
            before = len(decided)
            for event in decide(self.belief, self.rules, now):
                decided.append(self._believe(event, now))
                questions = max(questions, self._questions())
                if len(decided) > questions * MAX_DECISIONS_PER_QUESTION:
                    raise RuntimeError(f"the policy does not come to rest; last decision: {event!r}")
        return decided

    def _questions(self) -> int:
        believed = self.belief
        open_ones = len(believed.open_incidents) + len(believed.unanswered) + len(believed.silent)
        judged = {node for _, node in believed.bench.unjudged if node in believed.nodes}
        standing = sum(len(believed.nodes[node].findings) for node in judged)
        return 1 + open_ones + standing + believed.bench.questions + believed.sweeps.questions


_QUIET = frozenset(
    {
        "checks.changed",
        "finding.cleared",
        "finding.left",
        "finding.raised",
        "node.placed",
        "node.seen",
        "schedule.observed",
    }
)
"""What nodes say by the thousand: it is in the event log, and a line for each would cost as much as taking it in."""


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
