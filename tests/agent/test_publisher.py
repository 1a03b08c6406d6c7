"""The publisher on a real Mosquitto, opposite a controller that stores only what the test lets it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import msgspec
import pytest
import structlog

from agent.clock import Clock
from agent.outbox import Outbox
from agent.publisher import (
    HEARD_AT,
    LOG_EVERY_S,
    PATIENCE,
    STATUS_INTERVAL_S,
    WINDOW,
    Attendance,
    Identity,
    Publisher,
    resend_after_s,
    subscriptions,
)
from checks.finding import FindingKey
from cli.broker import Mosquitto
from tests.support.broker import kill, listening, running_broker, settings, until
from wire.messages import (
    VERSION,
    Body,
    Envelope,
    FindingCleared,
    NodeFacts,
    Presence,
    SignedOrder,
    Status,
    Stored,
    decode,
    encode,
)
from wire.read_ahead import ReadAhead
from wire.topics import Channel, every_node, parse
from wire.transport import MqttTransport, Received

pytestmark = pytest.mark.broker

NODE = Identity("main", "n1", "boot-1")
HEARD = tuple(every_node("main", channel) for channel in (Channel.EVENT, Channel.STATUS, Channel.PRESENCE))


@dataclass(slots=True)
class HandTime:
    """Time that stands still until it is moved; the wall clock says 1,000 s more than the monotonic one."""

    now: float = 100.0
    sleepers: list[tuple[float, asyncio.Future[None]]] = field(default_factory=list)

    def clock(self) -> Clock:
        return Clock(wall=lambda: self.now + 1_000.0, monotonic=lambda: self.now, sleep=self.sleep)

    async def sleep(self, duration_s: float) -> None:
        waking = asyncio.get_running_loop().create_future()
        self.sleepers.append((self.now + duration_s, waking))
        await waking

    def advance(self, duration_s: float) -> None:
        self.now += duration_s
        for at, waking in self.sleepers:
            if at <= self.now and not waking.done():
                waking.set_result(None)


@dataclass(slots=True)
class Controller:
    """Hears the node, and says `Stored` for what `stores` lets through."""

    transport: MqttTransport
    stores: Callable[[int], bool]
    heard: list[tuple[Channel, Envelope, bool]] = field(default_factory=list)
    answers: set[asyncio.Task[None]] = field(default_factory=set)

    async def take(self, received: Received) -> None:
        address = parse(received.topic)
        envelope = decode(received.payload, address)
        self.heard.append((address.channel, envelope, received.retained))
        received.acknowledge()
        if address.channel is Channel.EVENT and self.stores(envelope.seq):
            answer = asyncio.create_task(self.say(Channel.ACK, Stored(envelope.boot_id, [envelope.seq])))
            self.answers.add(answer)
            answer.add_done_callback(self.answers.discard)

    async def say(self, channel: Channel, body: Body) -> None:
        envelope = Envelope(VERSION, "n1", "boot-1", 0, 0.0, body, correlation_id="o-1")
        await self.transport.publish(NODE.topic(channel), encode(envelope))

    def bodies(self, channel: Channel) -> list[Body]:
        return [envelope.body for heard_on, envelope, _ in self.heard if heard_on is channel]

    def seqs(self) -> list[int]:
        return [envelope.seq for channel, envelope, _ in self.heard if channel is Channel.EVENT]


@dataclass(slots=True)
class Scene:
    """A node with its outbox, and the controller opposite."""

    broker: Mosquitto
    outbox: Outbox
    publisher: Publisher
    controller: Controller
    running: asyncio.Task[None]
    time: HandTime
    orders: list[tuple[SignedOrder, Envelope]]

    def put(self, count: int) -> list[int]:
        seqs = [
            self.outbox.put(FindingCleared(FindingKey("c", "d", str(number)), "", 1.0), 1.0) for number in range(count)
        ]
        self.publisher.notify()
        return seqs

    async def rests(self) -> None:
        """Wait until the broker has what was sent, and the publisher sleeps until something is due."""
        await until(
            lambda: (
                not self.publisher._wake.is_set()
                and not any(sent.publishing for sent in self.publisher._sent.values())
                and any(not waking.done() for _, waking in self.time.sleepers)
            )
        )


def level() -> Status:
    return Status(NodeFacts(), [], {}, 0, 1.0, 2.0)


@contextlib.asynccontextmanager
async def scene(
    directory: Path,
    *,
    stores: Callable[[int], bool] = lambda _: True,
    on_order: Callable[[SignedOrder], None] = lambda _: None,
) -> AsyncIterator[Scene]:
    """Give a connected node, its outbox begun in an earlier boot, and a controller that already listens."""
    Outbox(directory / "outbox.sqlite", "boot-0").close()
    async with running_broker(directory / "broker") as broker:
        controller = Controller(MqttTransport(settings(broker), subscriptions=HEARD, will=None), stores)
        hearing = asyncio.create_task(controller.transport.run(on_message=controller.take, on_connected=_nothing))
        await until(lambda: controller.transport.connected)
        outbox, hand_time, orders = Outbox(directory / "outbox.sqlite", "boot-1"), HandTime(), []

        async def take_order(order: SignedOrder, envelope: Envelope) -> None:
            orders.append((order, envelope))
            on_order(order)

        attendance = Attendance(NODE, hand_time.clock())
        transport = MqttTransport(
            settings(broker, "n1"),
            subscriptions=subscriptions(NODE),
            will=attendance.last_will,
            qos=HEARD_AT,
            jitter=lambda: 0.0,
        )
        publisher = Publisher(transport, outbox, attendance, level, take_order, clock=hand_time.clock())
        running = asyncio.create_task(publisher.run())
        await until(lambda: controller.bodies(Channel.STATUS))
        try:
            yield Scene(broker, outbox, publisher, controller, running, hand_time, orders)
        finally:
            running.cancel()
            hearing.cancel()
            await asyncio.gather(running, hearing, *controller.answers, return_exceptions=True)
            outbox.close()


async def _nothing() -> None:
    pass


async def test_an_event_goes_out_at_once_and_is_kept_until_it_is_stored(tmp_path: Path) -> None:
    allowed: set[int] = set()
    async with scene(tmp_path, stores=allowed.__contains__) as stage:
        began = time.monotonic()
        (seq,) = stage.put(1)
        await until(lambda: stage.controller.seqs() == [seq])
        await asyncio.sleep(0.2)
        (_, envelope, retained) = stage.controller.heard[-1]

        assert (envelope.node, envelope.boot_id, envelope.seq, retained) == ("n1", "boot-1", 1, False)
        assert envelope.body == FindingCleared(FindingKey("c", "d", "0"), "", 1.0)
        assert (envelope.attempt, began <= time.monotonic() + envelope.recorded_at - time.time()) == (1, True)
        assert stage.outbox.depth() == 1
        allowed.add(seq)
        await stage.controller.say(Channel.ACK, Stored("boot-1", [seq]))
        await until(lambda: stage.outbox.depth() == 0)


async def test_what_is_not_stored_is_sent_again_ever_more_slowly(tmp_path: Path) -> None:
    async with scene(tmp_path, stores=lambda _: False) as stage:
        stage.put(1)
        await until(lambda: len(stage.controller.seqs()) == 1)
        for attempt, wait_s in enumerate((2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0), start=1):
            await stage.rests()
            stage.time.advance(wait_s - 0.1)
            await asyncio.sleep(0.05)
            assert len(stage.controller.seqs()) == attempt
            stage.time.advance(0.1)
            await until(partial(_has_heard, stage, attempt + 1))

    assert [resend_after_s(attempt) for attempt in (1, 2, 6, 1000)] == [2.0, 4.0, 60.0, 60.0]


def _has_heard(stage: Scene, count: int) -> bool:
    return len(stage.controller.seqs()) == count


async def test_no_more_than_the_window_is_under_way_and_all_goes_out_in_order(tmp_path: Path) -> None:
    is_storing = False
    async with scene(tmp_path, stores=lambda _: is_storing) as stage:
        seqs = stage.put(WINDOW * 4)
        await until(lambda: len(stage.controller.seqs()) == WINDOW)
        await asyncio.sleep(0.2)
        assert stage.controller.seqs() == seqs[:WINDOW]

        is_storing = True
        await stage.controller.say(Channel.ACK, Stored("boot-1", seqs[:WINDOW]))
        await until(lambda: stage.outbox.depth() == 0)
        assert stage.controller.seqs() == seqs


async def test_events_that_are_never_stored_do_not_hold_up_the_others_for_ever(tmp_path: Path) -> None:
    async with scene(tmp_path, stores=lambda seq: seq > WINDOW) as stage:
        stage.put(2 * WINDOW)
        for attempt in range(1, PATIENCE):
            await until(partial(_has_heard, stage, attempt * WINDOW))
            await stage.rests()
            stage.time.advance(resend_after_s(attempt))
        await until(lambda: stage.outbox.depth() == WINDOW)

        assert [event.seq for event in stage.outbox.pending(1000)] == list(range(1, WINDOW + 1))


async def test_what_was_under_way_is_sent_again_as_soon_as_the_broker_is_back(tmp_path: Path) -> None:
    """It is stopped in order, so that it remembers the controller's session whoever is back first."""
    async with scene(tmp_path, stores=lambda _: False) as stage:
        stage.put(3)
        await until(partial(_has_heard, stage, 3))
        await stage.broker.stop()
        await stage.broker.start()
        await until(lambda: len(stage.controller.seqs()) >= 6)

        assert stage.controller.seqs()[-3:] == [1, 2, 3]


async def test_nothing_is_lost_over_a_broker_that_is_killed_again_and_again(tmp_path: Path) -> None:
    async with scene(tmp_path) as stage:
        seqs: list[int] = []
        for _ in range(3):
            seqs += stage.put(100)
            await asyncio.sleep(0.02)
            await kill(stage.broker)
            seqs += stage.put(100)
            await stage.broker.start()
            await until(lambda: stage.controller.transport.connected)
        await _until_stored(stage)

        assert set(stage.controller.seqs()) == set(seqs)


async def _until_stored(stage: Scene) -> None:
    """Let time pass until the controller has stored everything; what was lost on the way is sent again."""
    for _ in range(400):
        if stage.outbox.depth() == 0:
            return
        await asyncio.sleep(0.05)
        stage.time.advance(1.0)
    raise AssertionError(f"{stage.outbox.depth()} events are not stored")


async def test_a_controller_that_loses_what_it_took_is_told_again(tmp_path: Path) -> None:
    """It takes every message from the broker, and forgets every other one before it is stored."""
    seen: set[int] = set()

    def stores(seq: int) -> bool:
        is_again = seq in seen
        seen.add(seq)
        return is_again or seq % 2 == 0

    async with scene(tmp_path, stores=stores) as stage:
        seqs = stage.put(50)
        await _until_stored(stage)

        assert set(stage.controller.seqs()) == set(seqs)


async def test_events_of_an_earlier_boot_keep_their_name(tmp_path: Path) -> None:
    Outbox(tmp_path / "outbox.sqlite", "boot-0").close()
    earlier = Outbox(tmp_path / "outbox.sqlite", "boot-0b")
    earlier.put(FindingCleared(FindingKey("c", "d", "e"), "", 1.0), 1.0)
    earlier.close()
    async with scene(tmp_path) as stage:
        stage.put(1)
        await until(lambda: stage.outbox.depth() == 0)
        named = [(e.boot_id, e.seq) for channel, e, _ in stage.controller.heard if channel is Channel.EVENT]

        assert named == [("boot-0b", 1), ("boot-1", 1)]


async def test_the_level_is_retained_and_said_at_once_when_asked_and_every_minute(tmp_path: Path) -> None:
    async with scene(tmp_path) as stage:
        [(_, presence, _)] = [said for said in stage.controller.heard if said[0] is Channel.PRESENCE]
        assert isinstance(presence.body, Presence)
        connected_at = presence.body.observed_at
        assert stage.controller.bodies(Channel.STATUS) == [msgspec.structs.replace(level(), connected_at=connected_at)]
        stage.publisher.publish_status()
        await until(lambda: len(stage.controller.bodies(Channel.STATUS)) == 2)
        await stage.rests()
        stage.time.advance(STATUS_INTERVAL_S - 0.1)
        await asyncio.sleep(0.1)
        assert len(stage.controller.bodies(Channel.STATUS)) == 2
        stage.outbox.dropped = 7
        stage.time.advance(0.1)
        await until(lambda: len(stage.controller.bodies(Channel.STATUS)) == 3)
        async with listening(settings(stage.broker, client_id="late"), NODE.topic(Channel.STATUS)) as late:
            await until(lambda: late.heard)
            body = decode(late.heard[0].payload, parse(late.heard[0].topic)).body

        assert late.heard[0].retained
        assert isinstance(body, Status)
        assert body.events_dropped == 7


async def test_presence_says_online_then_stopped_when_asked_to_stop(tmp_path: Path) -> None:
    async with scene(tmp_path) as stage:
        await stage.publisher.stop()
        await asyncio.wait_for(stage.running, 30.0)
        await until(lambda: len(stage.controller.bodies(Channel.PRESENCE)) == 2)
        async with listening(settings(stage.broker, client_id="late"), NODE.topic(Channel.PRESENCE)) as late:
            await until(lambda: late.heard)
            retained = decode(late.heard[0].payload, parse(late.heard[0].topic)).body

        assert stage.controller.bodies(Channel.PRESENCE) == [Presence("online", 1_100.0), Presence("stopped", 1_100.0)]
        assert retained == Presence("stopped", 1_100.0)


async def test_stopping_without_a_broker_does_not_wait(tmp_path: Path) -> None:
    async with scene(tmp_path) as stage:
        await kill(stage.broker)
        began = time.monotonic()
        await stage.publisher.stop()
        await asyncio.wait_for(stage.running, 30.0)

        assert time.monotonic() - began < 2.0


async def test_presence_says_lost_when_the_node_vanishes_and_online_when_it_is_back(tmp_path: Path) -> None:
    async with scene(tmp_path) as stage:
        transport = stage.publisher._transport
        assert isinstance(transport, MqttTransport)
        assert transport._connection is not None
        sock = transport._connection._paho.socket()
        assert isinstance(sock, ReadAhead)
        sock.shutdown(socket.SHUT_RDWR)
        await until(lambda: len(stage.controller.bodies(Channel.PRESENCE)) == 3)

        states = [body.state for body in stage.controller.bodies(Channel.PRESENCE) if isinstance(body, Presence)]
        assert states == ["online", "lost", "online"]
        await until(lambda: len(stage.controller.bodies(Channel.STATUS)) == 2)


async def test_orders_are_handed_over_and_a_failing_one_harms_nothing(tmp_path: Path) -> None:
    def refuse(order: SignedOrder) -> None:
        if order.key_id == "bad":
            raise RuntimeError("no such thing")

    async with scene(tmp_path, on_order=refuse) as stage:
        with structlog.testing.capture_logs() as logs:
            for key_id in ("bad", "good"):
                await stage.controller.say(Channel.ORDER, SignedOrder(key_id, "{}", ""))
            await until(lambda: len(stage.orders) == 2)
            await until(lambda: any(entry["event"] == "order.failed" for entry in logs))

        assert [order.key_id for order, _ in stage.orders] == ["bad", "good"]
        assert stage.orders[0][1].correlation_id == "o-1"
        assert not stage.running.done()


async def test_a_long_order_does_not_hold_up_acknowledgements(tmp_path: Path) -> None:
    allowed = asyncio.Event()
    begun = asyncio.Event()
    async with scene(tmp_path) as stage:

        async def take_long(_order: SignedOrder, _envelope: Envelope) -> None:
            begun.set()
            await allowed.wait()

        stage.publisher._on_order = take_long
        await stage.controller.say(Channel.ORDER, SignedOrder("k", "{}", ""))
        await asyncio.wait_for(begun.wait(), 30.0)
        stage.put(3)
        await until(lambda: stage.outbox.depth() == 0)
        allowed.set()


@pytest.mark.parametrize(
    ("channel", "payload", "kind"),
    [
        (Channel.ACK, b"", "malformed"),
        (Channel.ACK, b'{"version":1,"node":"n1"', "malformed"),
        (Channel.ORDER, b"\xff\xfe", "malformed"),
        (Channel.ORDER, b'{"version":2}', "version"),
        (Channel.ORDER, bytes(262_144 - 100).replace(b"\0", b"["), "malformed"),
        (Channel.ACK, encode(Envelope(VERSION, "n2", "b", 0, 0.0, Stored("boot-1", [1]))), "forged"),
        (Channel.ORDER, encode(Envelope(VERSION, "n1", "b", 0, 0.0, Stored("boot-1", [1]))), "misplaced"),
        (Channel.ACK, encode(Envelope(VERSION, "n1", "b", 0, 0.0, SignedOrder("k", "{}", ""))), "misplaced"),
    ],
)
async def test_a_bad_message_is_counted_logged_once_a_minute_and_dropped(
    tmp_path: Path, channel: Channel, payload: bytes, kind: str
) -> None:
    async with scene(tmp_path, stores=lambda _: False) as stage:
        stage.put(1)
        with structlog.testing.capture_logs() as logs:
            for _ in range(3):
                await stage.controller.transport.publish(NODE.topic(channel), payload)
            await until(lambda: stage.publisher.rejected[kind] == 3)
            stage.time.advance(LOG_EVERY_S)
            await stage.controller.transport.publish(NODE.topic(channel), payload)
            await until(lambda: stage.publisher.rejected[kind] == 4)
        logged = [entry["rejected"] for entry in logs if entry["event"] == "message.rejected"]

        assert logged == [1, 4]
        assert (stage.outbox.depth(), stage.orders) == (1, [])
        assert not stage.running.done()


async def test_a_level_that_cannot_be_built_is_logged_and_events_still_go_out(tmp_path: Path) -> None:
    async with scene(tmp_path) as stage:

        def broken() -> Status:
            raise RuntimeError("no level")

        stage.publisher._status = broken
        with structlog.testing.capture_logs() as logs:
            stage.publisher.publish_status()
            stage.put(1)
            await until(lambda: stage.outbox.depth() == 0)
            await until(lambda: any(entry["event"] == "publisher.failed" for entry in logs))

        assert not stage.running.done()


async def test_the_edges_of_one_finding_go_out_one_after_the_other_and_hold_up_no_others(tmp_path: Path) -> None:
    """A broker may hand a later edge over first; the next one goes out when the one before it is stored."""
    allowed: set[int] = set()
    async with scene(tmp_path, stores=allowed.__contains__) as stage:
        raised, cleared = (stage.outbox.put(FindingCleared(FindingKey("c", "d", "0"), "", 1.0), 1.0) for _ in range(2))
        other = stage.outbox.put(FindingCleared(FindingKey("c", "d", "1"), "", 1.0), 1.0)
        stage.publisher.notify()
        await until(lambda: len(stage.controller.seqs()) == 2)
        await asyncio.sleep(0.2)
        assert stage.controller.seqs() == [raised, other]

        allowed.add(cleared)
        await stage.controller.say(Channel.ACK, Stored("boot-1", [raised]))
        await until(lambda: stage.controller.seqs() == [raised, other, cleared])
        await until(lambda: [event.seq for event in stage.outbox.pending(9)] == [other])


async def test_an_edge_that_is_never_stored_holds_up_the_next_of_its_finding_for_minutes_only(tmp_path: Path) -> None:
    async with scene(tmp_path, stores=lambda seq: seq == 2) as stage:
        for _ in range(2):
            stage.outbox.put(FindingCleared(FindingKey("c", "d", "0"), "", 1.0), 1.0)
        stage.publisher.notify()
        for attempt in range(1, PATIENCE):
            await until(partial(_has_heard, stage, attempt))
            await stage.rests()
            assert set(stage.controller.seqs()) == {1}
            stage.time.advance(resend_after_s(attempt))
        await until(lambda: 2 in stage.controller.seqs())


async def test_the_last_will_carries_the_time_of_the_beginning_of_its_own_connection(tmp_path: Path) -> None:
    async with scene(tmp_path) as stage:
        began_at = stage.time.now + 1_000.0
        stage.time.advance(5.0)
        connection = stage.publisher._transport._connection  # type: ignore[attr-defined] # the real transport
        connection._paho.socket().shutdown(socket.SHUT_RDWR)
        await until(lambda: len(stage.controller.bodies(Channel.PRESENCE)) == 3)

        assert stage.controller.bodies(Channel.PRESENCE) == [
            Presence("online", began_at),
            Presence("lost", began_at),
            Presence("online", began_at + 5.0),
        ]
