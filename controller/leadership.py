"""Which of several controllers acts: one leads, the others stand by, warm, and take over.

Leading is a lease that the database ends by itself and that the leader counts more strictly than the database does: it
stops acting before anybody else can begin (I8).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol

from controller.store.log import EventLog


class LeadershipLost(Exception):
    """This controller may do nothing more; the text says why."""


class Leadership(Protocol):
    """One controller's part in it.

    Attributes:
        leader_url: where the controller answers that leads, as it was last seen; empty while nobody is known to.
        took_over: whether another controller led before this one.
    """

    leader_url: str
    took_over: bool

    async def try_to_lead(self) -> bool:
        """Begin a term if nobody leads; return whether this controller leads now.

        Raises:
            StoreError: nobody can be asked now.
        """
        ...

    def leads(self) -> bool:
        """Return whether this controller may act at this moment."""
        ...

    async def keep(self) -> None:
        """Renew the lease until it is lost.

        Raises:
            LeadershipLost: always, in the end.
        """
        ...

    async def close(self) -> None:
        """Let go, so that another need not wait."""
        ...


@dataclass(slots=True)
class Alone:
    """The leadership of a controller whose log nobody else can write."""

    log: EventLog
    url: str
    leader_url: str = ""
    took_over: bool = False

    async def try_to_lead(self) -> bool:
        """Begin a term."""
        self.log.begin_term(url=self.url)
        self.leader_url = self.url
        return True

    def leads(self) -> bool:
        """Return that it may act."""
        return True

    async def keep(self) -> None:
        """Wait until cancelled: nobody takes it away."""
        await asyncio.Event().wait()

    async def close(self) -> None:
        """Nothing is held."""
