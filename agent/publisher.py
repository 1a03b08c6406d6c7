"""What the node says and hears over MQTT.

Events go out in order as soon as they are in the outbox, and again until the controller says that it has stored them:
that the broker took one proves nothing. The level goes out retained, every minute and at every connection, so that
whoever missed an edge is healed by it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import structlog

from agent.clock import Clock
from agent.outbox import Outbox, Pending
from checks.finding import FindingKey
from wire import messages, topics
from wire.messages import (
    BenchProgress,
    Body,
    Envelope,
    EventBody,
    FindingCleared,
    FindingRaised,
    Presence,
    Refused,
    SignedOrder,
    Status,
    Stored,
    Unknown,
)
from wire.topics import Address, Channel
from wire.transport import NotPublished, Received, Transport, Will

log = structlog.get_logger()

HEARD_AT: Final = 0
"""The QoS at which the node hears. The controller says everything again until the node answers, so nothing needs the
queue that a broker would keep for each node. Source: our measurements; NATS 2.9 dropped 5,000 nodes that wanted one.
"""

WINDOW: Final = 64
"""So many of the oldest events are under way at once."""

FIRST_RESEND_S: Final = 2.0
LAST_RESEND_S: Final = 60.0
STATUS_INTERVAL_S: Final = 60.0
STATUS_RETRY_S: Final = 2.0
STOP_LIMIT_S: Final = 3.0
LOG_EVERY_S: Final = 60.0
PATIENCE: Final = 8
"""An event sent so often (for four minutes) no longer holds up others: it may be one that the controller will not take.
It is still sent once a minute."""

MAX_PASSED_OVER: Final = 256


@dataclass(frozen=True, slots=True)
class Identity:
    """Who speaks."""

    cell: str
    node: str
    boot_id: str

    def topic(self, channel: Channel) -> str:
        """Return the topic of one of this node's channels."""
        return Address(self.cell, self.node, channel).topic

    def envelope(self, body: Body, *, sent_at: float) -> Envelope:
        """Return what this node sends."""
        return Envelope(messages.VERSION, self.node, self.boot_id, 0, sent_at, body)

    def envelope_of(self, event: Pending, *, sent_at: float, attempt: int) -> Envelope:
        """Return what this node sends for an event, which may be of an earlier boot. `attempt`: counted from 1."""
        return Envelope(
            messages.VERSION,
            self.node,
            event.boot_id or self.boot_id,
            event.seq,
            sent_at,
            event.body,
            recorded_at=event.recorded_at,
            attempt=attempt,
        )


def subscriptions(identity: Identity) -> tuple[str, ...]:
    """Return the topics this node hears: for the transport that the publisher is given."""
    return identity.topic(Channel.ORDER), identity.topic(Channel.ACK)


@dataclass(slots=True)
class Attendance:
    """Since when this node attends.

    What it says when a connection begins and the Last Will of that same connection carry the same time. A cluster may
    say the Last Will of an earlier connection after the beginning of the next one: by its time it is known as late.
    """

    identity: Identity
    clock: Clock
    began_at: float = 0.0

    def last_will(self) -> Will:
        """Begin a connection and return what the broker says when this node vanishes: for the publisher's transport."""
        self.began_at = self.clock.wall()
        lost = self.identity.envelope(Presence("lost", self.began_at), sent_at=self.began_at)
        return Will(self.identity.topic(Channel.PRESENCE), messages.encode(lost))


def resend_after_s(attempt: int) -> float:
    """Return how long to wait for the controller after the attempt, counted from 1."""
    return min(LAST_RESEND_S, FIRST_RESEND_S * 2.0 ** min(attempt - 1, 16))


@dataclass(slots=True)
class _Sent:
    """An event under way. `due_at`: monotonic time of the next attempt."""

    event: Pending
    due_at: float
    attempts: int = 0
    publishing: bool = False


Name = tuple[str, int]


class Publisher:
    """The node's voice and ear.

    Attributes:
        rejected: reason → how many messages to this node were dropped for it.
        published: how often an event went out and the broker took it; stored: how many the controller has stored.
    """

    def __init__(
        self,
        transport: Transport,
        outbox: Outbox,
        attendance: Attendance,
        status: Callable[[], Status],
        on_order: Callable[[SignedOrder, Envelope], Awaitable[None]],
        *,
        status_interval_s: float = STATUS_INTERVAL_S,
        clock: Clock | None = None,
    ) -> None:
        """Say nothing yet.

        Args:
            transport: made with `subscriptions(identity)` at `HEARD_AT` and `attendance.last_will`; run by this
                publisher alone.
            status: gives the level as it is now.
            on_order: is awaited for each order, beside others; the order is acknowledged to the broker when it returns.
        """
        self.rejected: Counter[str] = Counter()
        self.published = self.stored = 0
        self._transport, self._outbox, self._attendance = transport, outbox, attendance
        self._identity = attendance.identity
        self._status, self._on_order = status, on_order
        self._status_interval_s = status_interval_s
        self._clock = clock or Clock()
        self._wake = asyncio.Event()
        self._stopped = asyncio.Event()
        self._sent: dict[Name, _Sent] = {}
        self._has_news = True
        self._status_due_at = 0.0
        self._logged_at: dict[str, float] = {}
        self._work: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Speak and listen until `stop`, or until cancelled."""
        speaking = asyncio.create_task(self._speak(), name="publisher")
        listening = asyncio.create_task(
            self._transport.run(on_message=self._take, on_connected=self._connected), name="mqtt"
        )
        stopped = asyncio.create_task(self._stopped.wait())
        try:
            done, _ = await asyncio.wait({speaking, listening, stopped}, return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stopped}:
                task.result()
        finally:
            await _end({stopped, speaking, *self._work})
            await _end({listening})

    def notify(self) -> None:
        """The outbox holds something new: send it now."""
        self._has_news = True
        self._wake.set()

    def publish_status(self) -> None:
        """Send the level now, without waiting for its time."""
        self._status_due_at = self._clock.monotonic()
        self._wake.set()

    def say(self, progress: BenchProgress) -> None:
        """Tell whoever watches how far a benchmark is; nobody keeps it, and without a connection it is not said."""
        envelope = self._identity.envelope(progress, sent_at=self._clock.wall())
        self._transport.tell(self._identity.topic(Channel.STATUS), messages.encode(envelope))

    @property
    def connected(self) -> bool:
        """Whether the broker can be reached now."""
        return self._transport.connected

    async def stop(self) -> None:
        """Say that this node stops, so that nobody takes it for lost, and end `run`."""
        with contextlib.suppress(NotPublished, TimeoutError):
            async with asyncio.timeout(STOP_LIMIT_S):
                await self._say_presence("stopped", self._clock.wall())
        self._stopped.set()

    async def _connected(self) -> None:
        """Say hello; on a new connection everything under way is due again."""
        await self._say_presence("online", self._attendance.began_at)
        now = self._clock.monotonic()
        for sent in self._sent.values():
            sent.due_at = now
        self.publish_status()

    async def _say_presence(self, state: str, since: float) -> None:
        presence = self._identity.envelope(Presence(state, since), sent_at=self._clock.wall())
        await self._transport.publish(self._identity.topic(Channel.PRESENCE), messages.encode(presence), retain=True)

    async def _speak(self) -> None:
        while True:
            self._wake.clear()
            if self._transport.connected:
                self._say_level_when_due()
                self._send_due()
            await self._wait(self._next_due_at() - self._clock.monotonic())

    async def _wait(self, longest_s: float) -> None:
        """Wait until notified, at most so long."""
        waking = asyncio.create_task(self._wake.wait())
        sleeping = asyncio.ensure_future(self._clock.sleep(max(0.0, longest_s)))
        try:
            await asyncio.wait({waking, sleeping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waking.cancel()
            sleeping.cancel()

    def _next_due_at(self) -> float:
        """Return the monotonic time when something is to be said next. Without a connection that is at the next one."""
        if not self._transport.connected:
            return self._clock.monotonic() + self._status_interval_s
        return min([self._status_due_at, *(sent.due_at for sent in self._in_turn() if not sent.publishing)])

    def _say_level_when_due(self) -> None:
        now = self._clock.monotonic()
        if now >= self._status_due_at:
            self._status_due_at = now + self._status_interval_s
            self._spawn(self._publish_level())

    async def _publish_level(self) -> None:
        now = self._clock.wall()
        connected_at = self._attendance.began_at
        level = msgspec.structs.replace(self._status(), events_dropped=self._outbox.dropped, connected_at=connected_at)
        payload = messages.encode(self._identity.envelope(level, sent_at=now))
        try:
            await self._transport.publish(self._identity.topic(Channel.STATUS), payload, retain=True)
        except NotPublished as error:
            self._log_sometimes("status.delayed", "status", because=str(error))
            self._status_due_at = min(self._status_due_at, self._clock.monotonic() + STATUS_RETRY_S)
            self._wake.set()

    def _send_due(self) -> None:
        if self._has_news:
            self._fill_window()
        now = self._clock.monotonic()
        for sent in list(self._in_turn()):
            if sent.due_at <= now and not sent.publishing:
                sent.attempts += 1
                self._has_news |= sent.attempts == PATIENCE
                sent.due_at = now + resend_after_s(sent.attempts)
                sent.publishing = True
                self._spawn(self._publish_event(sent))

    def _in_turn(self) -> Iterator[_Sent]:
        """Yield the events that may go out: of one finding's edges the oldest alone, until it is stored.

        A broker may give a later edge first: a cluster does when one of its nodes dies between them.
        """
        ahead: set[FindingKey] = set()
        for sent in self._sent.values():
            key = _key_of(sent.event.body)
            if key in ahead:
                continue
            if key is not None and sent.attempts < PATIENCE:
                ahead.add(key)
            yield sent

    def _fill_window(self) -> None:
        """Take the next events up, oldest first, and let go of those that the outbox gave up."""
        self._has_news = False
        passed_over = sum(sent.attempts >= PATIENCE for sent in self._sent.values())
        waiting = self._outbox.pending(WINDOW + min(passed_over, MAX_PASSED_OVER))
        now, known = self._clock.monotonic(), self._sent
        self._sent = {_name(event): known.get(_name(event)) or _Sent(event, now) for event in waiting}

    async def _publish_event(self, sent: _Sent) -> None:
        """Publish one event. Tasks start in the order in which they are made, which keeps events in order."""
        event = sent.event
        envelope = self._identity.envelope_of(event, sent_at=self._clock.wall(), attempt=sent.attempts)
        try:
            await self._transport.publish(self._identity.topic(Channel.EVENT), messages.encode(envelope))
            self.published += 1
        except NotPublished as error:
            self._log_sometimes("event.delayed", "event", because=str(error), waiting=self._outbox.depth())
        finally:
            sent.publishing = False
            self._wake.set()

    async def _take(self, received: Received) -> None:
        """Hear one message; anything that is not for us, or not in order, is counted and dropped."""
        try:
            address = topics.parse(received.topic)
            envelope = messages.decode(received.payload, address)
            self._dispatch(address, envelope, received)
        except ValueError as error:
            self._reject(received, "misaddressed", str(error))
        except Refused as refusal:
            self._reject(received, str(refusal).split(":", maxsplit=1)[0], str(refusal))

    def _dispatch(self, address: Address, envelope: Envelope, received: Received) -> None:
        if (address.cell, address.node) != (self._identity.cell, self._identity.node):
            raise Refused(f"misplaced: for node {address.node!r} of cell {address.cell!r}")
        match address.channel, envelope.body:
            case Channel.ACK, Stored() as stored:
                self._note_stored(stored)
                received.acknowledge()
            case Channel.ORDER, SignedOrder() as order:
                self._spawn(self._give_order(order, envelope, received))
            case channel, body:
                raise Refused(f"misplaced: {type(body).__name__} on channel {channel}")

    def _note_stored(self, stored: Stored) -> None:
        self._outbox.stored(stored.boot_id, stored.seqs)
        for seq in stored.seqs:
            self.stored += self._sent.pop((stored.boot_id, seq), None) is not None
        self.notify()

    async def _give_order(self, order: SignedOrder, envelope: Envelope, received: Received) -> None:
        try:
            await self._on_order(order, envelope)
        except Exception:
            log.exception("order.failed", order_id=envelope.correlation_id)
        received.acknowledge()

    def _reject(self, received: Received, kind: str, because: str) -> None:
        self.rejected[kind] += 1
        self._log_sometimes(
            "message.rejected",
            received.topic,
            topic=received.topic[:200],
            because=because[:500],
            rejected=self.rejected[kind],
        )
        received.acknowledge()

    def _log_sometimes(self, event: str, source: str, **facts: Any) -> None:
        """Log once per source and minute."""
        now = self._clock.monotonic()
        if now - self._logged_at.get(source, -LOG_EVERY_S) >= LOG_EVERY_S:
            self._logged_at[source] = now
            log.warning(event, **facts)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._work.add(task)
        task.add_done_callback(self._note_end)

    def _note_end(self, task: asyncio.Task[None]) -> None:
        self._work.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.error("publisher.failed", because=repr(error), exc_info=error)


def _key_of(body: EventBody | Unknown) -> FindingKey | None:
    match body:
        case FindingRaised():
            return body.finding.key
        case FindingCleared():
            return body.key
        case _:
            return None


def _name(event: Pending) -> Name:
    return event.boot_id, event.seq


async def _end(tasks: set[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
