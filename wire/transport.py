"""The one seam to MQTT: nothing else in fleetmend imports an MQTT client.

aiomqtt alone loses messages: it acknowledges before the application sees a message, hides refused publishes, lets a
publish wait out its time when the connection died, and never reconnects. `MqttTransport` mends these, by the
connections of `wire/connection.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import aiomqtt
import structlog
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from wire.connection import (
    CONNECT_LIMIT_S,
    MAX_IN_FLIGHT,
    RECEIVE_MAXIMUM,
    Connection,
    ConnectionLost,
    NotPublished,
    Received,
)
from wire.files import SecretError, read_secret
from wire.guard import LOOK_S, Guard
from wire.tls import TlsFiles
from wire.url import BrokerAddress, addresses_of

__all__ = ["BrokerAddress", "BrokerSettings", "MqttTransport", "NotPublished", "Received", "Transport", "Will"]

log = structlog.get_logger()

FIRST_RETRY_S: Final = 0.5
LAST_RETRY_S: Final = 30.0
STEADY_S: Final = 5.0
"""A connection that lasted this long ends the back-off: one that is dropped at once must not be retried at once."""


SILENT: Final = logging.getLogger("wire.mqtt")
"""What paho logs by itself is no line of our log, and is told in it as why a connection was lost."""
SILENT.disabled = True

RENEWING: Final = "the certificate was renewed"


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """How to reach the broker.

    Attributes:
        url: `mqtt://host:port` or `mqtts://host:port` with what `wire/url.py` allows behind it, or several of them:
            the nodes of one clustered broker, tried in turn.
        client_id: stable over restarts, so that the broker keeps the session and its queue.
        password_file: holds the password, in place of `password`; read anew for each connection.
        session_expiry_s: how long the broker keeps the session of an absent client.
        tls: files of TLS, read anew for each connection; when they change, the connection is renewed.
    """

    url: str | tuple[str, ...]
    client_id: str
    username: str = ""
    password: str = field(default="", repr=False)
    password_file: Path | None = None
    session_expiry_s: int = 86_400
    keepalive_s: int = 15
    tls: TlsFiles = field(default_factory=TlsFiles)

    def read_password(self) -> str:
        """Return the password, empty without one.

        Raises:
            ValueError: its file cannot be used.
        """
        if self.password_file is None:
            return self.password
        try:
            return read_secret(self.password_file)
        except SecretError as error:
            raise ValueError(str(error)) from error


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker says for us when we vanish without a word (retained, QoS 1)."""

    topic: str
    payload: bytes


class Transport(Protocol):
    """A connection that comes back by itself.

    `run` connects, subscribes and hands every message to `on_message`, reconnecting with jittered back-off until it is
    cancelled; `on_connected` is awaited after each (re)connection, before messages flow. One message is handed over
    after the other, so `on_message` must not itself wait for a `publish`: the broker's answer may be behind a backlog.
    """

    connected: bool

    async def run(
        self,
        *,
        on_message: Callable[[Received], Awaitable[None]],
        on_connected: Callable[[], Awaitable[None]],
    ) -> None: ...

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish at QoS 1 and return when the broker took it. Raises NotPublished otherwise, at once when the
        connection is gone."""
        ...

    def tell(self, topic: str, payload: bytes) -> None:
        """Publish at QoS 0: for what is said again to whoever has not heard it. Without a connection it is not said."""
        ...


class MutableTransport(Transport, Protocol):
    """One that can be told not to hear some."""

    def mute(self, topics: Iterable[str]) -> None:
        """Drop what comes on these topics, unread and acknowledged, until others are named; none drops nothing."""
        ...


def retry_delay_s(attempt: int, jitter: float) -> float:
    """Return how long to wait before attempt 1, 2, ...; `jitter` in [0, 1) spreads a fleet that lost its broker."""
    ceiling = min(LAST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(attempt - 1, 16))
    return ceiling * (0.5 + jitter / 2)


def first_of(count: int, client_id: str) -> int:
    """Return which of so many brokers a client tries first: each its own, so that a fleet spreads over them."""
    return zlib.crc32(client_id.encode()) % count


class MqttTransport:
    """The real transport: an MQTT 5 or 3.1.1 broker, or a cluster of them, TCP or TLS.

    Every connection gets a client of its own: one that is used again would send late what a caller was told had failed.

    Attributes:
        connected: publishing is possible now.
        session_present: whether the broker still had our session, with its queue, at the last connection.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        *,
        subscriptions: tuple[str, ...],
        will: Will | Callable[[], Will] | None,
        qos: int = 1,
        max_unacknowledged: int = 1000,
        jitter: Callable[[], float] = random.random,
        look_s: float = LOOK_S,
    ) -> None:
        """Prepare; nothing is connected before `run`.

        Args:
            subscriptions: topic filters, heard at `qos`.
            will: what is said when we vanish, or what gives it anew for each connection.
            qos: 1, or 0 where whoever speaks to us says it again until we answer: a cluster keeps a queue of its own,
                copied to its nodes, for each subscription at QoS 1.
            max_unacknowledged: above so many messages not yet acknowledged, nothing more is read from the broker.
            look_s: between two looks at the files of TLS.

        Raises:
            ValueError: a URL or a file of TLS cannot be used.
        """
        self.connected = False
        self.session_present = False
        self._settings, self._subscriptions, self._will, self._qos = settings, subscriptions, will, qos
        self._max_unacknowledged, self._jitter = max_unacknowledged, jitter
        self._addresses = addresses_of(settings.url)
        self._place = first_of(len(self._addresses), settings.client_id)
        self._guard = Guard(settings.tls, look_s=look_s)
        if any(each.tls for each in self._addresses):
            self._guard.context()
        self._connection: Connection | None = None
        self._muted: set[bytes] = set()

    async def run(
        self,
        *,
        on_message: Callable[[Received], Awaitable[None]],
        on_connected: Callable[[], Awaitable[None]],
    ) -> None:
        """Stay connected until cancelled; then disconnect in order, so that no Last Will is sent.

        A message on which `on_message` raises is logged and acknowledged: given again, it would fail again.
        """
        telling = asyncio.create_task(self._guard.tell_life(), name="looking after the certificate")
        try:
            await self._stay(on_message, on_connected)
        finally:
            await _end(telling)

    async def _stay(
        self, on_message: Callable[[Received], Awaitable[None]], on_connected: Callable[[], Awaitable[None]]
    ) -> None:
        loop = asyncio.get_running_loop()
        attempt = 0
        while True:
            began, address = loop.time(), self.address
            because = await self._live(on_message, on_connected)
            if because == RENEWING:
                continue
            because = "; ".join(filter(None, (because, self._guard.why_expired() if address.tls else "")))
            attempt = 1 if loop.time() - began >= STEADY_S else attempt + 1
            delay_s = retry_delay_s(self._round(attempt), self._jitter())
            self._place = (self._place + 1) % len(self._addresses)
            log.warning(
                "broker.lost", broker=str(address), because=because, retry_s=round(delay_s, 2), next=str(self.address)
            )
            await asyncio.sleep(delay_s)

    def mute(self, topics: Iterable[str]) -> None:
        """Drop what comes on these topics, unread and acknowledged, until others are named; none drops nothing.

        It costs a tenth of what a message costs that is handed over: for whoever speaks faster than it can be heard.
        """
        wanted = {self.address.spell(topic).encode() for topic in topics}
        self._muted.intersection_update(wanted)
        self._muted.update(wanted)

    @property
    def address(self) -> BrokerAddress:
        """The broker that is connected, or tried next."""
        return self._addresses[self._place]

    def _round(self, attempt: int) -> int:
        """Return how often every broker was tried, from 1 on: that one of them is dead is no reason to wait longer."""
        return 1 + (attempt - 1) // len(self._addresses)

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish at QoS 1 and return when the broker took it.

        Raises:
            NotPublished: there is no connection or it died (said at once), the broker refused, or it did not answer.
        """
        if self._connection is None:
            raise NotPublished(f"{topic}: no connection to the broker at {self.address}")
        await self._connection.publish(self.address.spell(topic), payload, retain=retain)

    def tell(self, topic: str, payload: bytes) -> None:
        """Publish at QoS 0: for what is said again to whoever has not heard it. Without a connection it is not said."""
        if self._connection is not None:
            self._connection.tell(self.address.spell(topic), payload)

    async def _live(
        self, on_message: Callable[[Received], Awaitable[None]], on_connected: Callable[[], Awaitable[None]]
    ) -> str:
        """Live through one connection, and return why it ended or was not made."""
        address = self.address
        try:
            client = self._client(address)
        except ValueError as error:
            return str(error)
        connection = Connection(client, max_unacknowledged=self._max_unacknowledged, muted=self._muted)
        try:
            async with connection.open(), self._renewing(connection, address):
                await connection.subscribe(tuple(map(address.spell, self._subscriptions)), qos=self._qos)
                self.session_present = connection.session_present
                log.info("broker.connected", broker=str(address), session_present=self.session_present)
                self._connection, self.connected = connection, True
                await on_connected()
                connection.let_flow()
                while True:
                    for received in await connection.next_messages():
                        await _hand_over(address.read(received), on_message)
                    await asyncio.sleep(0)  # a backlog must neither starve other tasks nor hold its own answers back
        except (ConnectionLost, NotPublished) as error:
            return str(error)
        finally:
            self._connection, self.connected = None, False

    @contextlib.asynccontextmanager
    async def _renewing(self, connection: Connection, address: BrokerAddress) -> AsyncIterator[None]:
        """Meanwhile, end the connection in order when its files were replaced by others that the broker takes."""
        renewing = asyncio.create_task(self._renew(connection, address)) if address.tls else None
        try:
            yield
        finally:
            if renewing is not None:
                await _end(renewing)

    async def _renew(self, connection: Connection, address: BrokerAddress) -> None:
        """Let what is under way come to its end first; what is said meanwhile is refused, as without a connection."""
        await self._guard.renewed(address)
        log.info("certificate.renewed", broker=str(address))
        self._connection, self.connected = None, False
        await connection.settle()
        connection.end(RENEWING)

    def _client(self, address: BrokerAddress) -> aiomqtt.Client:
        """Return a client with passwords and certificates as they are now.

        Raises:
            ValueError: one of them cannot be used.
        """
        settings = self._settings
        will = self._will() if callable(self._will) else self._will
        is_v5 = address.version is aiomqtt.ProtocolVersion.V5
        session: dict[str, Any] = {"clean_session": False}
        if is_v5:
            session = {"clean_start": False, "properties": self._connect_properties()}
        return aiomqtt.Client(
            address.host,
            address.port,
            identifier=settings.client_id,
            username=settings.username or None,
            password=settings.read_password() or None,
            protocol=address.version,
            keepalive=settings.keepalive_s,
            timeout=CONNECT_LIMIT_S,
            logger=SILENT,
            tls_context=self._guard.context() if address.tls else None,
            max_inflight_messages=MAX_IN_FLIGHT,
            will=aiomqtt.Will(address.spell(will.topic), will.payload, qos=1, retain=True) if will else None,
            **session,
        )

    def _connect_properties(self) -> Properties:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = self._settings.session_expiry_s
        properties.ReceiveMaximum = min(self._max_unacknowledged, RECEIVE_MAXIMUM)
        return properties


async def _hand_over(received: Received, on_message: Callable[[Received], Awaitable[None]]) -> None:
    try:
        await on_message(received)
    except Exception:
        log.exception("message.failed", topic=received.topic, size_bytes=len(received.payload))
        received.acknowledge()


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
