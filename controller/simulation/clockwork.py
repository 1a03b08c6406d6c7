"""The cell of a simulation: the real belief and the real policy, on a clock that jumps to the next thing that happens.

A controller thinks five times a second. Here it thinks when something happens, and in between the more seldom the
longer nothing was decided: a limit of time is noticed late by a tenth of that at most.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Final, Protocol

from controller.events import Event, FindingCleared, FindingLeft, Logged
from controller.policy import folding
from controller.policy.belief import Belief
from controller.policy.decide import decide
from controller.policy.rules import Rules

FIRST_TICK_S: Final = 1.0
LONGEST_TICK_S: Final = 300.0
SHARE_OF_QUIET: Final = 0.1

TIME_DIGITS: Final = 6
MOMENT_S: Final = 10.0**-TIME_DIGITS
"""Moments are of whole microseconds, as a controller's are: an exported log tells no finer ones, and what is decided by
it again must come out the same (I12)."""

EPOCH: Final = 1_750_000_000.0
"""Unix time at which a simulation begins. Source: our choice."""


class Clock(Protocol):
    """The cell that looks at the world. `now`: Unix seconds."""

    @property
    def now(self) -> float:
        """The moment."""

    @property
    def rules(self) -> Rules:
        """What the cell decides by."""

    @property
    def belief(self) -> Belief:
        """What the cell believes."""

    def after(self, delay_s: float, act: Callable[[], None]) -> None:
        """Have something happen so long from now."""

    def happen(self, *said: Event) -> None:
        """Let the cell know what happened."""


@dataclass(slots=True)
class Clockwork:
    """Runs what is to happen in its order, and has the policy decide.

    Attributes:
        heard: told of every entry of the log, in order.
        now: Unix seconds.
    """

    rules: Rules
    heard: list[Callable[[Logged], None]] = field(default_factory=list)
    belief: Belief = field(default_factory=Belief)
    now: float = EPOCH
    _due: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _order: Iterator[int] = field(default_factory=count)
    _moved_at: float = EPOCH
    _thought_at: float = EPOCH
    _happened: list[Event] = field(default_factory=list)

    def after(self, delay_s: float, act: Callable[[], None]) -> None:
        """Have something happen so long from now."""
        heapq.heappush(self._due, (self.now + delay_s, next(self._order), act))

    def happen(self, *said: Event) -> None:
        """Believe that something happened now; what follows from it is decided once all of this moment happened."""
        for event in said:
            self._believe(event)
            self._happened.append(event)

    def run(self, until: float) -> None:
        """Go on until that moment, Unix seconds."""
        while self._next_at() <= until:
            self.now = round(self._next_at(), TIME_DIGITS)
            while self._due and self._due[0][0] <= self.now + MOMENT_S:
                heapq.heappop(self._due)[2]()
            self._rest()
        self.now = until

    def _next_at(self) -> float:
        due = self._due[0][0] if self._due else float("inf")
        if not self._is_busy:
            return due
        wait_s = SHARE_OF_QUIET * (self._thought_at - self._moved_at)
        return min(due, self._thought_at + min(max(FIRST_TICK_S, wait_s), LONGEST_TICK_S))

    @property
    def _is_busy(self) -> bool:
        return bool(self.belief.open_incidents or self.belief.silent)

    def _rest(self) -> None:
        """Decide until nothing is left to decide."""
        self._thought_at = self.now
        news = self._news()
        some = True
        while some:
            some = False
            for event in decide(self.belief, self.rules, self.now):
                some = True
                self._believe(event)
                news += -1 if isinstance(event, FindingLeft) else 1
        if news > 0:
            self._moved_at = self.now
        self._happened.clear()

    def _news(self) -> int:
        """Return how much happened that something may follow from, now or later. What is left alone is taken off."""
        open_on = self.belief.open_on
        return sum(not isinstance(e, FindingCleared) or bool(open_on(e.node)) for e in self._happened)

    def _believe(self, event: Event) -> None:
        entry = Logged(self.belief.last_event_id + 1, self.now, event)
        folding.apply(self.belief, entry)
        for hear in self.heard:
            hear(entry)
