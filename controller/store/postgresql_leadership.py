"""Leadership by an advisory lock of a PostgreSQL session, as a lease.

The server ends a session that is silent for `SESSION_LIMIT_S`, and with it the lock goes: a leader that was killed,
cut off or put to sleep is followed within seconds, without anybody judging its health. The leader itself stops acting
after `LEASE_S`, counted from before its last question, which is sooner.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg

from controller.leadership import LeadershipLost
from controller.store.log import StoreError
from controller.store.postgresql import NAME_LEADER, NEXT_TERM, PostgresqlLog
from controller.store.postgresql_connection import CONNECT_LIMIT_S, SERVER_PROBES, told

BEAT_S = 1.0
LEASE_S = 5.0
SESSION_LIMIT_S = 6.0
"""Source: our choice: several missed beats, and with one look every half second a successor within seven seconds."""

LOCK_CLASS = 0x666C6D64
"""Source: our choice, "flmd"; apart from whatever else uses advisory locks in the same database."""

TRY_LOCK = "SELECT pg_try_advisory_lock(%s, hashtext(current_schema()))"
LEADER_URL = "SELECT value FROM facts WHERE name = 'url'"
TERM = "SELECT value::bigint FROM facts WHERE name = 'term'"


@dataclass(slots=True)
class PostgresqlLeadership:
    """One controller's part in the leadership of a cell.

    Attributes:
        url: where people and other controllers find this one.
        monotonic: a clock that goes on while the process is stopped.
    """

    event_log: PostgresqlLog
    holder: str
    url: str
    monotonic: Callable[[], float] = time.monotonic
    leader_url: str = ""
    took_over: bool = False
    _session: psycopg.AsyncConnection[Any] | None = None
    _renewed_at: float = float("-inf")
    _leading: bool = False

    async def try_to_lead(self) -> bool:
        """Begin a term if nobody leads; return whether this controller leads now.

        Raises:
            StoreError: the database does not answer.
        """
        asked_at = self.monotonic()
        try:
            async with asyncio.timeout(CONNECT_LIMIT_S):
                term = await self._try()
        except (psycopg.Error, TimeoutError) as error:
            await self.close()
            because = told(error) if isinstance(error, psycopg.Error) else "no answer in time"
            raise StoreError(f"cannot ask {self.event_log.name} who leads: {because}") from error
        if term is None:
            return False
        self._renewed_at, self._leading, self.leader_url = asked_at, True, self.url
        await asyncio.to_thread(self.event_log.begin_writing, term)
        return True

    async def _try(self) -> int | None:
        """Take the lock and the next term in one transaction; return the term, `None` when another has the lock."""
        session = await self._connected()
        async with session.transaction():
            is_free = await _one(session, TRY_LOCK, LOCK_CLASS)
            before = str(await _one(session, LEADER_URL) or "")
            if not is_free:
                self.leader_url = before
                return None
            self.took_over = before not in {"", self.url}
            term = int(await _one(session, NEXT_TERM))
            await session.execute(NAME_LEADER, {"holder": self.holder, "url": self.url})
            return term

    async def _connected(self) -> psycopg.AsyncConnection[Any]:
        if self._session is None or self._session.closed:
            self._session = await psycopg.AsyncConnection.connect(**self.event_log.server.parameters())
            for statement in SERVER_PROBES:
                await self._session.execute(statement)
            await self._session.execute(f"SET idle_session_timeout = {round(SESSION_LIMIT_S * 1000)}")
            await self._session.execute(f"SET statement_timeout = {round(LEASE_S * 1000)}")
        return self._session

    def leads(self) -> bool:
        """Return whether this controller may act at this moment."""
        return self._leading and self.monotonic() - self._renewed_at < LEASE_S

    async def keep(self) -> None:
        """Renew the lease until it is lost.

        Raises:
            LeadershipLost: always, in the end.
        """
        try:
            while True:
                await asyncio.sleep(BEAT_S)
                await self._renew()
        finally:
            self._leading = False

    async def _renew(self) -> None:
        asked_at = self.monotonic()
        silent_s = asked_at - self._renewed_at
        if silent_s >= LEASE_S:
            raise LeadershipLost(f"this controller did not move for {silent_s:.1f} s, and its lease is {LEASE_S:g} s")
        assert self._session is not None
        # Not asyncio.timeout: the driver answers a cancellation by asking the server once more, and waits for that.
        asking = asyncio.ensure_future(_one(self._session, TERM))
        if not (await asyncio.wait({asking}, timeout=LEASE_S - silent_s))[0]:
            raise LeadershipLost(f"the database did not answer for {LEASE_S:g} s")
        try:
            term = int(asking.result())
        except psycopg.Error as error:
            raise LeadershipLost(f"the database ended the session that led: {told(error)}") from error
        if term != self.event_log.term:
            raise LeadershipLost(f"term {term} has begun, this controller's was {self.event_log.term}")
        self._renewed_at = asked_at

    async def close(self) -> None:
        """Let go, so that another need not wait."""
        self._leading = False
        session, self._session = self._session, None
        if session is not None:
            with contextlib.suppress(psycopg.Error):
                await session.close()


async def _one(session: psycopg.AsyncConnection[Any], query: str, *values: object) -> Any:
    row = await (await session.execute(query.encode(), values)).fetchone()
    return row[0] if row else None
