"""P(action fixes | class, SKU): whether a fault stayed away after what was done about it.

A repair that was carried out is judged by the verification that follows it, and then by the time in which the same
fault must not come back on the same part. Until that time is over it is pending, also where it is known that the
repair did not help: failures that counted before successes would make every estimate too low.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

from controller.policy.incident import PEOPLE
from controller.policy.reporting.incidents import Open, Try
from controller.policy.reporting.intervals import share_of
from controller.policy.reporting.shapes import FixRow

Cell = tuple[str, str, str]
"""Fault class, SKU and action."""


@dataclass(slots=True)
class Count:
    """What became of the tries of one cell."""

    fixed: int = 0
    not_fixed: int = 0
    not_done: int = 0


@dataclass(slots=True)
class Pending:
    """A repair with a verdict whose time is not over. `fixed`: the fault is away until now."""

    cell: Cell
    place: str
    judged_at: float
    fixed: bool


@dataclass(slots=True)
class Fixes:
    """The table. It holds what is pending, which is bounded by the repairs of one window.

    Attributes:
        lasting_s: how long a fault must stay away.
        since: only what is known for good from here on is counted.
    """

    lasting_s: float
    since: float
    counts: dict[Cell, Count] = field(default_factory=dict)
    _queue: deque[Pending] = field(default_factory=deque)
    _of_part: dict[str, list[Pending]] = field(default_factory=dict)

    def not_done(self, incident: Open, verb: str, at: float) -> None:
        """An action was tried and could not be carried out."""
        if at >= self.since:
            self._count(_cell(incident, verb)).not_done += 1

    def failed(self, incident: Open, tried: Try, at: float) -> None:
        """What was tried did not mend it: its verification failed, or something else had to be done."""
        self._queue.append(Pending(_cell(incident, tried.verb), _place(incident), at, fixed=False))

    def verified(self, incident: Open, tried: Try, at: float) -> None:
        """Fresh readings pass after it."""
        tried.verified_at = at
        pending = Pending(_cell(incident, tried.verb), _place(incident), at, fixed=True)
        self._queue.append(pending)
        self._of_part.setdefault(pending.place, []).append(pending)

    def came_back(self, incident: Open, at: float) -> None:
        """The same fault is there again on the same part."""
        self.settle(at)
        for pending in self._of_part.pop(_place(incident), ()):
            pending.fixed = False

    def settle(self, now: float) -> None:
        """Count every repair whose time is over."""
        while self._queue and self._queue[0].judged_at + self.lasting_s <= now:
            pending = self._queue.popleft()
            self._let_go(pending)
            if pending.judged_at + self.lasting_s < self.since:
                continue
            count = self._count(pending.cell)
            if pending.fixed:
                count.fixed += 1
            else:
                count.not_fixed += 1

    def _let_go(self, settled: Pending) -> None:
        """Nothing that comes back on its part from here on is told of it."""
        left = [each for each in self._of_part.pop(settled.place, ()) if each is not settled]
        if left:
            self._of_part[settled.place] = left

    def _count(self, cell: Cell) -> Count:
        return self.counts.setdefault(cell, Count())

    def rows(self, now: float) -> list[FixRow]:
        """Return the table as it stands at a moment, by class, SKU and action."""
        self.settle(now)
        pending = Counter(each.cell for each in self._queue)
        cells = sorted({*self.counts, *pending})
        return [_row(cell, self.counts.get(cell, Count()), pending[cell]) for cell in cells]


def judge(fixes: Fixes, incident: Open, outcome: str, at: float) -> None:
    """Take in how a verification ended: it judges the last repair, or people's work before a return."""
    if outcome == "done" and incident.in_returning:
        incident.tries.append(Try(PEOPLE, at))
    last = incident.tries[-1] if incident.tries else None
    if last is None or last.verified_at:
        return
    if outcome == "done":
        fixes.verified(incident, last, at)
    elif outcome == "failed":
        fixes.failed(incident, incident.tries.pop(), at)


def superseded(fixes: Fixes, incident: Open, at: float) -> None:
    """Another repair begins, or people get it: what was tried before and never verified did not mend it."""
    if incident.tries and not incident.tries[-1].verified_at:
        fixes.failed(incident, incident.tries.pop(), at)


def _row(cell: Cell, count: Count, pending: int) -> FixRow:
    probability, between = share_of(count.fixed, count.not_fixed)
    return FixRow(*cell, count.fixed, count.not_fixed, pending, count.not_done, probability, between)


def _cell(incident: Open, verb: str) -> Cell:
    return incident.fault_class, incident.sku, verb


def _place(incident: Open) -> str:
    return f"{incident.fault_class}|{incident.part or incident.node}"
