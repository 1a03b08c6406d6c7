"""Looks after the certificate of one client: takes a renewed one up, and says in time that one is about to end."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import structlog

from wire.certificate import Life
from wire.connection import CONNECT_LIMIT_S
from wire.tls import Stamps, TlsFiles
from wire.url import BrokerAddress

log = structlog.get_logger()

LOOK_S: Final = 5.0
"""Between two looks at the files; they are taken up when two looks saw the same, since several may be replaced."""

LIFE_LOOK_S: Final = 60.0
REFUSAL_S: Final = 1.0
"""A broker that refuses a certificate says so at once after the handshake. Source: RFC 8446, 4.4.2.4 and 6.2."""

DAY_S: Final = 86_400.0
EXPIRED: Final = "no broker takes it: what is to be sent waits, and nothing of it is lost, until it is renewed"


class Guard:
    """The guard of one client's TLS files."""

    def __init__(self, files: TlsFiles, *, look_s: float = LOOK_S, wall: Callable[[], float] = time.time) -> None:
        """Prepare. `wall` gives Unix seconds."""
        self._files, self._look_s, self._wall = files, look_s, wall
        self._used: Stamps = ()

    def context(self) -> ssl.SSLContext:
        """Return what a connection is made with, by the files as they are now.

        Raises:
            ValueError: one cannot be used; the text names it.
        """
        self._used = self._files.stamps()
        return self._files.context()

    def why_expired(self) -> str:
        """Return that the own certificate is good no more, for whoever is refused; empty when it is."""
        life = self._files.known_life()
        if life is None or life.left_s(self._wall()) > 0:
            return ""
        return f"the own certificate {self._files.certificate_file} expired on {_date(life)}"

    async def renewed(self, address: BrokerAddress) -> None:
        """Return when other files are there than the connection was made with, and the broker takes them.

        What cannot be used is told once and leaves the connection alone.
        """
        seen = refused = self._used
        while True:
            await asyncio.sleep(self._look_s)
            before, seen = seen, self._files.stamps()
            if seen in (self._used, refused) or seen != before:
                continue
            try:
                if await self._is_taken(address):
                    return
            except ValueError as error:
                refused = seen
                log.error("certificate.unusable", file=str(self._files.certificate_file), because=str(error))

    async def tell_life(self) -> None:
        """Log, until cancelled, that the certificate ends soon or has ended: once a day, and when that changes."""
        told: tuple[str, float, float] | None = None
        while self._files.certificate_file is not None:
            life, now = self._files.known_life(), self._wall()
            if life is not None:
                said = (_state(life, now), life.ends_at, now // DAY_S if life.is_short(now) else 0.0)
                if said != told:
                    self._tell(life, now)
                told = said
            await asyncio.sleep(LIFE_LOOK_S)

    def _tell(self, life: Life, now: float) -> None:
        facts = {"file": str(self._files.certificate_file), "days_left": round(life.left_s(now) / DAY_S, 1)}
        match _state(life, now):
            case "expired":
                log.error("certificate.expired", **facts, ended=_date(life), because=EXPIRED)
            case "short":
                log.warning("certificate.expiring", **facts, ends=_date(life))
            case _:
                log.info("certificate.read", **facts)

    async def _is_taken(self, address: BrokerAddress) -> bool:
        """Return whether the broker takes the files as they are now; not, either, when it cannot be reached.

        Raises:
            ValueError: they cannot be used, or it refuses them.
        """
        try:
            return await _shakes_hands(address, self._files.context())
        except ssl.SSLError as error:
            raise ValueError(f"{address} refuses it, or is refused: {error.reason or error}") from error
        except (OSError, TimeoutError):
            return False


async def _shakes_hands(address: BrokerAddress, context: ssl.SSLContext) -> bool:
    """Return whether a handshake comes about and nothing is said against it afterwards."""
    async with asyncio.timeout(CONNECT_LIMIT_S):
        reader, writer = await asyncio.open_connection(
            address.host, address.port, ssl=context, server_hostname=address.host
        )
    try:
        async with asyncio.timeout(REFUSAL_S):
            return await reader.read(1) != b""
    except TimeoutError:
        return True
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _state(life: Life, now: float) -> str:
    if life.left_s(now) <= 0:
        return "expired"
    return "short" if life.is_short(now) else "good"


def _date(life: Life) -> str:
    return f"{datetime.fromtimestamp(life.ends_at, UTC):%Y-%m-%d %H:%M} UTC"
