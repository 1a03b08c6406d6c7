"""Few questions at one time, the urgent ones first: many at once make each of them slower, and a cordon is not to wait
behind what tells people of another one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import IntEnum
from heapq import heappop, heappush
from itertools import count

AT_ONCE = 8
"""Questions under way at one time. Source: measured, 200 PATCHes at once of a 1.20 API on two busy cores: half of them
done after 0.3 s by 8 connections, after 0.8 s by 32, after 2.2 s by 100, each of which begins with a handshake."""

SLOW_S = 1.0
"""A question that takes longer gives its turn up: it holds up no other. Source: our choice, far above a healthy API."""


class Urgency(IntEnum):
    """Who goes first."""

    EFFECT = 0
    LOOK = 1
    NOTE = 2


@dataclass(slots=True)
class Turns:
    """Gives turns; one of them can only be had by one question at a time.

    Attributes:
        free: how many are to be had.
    """

    free: int = AT_ONCE
    slow_s: float = SLOW_S
    _waiting: list[tuple[int, int, asyncio.Future[None]]] = field(default_factory=list)
    _order: count[int] = field(default_factory=count)

    @asynccontextmanager
    async def turn(self, urgency: Urgency) -> AsyncIterator[None]:
        """Wait for a turn, and give it back at the end, or before when that does not come."""
        await self._take(urgency)
        held = [self._give]
        slow = asyncio.get_running_loop().call_later(self.slow_s, lambda: held.pop()())
        try:
            yield
        finally:
            slow.cancel()
            for give in held:
                give()

    async def _take(self, urgency: Urgency) -> None:
        if self.free:
            self.free -= 1
            return
        waiter = asyncio.get_running_loop().create_future()
        heappush(self._waiting, (urgency, next(self._order), waiter))
        try:
            await waiter
        except asyncio.CancelledError:
            if not waiter.cancelled():
                self._give()
            raise

    def _give(self) -> None:
        while self._waiting:
            waiter = heappop(self._waiting)[2]
            if not waiter.done():
                waiter.set_result(None)
                return
        self.free += 1
