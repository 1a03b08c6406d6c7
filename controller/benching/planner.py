"""Asks for the benchmarks that begin by themselves, at intervals, and leaves the cell its turns meanwhile.

Which those are is for controller/policy/benching/scheduling.py to say. Looking over all nodes costs more than an event
may, so it is done once a minute and in parts; what is chosen in the end is looked at again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from controller.cell import Cell
from controller.policy.benching.scheduling import Candidate, candidates, choose, promising, room, shortlist

PLAN_EVERY_S = 60.0
"""Source: our choice; nodes that are idle for less are no loss, and a day has 1,440 such moments."""

LOOKED_AT_ONCE = 500
VALUED_AT_ONCE = 16
"""Nodes between two turns of others. Source: measured by benchmarks/bench_planning.py, some 5 ms each."""


@dataclass(slots=True)
class Planner:
    """Plans and asks.

    Attributes:
        why_unknown: why the scheduler's word on a node proves nothing now, empty when it is good; such a node is left
            alone (I1).
        leads: whether this controller may act at this moment (I8).
    """

    cell: Cell
    clock: Callable[[], float]
    why_unknown: Callable[[str], str]
    leads: Callable[[], bool] = lambda: True

    async def run(self) -> None:
        """Plan until cancelled."""
        while True:
            await asyncio.sleep(PLAN_EVERY_S)
            await self.plan()

    async def plan(self) -> None:
        """Ask for whatever is worth running now, if anything may be begun."""
        belief, rules = self.cell.belief, self.cell.rules
        if not self.leads() or room(belief, rules, self.clock()).is_none:
            return
        found: list[tuple[float, str]] = []
        for part in _parts(list(belief.nodes), LOOKED_AT_ONCE):
            known = [name for name in part if not self.why_unknown(name)]
            found += promising(belief, rules, known, self.clock())
            await asyncio.sleep(0)
        valued: list[Candidate] = []
        for part in _parts(shortlist(found), VALUED_AT_ONCE):
            valued += candidates(belief, rules, part, self.clock())
            await asyncio.sleep(0)
        now = self.clock()
        still = {name for _, name in promising(belief, rules, [each.node for each in valued], now)}
        asked = choose(belief, rules, [each for each in valued if each.node in still], now)
        if asked and self.leads():
            await self.cell.submit(list(asked))


def _parts(names: Sequence[str], at_once: int) -> Iterator[Sequence[str]]:
    return (names[first : first + at_once] for first in range(0, len(names), at_once))
