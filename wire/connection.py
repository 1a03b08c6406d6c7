"""One connection to the broker, from its beginning to its end.

The only place that reaches behind aiomqtt's public names, to acknowledge late, to see refusals, to stop reading, and to
fail at once what was under way when the connection died.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Set
from functools import partial
from typing import Any, Final

import aiomqtt
import msgspec
import structlog
from paho.mqtt import client as paho
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from wire import packets
from wire.read_ahead import ReadAhead, reading_ahead

log = structlog.get_logger()

PUBLISH_LIMIT_S: Final = 10.0
CONNECT_LIMIT_S: Final = 5.0
SUBSCRIBE_LIMIT_S: Final = 60.0
"""Mosquitto answers once it has queued all that it has kept below the filter: seconds for a large fleet on a busy
machine. Whoever gives up and comes again has it all queued once more. Source: our choice."""

POLL_S: Final = 0.05
MAX_IN_FLIGHT: Final = 100
"""Our own publishes under way at once, or fewer if the broker's CONNACK says so (its Receive Maximum)."""

READ_AT_ONCE: Final = 64
"""Packets read, and messages handed over, before the loop turns to others; at some 20 µs each. Source: our choice."""

RECEIVE_MAXIMUM: Final = 65_535
"""The largest, and the default, Receive Maximum. Source: MQTT 5.0, 3.1.2.11.3."""

UNSPECIFIED_ERROR: Final = 0x80
"""Reason codes from this one on are failures. Source: MQTT 5.0, 2.4."""


class Received(msgspec.Struct, frozen=True):
    """One message from the broker. `acknowledge` tells the broker that it is dealt with: call it after the commit,
    and never for QoS 0 (the transport takes care of that). A message not acknowledged comes again."""

    topic: str
    payload: bytes
    retained: bool
    acknowledge: Callable[[], None]


class NotPublished(Exception):
    """The broker does not have the message: no connection, a time-out, or a refusal (with its reason code)."""


class ConnectionLost(Exception):
    """The connection is gone, or could not be made; the text says why."""


class Connection:
    """One connection from its beginning to its end, and the one place that uses what aiomqtt does not offer.

    Source: aiomqtt 2.5.1, whose `_client` is paho's client and whose `_disconnected` ends with the connection. Manual
    acknowledgement is its issue #345. Its own `publish` and `messages` are not used: the first knows no reason codes,
    the second acknowledges early.
    """

    def __init__(self, client: aiomqtt.Client, *, max_unacknowledged: int, muted: Set[bytes] = frozenset()) -> None:
        self.session_present = False
        self._entered = False
        self._flowing = False
        self._pulse: asyncio.Task[None] | None = None
        self._client, self._max_unacknowledged, self._muted = client, max_unacknowledged, muted
        self._loop = asyncio.get_running_loop()
        self._lost_because = ""
        self._inbox: deque[Received] = deque()
        self._news = asyncio.Event()
        self._unacknowledged: set[int] = set()
        self._acknowledging: list[int] = []
        self._saying: list[bytes] = []
        self._writing: asyncio.Handle | None = None
        self._received = 0
        self._paused = False
        self._publishing: dict[int, asyncio.Future[ReasonCode]] = {}
        self._paho = client._client  # noqa: SLF001
        self._has_properties = self._paho.protocol == paho.MQTTv5
        self._take_over()

    def _take_over(self) -> None:
        create: Callable[[], Any] = self._paho._create_socket  # noqa: SLF001
        vars(self._paho)["_create_socket"] = lambda: reading_ahead(create())
        self._paho.connect_timeout = CONNECT_LIMIT_S
        self._paho.manual_ack_set(True)
        self._paho.on_message = self._on_message
        self._paho.on_publish = self._on_publish
        self._paho.on_connect = partial(self._on_connect, self._paho.on_connect)
        self._paho.on_socket_open = self._on_socket_open
        self._paho.on_socket_register_write = self._on_socket_register_write

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Connect, and disconnect in order at the end.

        Raises:
            ConnectionLost: it could not be made.
        """
        try:
            await self._enter()
            self._client._disconnected.add_done_callback(self._on_lost)  # noqa: SLF001
            self._pulse = asyncio.create_task(self._keep_alive())
            yield
        except aiomqtt.MqttError as error:
            raise ConnectionLost(_text_of(error)) from error
        finally:
            await self._close()

    async def _enter(self) -> None:
        """Connect. aiomqtt does so in a thread, which nothing stops: when cancelled, its socket is waited for, so that
        it can be closed."""
        entering = asyncio.create_task(self._client.__aenter__())
        try:
            await asyncio.shield(entering)
        except asyncio.CancelledError:
            while self._paho.socket() is None and not entering.done():
                await asyncio.wait({entering}, timeout=POLL_S)
            entering.cancel()
            raise
        finally:
            await asyncio.wait({entering})
            self._entered = not entering.cancelled() and entering.exception() is None

    async def _keep_alive(self) -> None:
        """Let paho ping the broker, and notice when it does not answer."""
        while self._paho.loop_misc() == paho.MQTT_ERR_SUCCESS:  # noqa: ASYNC110
            await asyncio.sleep(1.0)

    async def _close(self) -> None:
        if self._pulse is not None:
            self._pulse.cancel()
        if self._entered:
            self._write_gathered()
            with contextlib.suppress(aiomqtt.MqttError):
                await self._client.__aexit__(None, None, None)
        self._paho._sock_close()  # noqa: SLF001
        self._fail_publishing("the connection was closed")

    async def subscribe(self, subscriptions: tuple[str, ...], *, qos: int = 1) -> None:
        """Subscribe.

        Raises:
            ConnectionLost: the connection died, or the broker refuses.
        """
        for subscription in subscriptions:
            subscribing: asyncio.Future[Any] = asyncio.ensure_future(
                self._client.subscribe(subscription, qos=qos, timeout=SUBSCRIBE_LIMIT_S)
            )
            lost: asyncio.Future[Any] = self._client._disconnected  # noqa: SLF001
            await asyncio.wait((subscribing, lost), return_when=asyncio.FIRST_COMPLETED)
            if not subscribing.done():
                subscribing.cancel()
                raise ConnectionLost(self._lost_because or "the connection was closed")
            _check_granted(subscription, subscribing.result())

    async def next_messages(self) -> list[Received]:
        """Return the next messages: one at least, and no more than keep others waiting for a moment.

        Raises:
            ConnectionLost: there will be none; those not handed out yet come again on the next connection.
        """
        while not (self._inbox or self._lost_because):
            self._news.clear()
            await self._news.wait()
        if self._lost_because:
            raise ConnectionLost(self._lost_because)
        return [self._inbox.popleft() for _ in range(min(len(self._inbox), READ_AT_ONCE))]

    async def publish(self, topic: str, payload: bytes, *, retain: bool) -> None:
        """Publish at QoS 1; see `Transport.publish`."""
        if self._lost_because:
            raise NotPublished(f"{topic}: {self._lost_because}")
        info = self._paho.publish(topic, payload, qos=1, retain=retain)
        if info.rc != paho.MQTT_ERR_SUCCESS:
            raise NotPublished(f"{topic}: {paho.error_string(info.rc)}")
        answer = self._publishing[info.mid] = self._loop.create_future()
        try:
            async with asyncio.timeout(PUBLISH_LIMIT_S):
                reason = await answer
        except TimeoutError as error:
            raise NotPublished(f"{topic}: no answer from the broker within {PUBLISH_LIMIT_S:.0f} s") from error
        finally:
            self._publishing.pop(info.mid, None)
        if reason.is_failure:
            raise NotPublished(f"{topic}: the broker refuses it: {reason} (0x{reason.value:02x})")

    async def settle(self) -> None:
        """Wait until the broker has answered all that is being published, as long as it may take."""
        if under_way := list(self._publishing.values()):
            await asyncio.wait(under_way, timeout=PUBLISH_LIMIT_S)

    def end(self, because: str) -> None:
        """Have `next_messages` end in order. What was acknowledged and said before goes out first."""
        self._write_gathered()
        self._lost_because = self._lost_because or because
        self._news.set()

    def tell(self, topic: str, payload: bytes) -> None:
        """Publish at QoS 0, together with whatever else is written at this moment; see `Transport.tell`."""
        self._saying.append(packets.publish_once(topic, payload, has_properties=self._has_properties))
        self._write_soon()

    def _acknowledge(self, number: int, mid: int) -> None:
        """Acknowledge once. QoS 0 has nothing to acknowledge: the broker drops a client that does."""
        if number not in self._unacknowledged:
            return
        self._unacknowledged.discard(number)
        if self._lost_because:
            return
        if mid:
            self._acknowledging.append(mid)
            self._write_soon()
        if self._paused and len(self._unacknowledged) < self._max_unacknowledged:
            self._resume()

    def _write_soon(self) -> None:
        if self._writing is None:
            self._writing = self._loop.call_soon(self._write_gathered)

    def _write_gathered(self) -> None:
        """Write what was acknowledged and said in this turn of the loop at once: each packet by itself would cost paho
        a call of the kernel."""
        self._writing = None
        gathered = packets.acknowledgements(self._acknowledging) + b"".join(self._saying)
        self._acknowledging.clear()
        self._saying.clear()
        if gathered and not self._lost_because:
            self._paho._packet_queue(packets.PUBACK, gathered, 0, 0)  # noqa: SLF001

    def _on_message(self, _client: paho.Client, _userdata: Any, message: paho.MQTTMessage) -> None:
        self._receive(message._topic, bytes(message.payload), message.mid if message.qos else 0, message.retain)  # noqa: SLF001

    def _receive(self, topic: bytes, payload: bytes, mid: int, retained: bool) -> None:
        if topic in self._muted:
            self._drop(mid)
            return
        self._received += 1
        self._unacknowledged.add(self._received)
        acknowledge = partial(self._acknowledge, self._received, mid)
        try:
            name = topic.decode()
        except UnicodeDecodeError as error:
            # Not acknowledged it would come again on every connection, and end each of them.
            log.warning("message.rejected", because=f"its topic is not UTF-8: {error}")
            acknowledge()
            return
        self._inbox.append(Received(name, payload, retained, acknowledge))
        self._news.set()
        self._pause_when_full()

    def _drop(self, mid: int) -> None:
        if mid and not self._lost_because:
            self._acknowledging.append(mid)
            self._write_soon()

    def let_flow(self) -> None:
        """Hold the number of messages not yet acknowledged from here on.

        Before, while we subscribe, the answers we wait for stand behind the backlog of our session; of that, the broker
        sends no more than its own limit until we acknowledge.
        """
        self._flowing = True
        self._pause_when_full()

    def _pause_when_full(self) -> None:
        """Stop reading, so that the backlog stays in the broker. Mosquitto 2.0 does not hold Receive Maximum (its
        issue #2301), hence not by that alone."""
        if len(self._unacknowledged) < self._max_unacknowledged or not self._flowing:
            return
        sock = self._paho.socket()
        if sock is not None and not self._paused:
            self._paused = True
            self._loop.remove_reader(sock)

    def _resume(self) -> None:
        self._paused = False
        sock = self._paho.socket()
        if sock is not None:
            self._loop.add_reader(sock, self._read)
            self._loop.call_soon(self._read)

    def _read(self) -> None:
        """Read the packets that are here, a few at a time so that others get their turn."""
        for _ in range(READ_AT_ONCE):
            sock = self._paho.socket()
            if self._paused or sock is None:
                return
            assert isinstance(sock, ReadAhead)
            if not self._take_publish(sock):
                try:
                    if self._paho.loop_read() > paho.MQTT_ERR_SUCCESS:
                        self._note_refusal(sock.failure)
                except Exception as error:
                    self._lose(error)
                    return
            if not sock.pending():
                return
        self._loop.call_soon(self._read)

    def _take_publish(self, sock: ReadAhead) -> bool:
        """Take in the message that comes next without paho, if it is one that can be."""
        if self._paho._in_packet["command"]:  # noqa: SLF001 - paho has read a part of it
            return False
        found = sock.take_publish(has_properties=self._has_properties)
        if found is None:
            return False
        self._receive(found.topic, found.payload, found.number, found.retained)
        return True

    def _write(self) -> None:
        try:
            self._paho.loop_write()
        except Exception as error:
            self._lose(error)

    def _note_refusal(self, because: str) -> None:
        """End the wait for the broker's answer when it hangs up: by TLS, it refuses a certificate only then."""
        entered = self._client._connected  # noqa: SLF001
        if not entered.done():
            entered.set_exception(aiomqtt.MqttError(f"the broker ended the connection{because and f': {because}'}"))

    def _lose(self, error: Exception) -> None:
        if not self._client._disconnected.done():  # noqa: SLF001
            self._client._disconnected.set_exception(error)  # noqa: SLF001
            # Looked at once: while the connection is being made nobody else does, and asyncio would complain.
            self._client._disconnected.exception()  # noqa: SLF001

    def _on_socket_open(self, _client: paho.Client, _userdata: Any, sock: Any) -> None:
        """Read by `_read` in place of aiomqtt's own reader, which cannot be paused and reads TLS without end."""
        self._loop.call_soon_threadsafe(self._add_reader, sock)

    def _add_reader(self, sock: Any) -> None:
        if sock.fileno() >= 0:
            self._loop.add_reader(sock, self._read)

    def _on_socket_register_write(self, _client: paho.Client, _userdata: Any, sock: Any) -> None:
        self._loop.call_soon_threadsafe(self._add_writer, sock)

    def _add_writer(self, sock: Any) -> None:
        """Look first: aiomqtt's own would say "Bad file descriptor" when the connection broke in between, and spin on
        another connection that was given the same number."""
        if sock.fileno() >= 0 and self._paho.want_write():
            self._loop.add_writer(sock, self._write)

    def _on_connect(
        self, before: Any, client: paho.Client, userdata: Any, flags: Any, reason: ReasonCode, properties: Properties
    ) -> None:
        self.session_present = flags.session_present
        allowed = getattr(properties, "ReceiveMaximum", RECEIVE_MAXIMUM)
        self._paho._max_inflight_messages = min(MAX_IN_FLIGHT, allowed)  # noqa: SLF001
        before(client, userdata, flags, reason, properties)

    def _on_publish(
        self, _client: paho.Client, _userdata: Any, mid: int, reason: ReasonCode, _properties: Properties
    ) -> None:
        answer = self._publishing.get(mid)
        if answer is not None and not answer.done():
            answer.set_result(reason)

    def _on_lost(self, disconnected: asyncio.Future[None]) -> None:
        error = None if disconnected.cancelled() else disconnected.exception()
        self._lost_because = _text_of(error) if error else "the connection was closed"
        self._fail_publishing(self._lost_because)
        self._news.set()

    def _fail_publishing(self, because: str) -> None:
        for answer in self._publishing.values():
            if not answer.done():
                answer.set_exception(NotPublished(because))


def _check_granted(subscription: str, codes: Any) -> None:
    for code in codes:
        value = code.value if isinstance(code, ReasonCode) else int(code)
        if value >= UNSPECIFIED_ERROR:
            raise ConnectionLost(f"the broker refuses the subscription to {subscription}: {code} (0x{value:02x})")


def _text_of(error: BaseException) -> str:
    """Return why, in words. paho calls a connection that simply broke an unspecified error."""
    if isinstance(error, aiomqtt.MqttCodeError) and isinstance(error.rc, ReasonCode):
        return "the connection broke" if error.rc.value == UNSPECIFIED_ERROR else f"the broker says: {error.rc}"
    return str(error) or type(error).__name__
