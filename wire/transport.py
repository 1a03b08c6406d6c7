"""The one seam to MQTT: nothing else in fleetmend imports an MQTT client."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol


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


@dataclass(frozen=True, slots=True)
class Received:
    """One message from the broker. `acknowledge` tells the broker that it is dealt with: call it after the commit,
    and never for QoS 0 (the transport takes care of that). A message not acknowledged comes again."""

    topic: str
    payload: bytes
    retained: bool
    acknowledge: Callable[[], None]


class NotPublished(Exception):
    """The broker does not have the message: no connection, a time-out, or a refusal (with its reason code)."""


class Transport(Protocol):
    """A connection that comes back by itself.

    `run` connects, subscribes and hands every message to `on_message`, reconnecting with jittered back-off until it is
    cancelled; `on_connected` is awaited after each (re)connection, before messages flow.
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
