"""P(action fixes | class, SKU): whether a fault stayed away after what was done about it.

A repair that was carried out is judged by the verification that follows it, and then by the time in which the same
fault must not come back on the same part. Until that is over it is pending and counts for nothing.
"""

from __future__ import annotations

from collections import deque
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
    """A verified fix whose time is not over. `settled`: it was counted."""

    cell: Cell
    verified_at: float
    settled: bool = False


@dataclass(slots=True)
class Fixes:
    """The table. It holds what is pending, which is bounded by the verified repairs of one window.

    Attributes:
        lasting_s: how long a fault must stay away.
        since: only what was tried from here on is counted.
    """

    lasting_s: float
    since: float
    counts: dict[Cell, Count] = field(default_factory=dict)
    _queue: deque[tuple[str, Pending]] = field(default_factory=deque)
    _of_part: dict[str, list[Pending]] = field(default_factory=dict)

    def not_done(self, incident: Open, verb: str, at: float) -> None:
        """An action was tried and could not be carried out."""
        if at >= self.since:
            self._count(_cell(incident, verb)).not_done += 1

    def failed(self, incident: Open, tried: Try) -> None:
        """What was tried did not mend it: its verification failed, or something else had to be done."""
        if tried.at >= self.since:
            self._count(_cell(incident, tried.verb)).not_fixed += 1

    def verified(self, incident: Open, tried: Try, at: float) -> None:
        """Fresh readings pass after it."""
        tried.verified_at = at
        if tried.at < self.since:
            return
        pending = Pending(_cell(incident, tried.verb), at)
        self._queue.append((_place(incident), pending))
        self._of_part.setdefault(_place(incident), []).append(pending)

    def came_back(self, incident: Open, at: float) -> None:
        """The same fault is there again on the same part."""
        self.settle(at)
        for pending in self._of_part.pop(_place(incident), ()):
            if not pending.settled:
                pending.settled = True
                self._count(pending.cell).not_fixed += 1

    def settle(self, now: float) -> None:
        """Count every fix whose time is over."""
        while self._queue and self._queue[0][1].verified_at + self.lasting_s <= now:
            place, pending = self._queue.popleft()
            if pending.settled:
                continue
            pending.settled = True
            self._count(pending.cell).fixed += 1
            left = [each for each in self._of_part.get(place, ()) if not each.settled]
            if left:
                self._of_part[place] = left
            else:
                self._of_part.pop(place, None)

    def _count(self, cell: Cell) -> Count:
        return self.counts.setdefault(cell, Count())

    def rows(self, now: float) -> list[FixRow]:
        """Return the table as it stands at a moment, by class, SKU and action."""
        self.settle(now)
        pending: dict[Cell, int] = {}
        for _, each in self._queue:
            if not each.settled:
                pending[each.cell] = pending.get(each.cell, 0) + 1
        cells = sorted({*self.counts, *pending})
        return [_row(cell, self.counts.get(cell, Count()), pending.get(cell, 0)) for cell in cells]


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
        fixes.failed(incident, incident.tries.pop())


def superseded(fixes: Fixes, incident: Open) -> None:
    """Another repair begins, or people get it: what was tried before and never verified did not mend it."""
    if incident.tries and not incident.tries[-1].verified_at:
        fixes.failed(incident, incident.tries.pop())


def _row(cell: Cell, count: Count, pending: int) -> FixRow:
    probability, between = share_of(count.fixed, count.not_fixed)
    return FixRow(*cell, count.fixed, count.not_fixed, pending, count.not_done, probability, between)


def _cell(incident: Open, verb: str) -> Cell:
    return incident.fault_class, incident.sku, verb


def _place(incident: Open) -> str:
    return f"{incident.fault_class}|{incident.part or incident.node}"
