"""Has a report made of the cell's own log between everything else: in small slices, one report at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from controller.cell import Cell
from controller.policy.belief import Belief
from controller.policy.places import merged
from controller.policy.reporting.asked import Asked, Known, Prices
from controller.policy.reporting.fold import Fold
from controller.policy.reporting.shapes import Report
from controller.policy.reporting.told import NOBODY
from controller.store.log import EventLog

SLICE = 1_000
"""Entries that are read at once, in the log's own thread. Source: our choice; a page that looks at a timeline waits for
the milliseconds that this takes."""


AT_ONCE = 200
"""Entries that are folded before whatever else waits has its turn. Source: our choice; at the measured rates that is a
millisecond or two, where a thread that computes keeps the interpreter from the loop for five."""


class NotTold(Exception):
    """The log does not tell of the whole span. `from_at`: from when on it does, Unix seconds."""

    def __init__(self, from_at: float) -> None:
        super().__init__("the log does not reach so far back")
        self.from_at = from_at


@dataclass(slots=True)
class Reporter:
    """Makes reports.

    Attributes:
        prices: what GPU-hours are worth.
    """

    cell: Cell
    prices: Prices
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def report(self, asked: Asked, *, whole: bool) -> Report:
        """Return a report of the log, in the cell's own prices.

        Args:
            whole: refuse a span that begins before the log tells, where entries were deleted.

        Raises:
            NotTold: the log tells of a part of the span alone.
            StoreError: the log cannot be read now.
        """
        async with self._one_at_a_time:
            await self.cell.caught_up()
            log, belief = self.cell.log, self.cell.belief
            deleted = (await log.size()).deleted_through
            if whole and deleted:
                await _check_told(log, asked.since, deleted)
            asked = replace(asked, prices=self.prices)
            fold = Fold(asked, known=known_of(belief) if deleted else NOBODY, deleted_through=deleted)
            after = 0
            while entries := await log.follow(after=after, limit=SLICE):
                for first in range(0, len(entries), AT_ONCE):
                    fold.take_all(entries[first : first + AT_ONCE])
                    await asyncio.sleep(0)
                after = entries[-1].event_id
                if fold.is_over:
                    break
            return await asyncio.to_thread(fold.report)


async def _check_told(log: EventLog, since: float, deleted: int) -> None:
    first = await log.follow(after=deleted, limit=1)
    if first and since < first[0].at:
        raise NotTold(first[0].at)


def known_of(belief: Belief) -> Mapping[str, Known]:
    """Return what is believed of every node now."""
    return {
        name: Known(
            node.facts,
            merged(node.claims) if node.claims else {},
            node.presence,
            node.presence_since,
            node.schedulable or bool(node.hold_id),
            node.foreign_reason,
            node.schedule_observed_at,
        )
        for name, node in belief.nodes.items()
    }
