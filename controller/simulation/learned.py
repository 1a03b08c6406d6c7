"""What a simulated fleet's log teaches: the same tables that a report makes of a real one, by the same code."""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec

from controller.events import Logged
from controller.policy.reporting.asked import Asked
from controller.policy.reporting.fold import Fold
from controller.policy.reporting.intervals import share_of
from controller.policy.reporting.shapes import FixRow, LemonRow
from controller.simulation.clockwork import EPOCH


class Learned(msgspec.Struct, frozen=True):
    """P(action fixes | class, SKU), and the nodes that failed repeatedly with their lemon scores."""

    fixes: list[FixRow]
    lemons: list[LemonRow]


class Learning:
    """Hears a log as a report reads it."""

    def __init__(self) -> None:
        """Begin before the log does."""
        self._fold = Fold(Asked(EPOCH, math.inf))

    def hear(self, entry: Logged) -> None:
        """Take one entry in."""
        self._fold.take(entry)

    def learned(self) -> Learned:
        """Return what is known at the last entry, as a report on the whole log has it."""
        told = self._fold.told
        now = math.nextafter(told.at, math.inf)
        return Learned(told.fixes.rows(now), told.lemons.rows(told.nodes, told.tells_from, now))


def fixes_of(several: Iterable[Learned]) -> list[FixRow]:
    """Return one table of several fleets: what was tried adds up."""
    counts: dict[tuple[str, str, str], list[int]] = {}
    for row in (row for each in several for row in each.fixes):
        sums = counts.setdefault((row.fault_class, row.sku, row.action), [0, 0, 0, 0])
        for place, count in enumerate((row.fixed, row.not_fixed, row.pending, row.not_done)):
            sums[place] += count
    return [_row(cell, *sums) for cell, sums in sorted(counts.items())]


def _row(cell: tuple[str, str, str], fixed: int, not_fixed: int, pending: int, not_done: int) -> FixRow:
    probability, between = share_of(fixed, not_fixed)
    return FixRow(*cell, fixed, not_fixed, pending, not_done, probability, between)
