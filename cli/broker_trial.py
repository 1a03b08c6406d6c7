"""Asks a broker whether it lets somebody in, and what they may write: without changing anything there.

A client that comes under a user's name may take that user's session (`use_username_as_clientid`). So a session that is
there is kept as it is, nothing that waits in it is acknowledged, and whoever runs under that name is not tried at all.
"""

from __future__ import annotations

import secrets
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiomqtt
import psutil
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from wire.topics import ROOT
from wire.url import BrokerAddress, addresses_of

LIMIT_S: Final = 5.0
KEPT_S: Final = 86_400
"""As long as our daemons have their sessions kept (wire/transport.py)."""

PROBE: Final = "probe"
"""The last level of the topic that is written to: no controller and no node listens there."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who comes to the broker. With neither user nor certificate it is anybody."""

    username: str = ""
    password: str = field(default="", repr=False)
    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """How one broker answered.

    Attributes:
        address: host and port.
        reached: whether a broker answered at all.
        let_in: whether it let the visitor in.
        may_write: whether it took a message below the cell's branch that is of no node; `None` where that was not
            asked, or the broker does not tell (MQTT 3.1.1).
        because: why not, in its words or the system's.
    """

    address: str
    reached: bool
    let_in: bool
    may_write: bool | None = None
    because: str = ""


def try_brokers(urls: str | tuple[str, ...], visitor: Visitor, *, limit_s: float = LIMIT_S) -> list[Seen]:
    """Return how each broker answers a visitor who only comes and goes.

    Raises:
        ValueError: a URL cannot be used.
    """
    return [_try_one(address, visitor, "", limit_s) for address in addresses_of(urls)]


def try_writing(urls: str | tuple[str, ...], visitor: Visitor, *, cell: str, limit_s: float = LIMIT_S) -> list[Seen]:
    """Return how each broker answers a visitor who writes where nobody listens.

    Raises:
        ValueError: a URL cannot be used.
    """
    topic = f"{ROOT}/{cell}/node/doctor-{secrets.token_hex(4)}/{PROBE}"
    return [_try_one(address, visitor, topic, limit_s) for address in addresses_of(urls)]


def _try_one(address: BrokerAddress, visitor: Visitor, topic: str, limit_s: float) -> Seen:
    trial = _Trial(address, visitor, time.monotonic() + limit_s)
    try:
        return trial.run(topic)
    except ssl.SSLCertVerificationError as error:
        because = f"its certificate is not trusted: {error.verify_message.lower()}"
        return Seen(str(address), reached=False, let_in=False, because=because)
    except ssl.SSLError as error:
        return Seen(str(address), reached=True, let_in=False, because=f"TLS: {error.reason or error}")
    except OSError as error:
        return Seen(str(address), reached=False, let_in=False, because=(error.strerror or str(error)).lower())


class _Trial:
    """One connection, driven by hand so that it is gone when this ends."""

    def __init__(self, address: BrokerAddress, visitor: Visitor, ends_at_s: float) -> None:
        """Connect nowhere yet.

        Raises:
            OSError: a file of the visitor cannot be used.
        """
        self._address, self._ends_at_s = address, ends_at_s
        self._is_5 = address.version is aiomqtt.ProtocolVersion.V5
        self._client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"fleetmend-trial-{secrets.token_hex(6)}",
            protocol=address.version.value,
            manual_ack=True,
            # Of a broker of MQTT 3.1.1 no session can be kept as it was and yet not left behind.
            clean_session=None if self._is_5 else True,
        )
        self._client.connect_timeout = max(0.1, ends_at_s - time.monotonic())
        if visitor.username:
            self._client.username_pw_set(visitor.username, visitor.password)
        if address.tls:
            self._client.tls_set_context(_tls(visitor))
        self._answer: ReasonCode | None = None
        self._has_session = False
        self._written: ReasonCode | None = None
        self._gone = False
        self._client.on_connect = self._on_connect
        self._client.on_publish = self._on_publish
        self._client.on_disconnect = self._on_disconnect

    def run(self, topic: str) -> Seen:
        """Return how the broker answers.

        Raises:
            OSError: it is not reached.
        """
        asked: dict[str, Any] = {"clean_start": False, "properties": _connecting()} if self._is_5 else {}
        self._client.connect(self._address.host, self._address.port, keepalive=15, **asked)
        with self._connected() as let_in:
            if not let_in:
                return self._refused()
            may_write = self._may_write(topic) if topic else None
            return Seen(str(self._address), reached=True, let_in=True, may_write=may_write)

    @contextmanager
    def _connected(self) -> Iterator[bool]:
        try:
            self._until(lambda: self._answer is not None)
            yield self._answer is not None and not self._answer.is_failure
        finally:
            leaving = _leaving() if self._is_5 and not self._has_session else None
            self._client.disconnect(properties=leaving)
            self._until(lambda: self._gone)

    def _refused(self) -> Seen:
        where = str(self._address)
        if self._answer is not None:
            return Seen(where, reached=True, let_in=False, because=str(self._answer).lower())
        because = "it ended the connection without an answer" if self._gone else "it does not answer as a broker does"
        return Seen(where, reached=self._gone, let_in=False, because=because)

    def _may_write(self, topic: str) -> bool | None:
        if not self._is_5:
            return None
        self._client.publish(self._address.spell(topic), b"", qos=1)
        self._until(lambda: self._written is not None)
        return self._written is not None and not self._written.is_failure

    def _until(self, condition: Callable[[], bool]) -> None:
        while not condition() and not self._gone and time.monotonic() < self._ends_at_s:
            self._client.loop(timeout=0.05)

    def _on_connect(self, client: Any, data: Any, flags: Any, reason: ReasonCode, properties: Any) -> None:
        assert (client, data, properties) is not None
        self._answer, self._has_session = reason, bool(flags.session_present)

    def _on_publish(self, client: Any, data: Any, number: int, reason: ReasonCode, properties: Any) -> None:
        assert (client, data, number, properties) is not None
        self._written = reason

    def _on_disconnect(self, *told: Any) -> None:
        assert told
        self._gone = True


def _connecting() -> Properties:
    """Keep a session that is there, and take one message of it at most."""
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = KEPT_S
    properties.ReceiveMaximum = 1
    return properties


def _leaving() -> Properties:
    """Leave no session behind that was not there before."""
    properties = Properties(PacketTypes.DISCONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = 0
    return properties


def _tls(visitor: Visitor) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=visitor.ca_file or None)
    if visitor.certificate_file:
        context.load_cert_chain(visitor.certificate_file, visitor.key_file or None)
    return context


def visitor_of(broker: Mapping[str, Any]) -> Visitor:
    """Return who comes to the broker by the table [broker] of a daemon's settings.

    Raises:
        OSError: the password cannot be read.
    """
    file = broker.get("password_file")
    password = Path(file).read_text("utf-8").strip() if file else ""
    named = {name: str(broker.get(name, "")) for name in ("username", "ca_file", "certificate_file", "key_file")}
    return Visitor(password=password, **named)


def urls_of(broker: Mapping[str, Any]) -> str | tuple[str, ...]:
    """Return where the broker of a table [broker] is."""
    url = broker.get("url", "")
    return tuple(url) if isinstance(url, list) else str(url)


def holds_connection(process: int, urls: str | tuple[str, ...]) -> bool:
    """Return whether a process has an open connection to a port of one of the brokers."""
    ports = {address.port for address in addresses_of(urls)}
    try:
        connections = psutil.Process(process).net_connections("tcp")
    except psutil.Error:
        return False
    open_ones = (each for each in connections if each.status == psutil.CONN_ESTABLISHED)
    return any(getattr(each.raddr, "port", 0) in ports for each in open_ones)
