"""Asks the BMC of each node whose agent is silent whether the node has power, and tells the cell what changed.

Nobody else is asked: BMCs are slow, and a fleet of them that is polled is a load of its own. A BMC that could not be
asked is left alone for longer each time: with a wrong password it would else lock the account.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from controller.adapters import Power, PowerSeen
from controller.cell import Cell
from controller.events import BmcObserved, Logged, PresenceChanged

log = structlog.get_logger()

MOST_A_ROUND = 64
"""So many BMCs are asked in one round, those first that were not asked for longest: when the broker is gone and every
node is silent, the BMCs of a whole fleet are not to be asked at once. Source: our choice."""

MOST_APART_S = 600.0
"""The longest time between two looks at a BMC that cannot be asked. Source: our choice; accounts are locked after a few
wrong passwords within minutes."""


@dataclass(frozen=True, slots=True)
class _Look:
    """When a node was looked at last, and how long it is left alone after that."""

    at: float
    apart_s: float


@dataclass(slots=True)
class PowerWatch:
    """Level-triggered: every look is compared with what is believed of the silence that goes on."""

    cell: Cell
    power: Power
    clock: Callable[[], float]
    interval_s: float = 30.0
    at_once: int = 16
    _looks: dict[str, _Look] = field(default_factory=dict)
    _wanted: asyncio.Event = field(default_factory=asyncio.Event)

    def note(self, entry: Logged) -> None:
        """Look soon at a node that fell silent; called with every entry after its commit."""
        if isinstance(entry.event, PresenceChanged) and entry.event.node in self.cell.belief.silent:
            self._wanted.set()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            self._wanted.clear()
            await self.look()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.interval_s):
                    await self._wanted.wait()

    async def look(self) -> None:
        """Look once at those silent nodes whose turn it is."""
        due, turn = self._due(), asyncio.Semaphore(self.at_once)
        await asyncio.gather(*(self._look_at(node, turn) for node in due))

    def _due(self) -> list[str]:
        silent, now = self.cell.belief.silent, self.clock()
        self._looks = {node: look for node, look in self._looks.items() if node in silent}
        due = [node for node in silent if self._is_due(node, now)]
        due.sort(key=lambda node: self._looks[node].at if node in self._looks else 0.0)
        return due[:MOST_A_ROUND]

    def _is_due(self, node: str, now: float) -> bool:
        look = self._looks.get(node)
        # A clock that was set back must not put a look off until it has caught up.
        return look is None or not look.at <= now < look.at + look.apart_s

    async def _look_at(self, node: str, turn: asyncio.Semaphore) -> None:
        async with turn:
            seen = await self._seen(node)
        before = self._looks.get(node)
        apart_s = self.interval_s
        if seen.power == "unknown" and before is not None:
            apart_s = min(before.apart_s * 2.0, MOST_APART_S)
        self._looks[node] = _Look(self.clock(), apart_s)
        await self._tell(node, seen)

    async def _seen(self, node: str) -> PowerSeen:
        """Return what the BMC says. An adapter that breaks must not take the controller along."""
        try:
            return await self.power.look(node)
        except Exception as error:
            log.exception("bmc.look_crashed", node=node)
            said = f"{type(error).__name__}: {error}"
            return PowerSeen("unknown", f"The BMC of {node} could not be asked: the adapter crashed: {said}")

    async def _tell(self, node: str, seen: PowerSeen) -> None:
        known = self.cell.belief.nodes.get(node)
        if known is None or node not in self.cell.belief.silent or known.power == seen.power:
            return
        await self.cell.submit([BmcObserved(node, seen.power, seen.because, self.clock())])
