"""The one seam to MQTT: nothing else in fleetmend imports an MQTT client.

aiomqtt alone loses messages: it acknowledges before the application sees a message, hides refused publishes, lets a
publish wait out its time when the connection died, and never reconnects. `MqttTransport` mends these, by the
connections of `wire/connection.py`.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import parse_qs, urlsplit

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

__all__ = ["BrokerAddress", "BrokerSettings", "MqttTransport", "NotPublished", "Received", "Transport", "Will"]

log = structlog.get_logger()

FIRST_RETRY_S: Final = 0.5
LAST_RETRY_S: Final = 30.0
STEADY_S: Final = 5.0
"""A connection that lasted this long ends the back-off: one that is dropped at once must not be retried at once."""


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """How to reach the broker.

    Attributes:
        url: `mqtt://host:port` or `mqtts://host:port`; `?v=3` in the query speaks MQTT 3.1.1 instead of 5.
        client_id: stable over restarts, so that the broker keeps the session and its queue.
        session_expiry_s: how long the broker keeps the session of an absent client.
    """

    url: str
    client_id: str
    username: str = ""
    password: str = ""
    session_expiry_s: int = 86_400
    keepalive_s: int = 15
    ca_file: str = ""


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


def retry_delay_s(attempt: int, jitter: float) -> float:
    """Return how long to wait before attempt 1, 2, ...; `jitter` in [0, 1) spreads a fleet that lost its broker."""
    ceiling = min(LAST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(attempt - 1, 16))
    return ceiling * (0.5 + jitter / 2)


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """What a broker's URL says."""

    host: str
    port: int
    tls: bool
    version: aiomqtt.ProtocolVersion

    @classmethod
    def parse(cls, url: str) -> BrokerAddress:
        """Return what `url` says.

        Raises:
            ValueError: with what is wrong about it and what is right.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
            raise ValueError(f"broker url {url!r} is not mqtt://host:port or mqtts://host:port")
        version = parse_qs(parts.query).get("v", ["5"])[-1]
        if version not in _VERSIONS:
            raise ValueError(f"broker url {url!r}: v={version} is neither 3 (MQTT 3.1.1) nor 5")
        tls = parts.scheme == "mqtts"
        try:
            port = parts.port
        except ValueError as error:
            raise ValueError(f"broker url {url!r}: its port is not a number from 1 to 65535") from error
        return cls(parts.hostname, port or (8883 if tls else 1883), tls, _VERSIONS[version])

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


_VERSIONS: Final = {"3": aiomqtt.ProtocolVersion.V311, "5": aiomqtt.ProtocolVersion.V5}


class MqttTransport:
    """The real transport: an MQTT 5 or 3.1.1 broker, TCP or TLS.

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
        will: Will | None,
        max_unacknowledged: int = 1000,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Prepare; nothing is connected before `run`.

        Args:
            subscriptions: topic filters, heard at QoS 1.
            max_unacknowledged: above so many messages not yet acknowledged, nothing more is read from the broker.

        Raises:
            ValueError: the URL or the certificate file cannot be used.
        """
        self.connected = False
        self.session_present = False
        self._settings, self._subscriptions, self._will = settings, subscriptions, will
        self._max_unacknowledged, self._jitter = max_unacknowledged, jitter
        self._address = BrokerAddress.parse(settings.url)
        self._tls = _tls_context(settings.ca_file) if self._address.tls else None
        self._connection: Connection | None = None

    async def run(
        self,
        *,
        on_message: Callable[[Received], Awaitable[None]],
        on_connected: Callable[[], Awaitable[None]],
    ) -> None:
        """Stay connected until cancelled; then disconnect in order, so that no Last Will is sent.

        A message on which `on_message` raises is logged and acknowledged: given again, it would fail again.
        """
        loop = asyncio.get_running_loop()
        attempt = 0
        while True:
            began = loop.time()
            because = await self._live(on_message, on_connected)
            attempt = 1 if loop.time() - began >= STEADY_S else attempt + 1
            delay_s = retry_delay_s(attempt, self._jitter())
            log.warning("broker.lost", broker=str(self._address), because=because, retry_s=round(delay_s, 2))
            await asyncio.sleep(delay_s)

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish at QoS 1 and return when the broker took it.

        Raises:
            NotPublished: there is no connection or it died (said at once), the broker refused, or it did not answer.
        """
        if self._connection is None:
            raise NotPublished(f"{topic}: no connection to the broker at {self._address}")
        await self._connection.publish(topic, payload, retain=retain)

    async def _live(
        self, on_message: Callable[[Received], Awaitable[None]], on_connected: Callable[[], Awaitable[None]]
    ) -> str:
        """Live through one connection, and return why it ended or was not made."""
        connection = Connection(self._client(), max_unacknowledged=self._max_unacknowledged)
        try:
            async with connection.open():
                await connection.subscribe(self._subscriptions)
                self.session_present = connection.session_present
                log.info("broker.connected", broker=str(self._address), session_present=self.session_present)
                self._connection, self.connected = connection, True
                await on_connected()
                connection.let_flow()
                while True:
                    await _hand_over(await connection.next_message(), on_message)
        except (ConnectionLost, NotPublished) as error:
            return str(error)
        finally:
            self._connection, self.connected = None, False

    def _client(self) -> aiomqtt.Client:
        settings, address, will = self._settings, self._address, self._will
        is_v5 = address.version is aiomqtt.ProtocolVersion.V5
        session: dict[str, Any] = {"clean_session": False}
        if is_v5:
            session = {"clean_start": False, "properties": self._connect_properties()}
        return aiomqtt.Client(
            address.host,
            address.port,
            identifier=settings.client_id,
            username=settings.username or None,
            password=settings.password or None,
            protocol=address.version,
            keepalive=settings.keepalive_s,
            timeout=CONNECT_LIMIT_S,
            tls_context=self._tls,
            max_inflight_messages=MAX_IN_FLIGHT,
            will=aiomqtt.Will(will.topic, will.payload, qos=1, retain=True) if will else None,
            **session,
        )

    def _connect_properties(self) -> Properties:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = self._settings.session_expiry_s
        properties.ReceiveMaximum = min(self._max_unacknowledged, RECEIVE_MAXIMUM)
        return properties


def _tls_context(ca_file: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:
        raise ValueError(f"broker ca_file {ca_file!r} holds no certificate that can be used: {error}") from error


async def _hand_over(received: Received, on_message: Callable[[Received], Awaitable[None]]) -> None:
    try:
        await on_message(received)
    except Exception:
        log.exception("message.failed", topic=received.topic, size_bytes=len(received.payload))
        received.acknowledge()
    await asyncio.sleep(0)  # a backlog must not starve the other tasks, nor hold its own acknowledgements back
