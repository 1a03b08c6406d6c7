"""The transport on a real Mosquitto: each thing that aiomqtt alone gets wrong."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
import structlog

from cli.broker import Mosquitto
from cli.ports import free_port
from tests.support.broker import Listener, kill, listening, running_broker, settings, until
from wire.read_ahead import ReadAhead
from wire.topics import Address, Channel, every_node
from wire.transport import (
    LAST_RETRY_S,
    BrokerSettings,
    MqttTransport,
    NotPublished,
    Received,
    Will,
    first_of,
    retry_delay_s,
)
from wire.url import BrokerAddress

pytestmark = pytest.mark.broker

EVENTS = every_node("main", Channel.EVENT)
PRESENCES = every_node("main", Channel.PRESENCE)


def topic(node: str, channel: Channel = Channel.EVENT) -> str:
    return Address("main", node, channel).topic


@pytest.mark.parametrize("version", [3, 5])
async def test_hears_what_another_publishes(broker: Mosquitto, version: int) -> None:
    async with (
        listening(settings(broker, version=version), EVENTS) as controller,
        listening(settings(broker, "n1", version=version)) as node,
    ):
        await node.transport.publish(topic("n1"), b"fault")
        await until(lambda: controller.heard)

        assert [(topic("n1"), b"fault", False)] == [
            (message.topic, message.payload, message.retained) for message in controller.heard
        ]


@pytest.mark.parametrize("version", [3, 5])
async def test_a_message_not_acknowledged_comes_again_on_the_next_connection(broker: Mosquitto, version: int) -> None:
    access = settings(broker, version=version)
    async with listening(access, EVENTS, acknowledge=False) as first:
        async with listening(settings(broker, "n1", version=version)) as node:
            for number in range(50):
                await node.transport.publish(topic("n1"), b"%d" % number)
        await until(lambda: len(first.heard) == 50)
        for message in first.heard[:20]:
            message.acknowledge()
        await asyncio.sleep(0.2)

    async with listening(access, EVENTS) as second:
        await until(lambda: len(second.heard) == 30)

        assert second.transport.session_present
        assert [b"%d" % number for number in range(20, 50)] == second.payloads()


CONSUMER = """
import asyncio, os, sys
from wire.logs import configure_logging
from wire.transport import BrokerSettings, MqttTransport

configure_logging()

async def main(url, username, password, subscription, journal, limit):
    file = open(journal, "a")
    left = int(limit)

    async def take(received):
        nonlocal left
        if left == 0:
            os.kill(os.getpid(), 9)
        left -= 1
        file.write(received.payload.decode() + "\\n")
        file.flush()
        received.acknowledge()

    async def connected():
        pass

    transport = MqttTransport(
        BrokerSettings(url, "controller", username, password), subscriptions=(subscription,), will=None
    )
    await transport.run(on_message=take, on_connected=connected)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_nothing_is_lost_when_the_consumer_is_killed_before_it_acknowledged(
    broker: Mosquitto, tmp_path: Path
) -> None:
    """Three times kill -9 in the midst of 2,000 queued messages."""
    async with listening(settings(broker), EVENTS):
        pass
    async with listening(settings(broker, "n1")) as node:
        await asyncio.gather(*(node.transport.publish(topic("n1"), b"%d" % number) for number in range(2000)))

    journal = tmp_path / "journal"

    async def consume(limit: int) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *("-c", CONSUMER, broker.url, *broker.credentials("controller"), EVENTS, str(journal), str(limit)),
            stderr=asyncio.subprocess.DEVNULL,
        )

    for _ in range(2):
        assert await (await consume(700)).wait() == -9
    consumer = await consume(1_000_000)
    await until(lambda: len(set(journal.read_text().split())) == 2000)
    consumer.kill()
    await consumer.wait()

    assert {str(number) for number in range(2000)} == set(journal.read_text().split())


@pytest.mark.parametrize("version", [3, 5])
async def test_a_backlog_is_read_past_paho_and_in_order(broker: Mosquitto, version: int) -> None:
    async with listening(settings(broker, version=version), EVENTS) as controller:
        connection = controller.transport._connection
        assert connection is not None
        by_paho: list[bytes] = []
        before = connection._paho.on_message

        def count(*arguments: Any) -> None:
            by_paho.append(arguments[2].payload)
            assert before is not None
            before(*arguments)

        connection._paho.on_message = count
        async with listening(settings(broker, "n1", version=version)) as node:
            loop, sock = asyncio.get_running_loop(), connection._paho.socket()
            assert sock is not None
            loop.remove_reader(sock)
            await asyncio.gather(*(node.transport.publish(topic("n1"), b"%d" % number) for number in range(500)))
            loop.add_reader(sock, connection._read)
            await until(lambda: len(controller.heard) == 500)

    assert controller.payloads() == [b"%d" % number for number in range(500)]
    assert 0 < len(by_paho) < 50
    assert controller.connections == 1


async def test_what_is_told_is_heard_and_without_a_connection_it_is_not_said(broker: Mosquitto) -> None:
    async with listening(settings(broker), EVENTS) as controller, listening(settings(broker, "n1")) as node:
        for number in range(3):
            node.transport.tell(topic("n1"), b"%d" % number)
        await until(lambda: len(controller.heard) == 3)
        await kill(broker)
        await until(lambda: not node.transport.connected)
        node.transport.tell(topic("n1"), b"to nobody")

    assert controller.payloads() == [b"0", b"1", b"2"]


async def test_a_publish_that_the_broker_refuses_raises_with_the_reason(broker: Mosquitto) -> None:
    async with listening(settings(broker, "n1")) as node:
        with pytest.raises(NotPublished, match=r"node/n2/event: the broker refuses it: Not authorized \(0x87\)"):
            await node.transport.publish(topic("n2"), b"forged")


async def test_reconnects_with_its_session_after_the_broker_was_killed(broker: Mosquitto) -> None:
    async with listening(settings(broker), EVENTS) as controller, listening(settings(broker, "n1")) as node:
        assert not controller.transport.session_present
        await asyncio.sleep(2.5)  # the broker writes its sessions to disk every second

        await kill(broker)
        await until(lambda: not controller.transport.connected and not node.transport.connected)
        await broker.start()
        await until(lambda: controller.connections == 2 and node.connections == 2)
        await node.transport.publish(topic("n1"), b"after")
        await until(lambda: controller.heard)

        assert controller.transport.session_present
        assert controller.payloads() == [b"after"]
        assert controller.errors + node.errors == []


async def test_subscribes_again_when_the_broker_forgot_the_session(broker: Mosquitto) -> None:
    async with listening(settings(broker), EVENTS) as controller, listening(settings(broker, "n1")) as node:
        await kill(broker)
        for file in (broker.directory / "data").iterdir():
            file.unlink()
        await broker.start()
        await until(lambda: controller.connections == 2 and node.connections == 2)
        await node.transport.publish(topic("n1"), b"after")
        await until(lambda: controller.heard)

        assert not controller.transport.session_present
        assert controller.payloads() == [b"after"]


async def test_a_publish_without_a_connection_raises_at_once_and_is_not_sent_late(broker: Mosquitto) -> None:
    async with listening(settings(broker), EVENTS) as controller, listening(settings(broker, "n1")) as node:
        await kill(broker)
        await until(lambda: not node.transport.connected)
        began = time.monotonic()
        with pytest.raises(NotPublished, match="no connection to the broker at 127"):
            await node.transport.publish(topic("n1"), b"told to have failed")
        took_s = time.monotonic() - began

        await broker.start()
        await until(lambda: controller.connections == 2 and node.connections == 2)
        await node.transport.publish(topic("n1"), b"later")
        await until(lambda: controller.heard)

        assert took_s < 2.0
        assert controller.payloads() == [b"later"]


async def test_a_publish_under_way_fails_as_soon_as_the_connection_breaks(broker: Mosquitto) -> None:
    """The broker is stopped (SIGSTOP), so that it cannot answer, and then killed."""
    async with listening(settings(broker, "n1")) as node:
        assert broker.process is not None
        broker.process.send_signal(19)
        publishing = asyncio.create_task(node.transport.publish(topic("n1"), b"fault"))
        await asyncio.sleep(0.1)
        assert not publishing.done()
        began = time.monotonic()
        await kill(broker)

        with pytest.raises(NotPublished, match="the connection broke"):
            await publishing
        assert time.monotonic() - began < 5.0


async def test_the_last_will_is_said_after_an_abrupt_end_and_not_after_an_orderly_one(broker: Mosquitto) -> None:
    will = Will(topic("n1", Channel.PRESENCE), b"lost")
    async with listening(settings(broker), PRESENCES) as controller:
        async with listening(settings(broker, "n1"), will=will):
            pass
        async with listening(settings(broker, "n2")) as witness:
            await witness.transport.publish(topic("n2", Channel.PRESENCE), b"between")
        await until(lambda: controller.heard)
        async with listening(settings(broker, "n1"), will=will) as node:
            connection = node.transport._connection
            assert connection is not None
            sock = connection._paho.socket()
            assert isinstance(sock, ReadAhead)
            sock.shutdown(socket.SHUT_RDWR)
            await until(lambda: len(controller.heard) == 2)

        assert controller.payloads() == [b"between", b"lost"]


async def test_small_messages_are_not_held_back_by_the_socket(broker: Mosquitto) -> None:
    """With Nagle's algorithm every edge took 46 ms at the median, without it 3 ms."""
    async with listening(settings(broker, "n1")) as node:
        connection = node.transport._connection
        assert connection is not None
        sock = connection._paho.socket()
        assert isinstance(sock, ReadAhead)

        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


async def test_retained_messages_are_marked(broker: Mosquitto) -> None:
    async with listening(settings(broker, "n1")) as node:
        await node.transport.publish(topic("n1", Channel.PRESENCE), b"online", retain=True)
    async with listening(settings(broker), PRESENCES) as controller:
        await until(lambda: controller.heard)

        assert [(message.payload, message.retained) for message in controller.heard] == [(b"online", True)]


async def test_a_qos_0_message_is_not_acknowledged_to_the_broker(broker: Mosquitto) -> None:
    """The broker drops a client that acknowledges message id 0."""
    username, password = broker.credentials("n1")
    async with listening(settings(broker), EVENTS) as controller:
        async with aiomqtt.Client("127.0.0.1", broker.port, username=username, password=password) as other:
            await other.publish(topic("n1"), b"once", qos=0)
        await until(lambda: controller.heard)
        async with listening(settings(broker, "n1")) as node:
            await node.transport.publish(topic("n1"), b"then")
        await until(lambda: len(controller.heard) == 2)

        assert controller.connections == 1


async def test_acknowledging_twice_or_too_late_is_harmless(broker: Mosquitto) -> None:
    async with (
        listening(settings(broker), EVENTS, acknowledge=False) as controller,
        listening(settings(broker, "n1")) as node,
    ):
        await node.transport.publish(topic("n1"), b"one")
        await until(lambda: controller.heard)
        controller.heard[0].acknowledge()
        controller.heard[0].acknowledge()
        await node.transport.publish(topic("n1"), b"two")
        await until(lambda: len(controller.heard) == 2)
        await kill(broker)
        await until(lambda: not controller.transport.connected)
        controller.heard[1].acknowledge()

        assert controller.connections == 1
        assert controller.errors == []


async def test_a_message_that_the_application_cannot_take_is_acknowledged_and_others_follow(broker: Mosquitto) -> None:
    heard: list[bytes] = []

    async def take(received: Received) -> None:
        if received.payload == b"poison":
            raise RuntimeError("cannot take this")
        heard.append(received.payload)
        received.acknowledge()

    async def connected() -> None:
        pass

    transport = MqttTransport(settings(broker), subscriptions=(EVENTS,), will=None)
    running = asyncio.create_task(transport.run(on_message=take, on_connected=connected))
    await until(lambda: transport.connected)
    async with listening(settings(broker, "n1")) as node:
        for payload in (b"before", b"poison", b"after"):
            await node.transport.publish(topic("n1"), payload)
    await until(lambda: len(heard) == 2)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    async with listening(settings(broker), EVENTS) as again:
        await asyncio.sleep(0.3)

        assert heard == [b"before", b"after"]
        assert again.payloads() == []


async def test_messages_flow_only_after_on_connected(broker: Mosquitto) -> None:
    async with listening(settings(broker), EVENTS):
        pass
    async with listening(settings(broker, "n1")) as node:
        await node.transport.publish(topic("n1"), b"queued")
    order: list[str] = []

    async def take(received: Received) -> None:
        order.append("message")
        received.acknowledge()

    async def connected() -> None:
        await asyncio.sleep(0.2)
        order.append("connected")

    transport = MqttTransport(settings(broker), subscriptions=(EVENTS,), will=None)
    running = asyncio.create_task(transport.run(on_message=take, on_connected=connected))
    await until(lambda: len(order) == 2)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert order == ["connected", "message"]


async def test_a_wrong_password_is_retried_and_never_counts_as_connected(broker: Mosquitto) -> None:
    access = settings(broker, "n1")
    wrong = BrokerSettings(access.url, access.client_id, access.username, "wrong")
    transport = MqttTransport(wrong, subscriptions=(), will=None, jitter=lambda: 0.0)
    listener = Listener(transport)
    running = asyncio.create_task(transport.run(on_message=listener.take, on_connected=listener.note_connection))
    await until(lambda: (broker.log.read_text().count("not authorised") or broker.log.read_text().count("failed")) >= 2)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert (listener.connections, transport.connected) == (0, False)


async def test_a_broker_that_accepts_and_says_nothing_is_given_up_and_its_socket_closed() -> None:
    """A leaked socket would be a ResourceWarning, which fails the test."""
    accepted: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: accepted.append(writer), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    transport = MqttTransport(
        BrokerSettings(f"mqtt://127.0.0.1:{port}", "n1"), subscriptions=(), will=None, jitter=lambda: 0.0
    )
    listener = Listener(transport)
    running = asyncio.create_task(transport.run(on_message=listener.take, on_connected=listener.note_connection))
    await until(lambda: len(accepted) == 2)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    for writer in accepted:
        writer.close()
    server.close()
    await server.wait_closed()

    assert listener.connections == 0


FLOODED = """
import asyncio, resource, sys
from wire.logs import configure_logging
from wire.transport import BrokerSettings, MqttTransport

configure_logging()

def rss_bytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

async def main(url, username, password, subscription):
    heard = 0
    peak = 0
    go = asyncio.Event()

    async def take(received):
        nonlocal heard, peak
        if heard >= 200:
            await go.wait()
        heard += 1
        if heard % 500 == 0:
            await asyncio.sleep(0.01)
            peak = max(peak, rss_bytes())
        received.acknowledge()

    async def connected():
        print("connected", flush=True)

    transport = MqttTransport(
        BrokerSettings(url, "controller", username, password), subscriptions=(subscription,), will=None
    )
    running = asyncio.create_task(transport.run(on_message=take, on_connected=connected))
    loop = asyncio.get_running_loop()
    before = rss_bytes()
    await loop.run_in_executor(None, sys.stdin.readline)
    peak = max(peak, rss_bytes())
    go.set()
    while heard < 20000:
        await asyncio.sleep(0.05)
    print(heard, peak - before, flush=True)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("version", [3, 5])
async def test_a_flood_to_a_slow_consumer_stays_in_the_broker(broker: Mosquitto, version: int) -> None:
    """20,000 x 2 KB to a consumer that stands still after 200: each acknowledgement lets Mosquitto 2.0 send many more,
    whatever the Receive Maximum, so that without back-pressure it grew by more than 100 MB."""
    url = f"{broker.url}?v={version}"
    consumer = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", FLOODED, url, *broker.credentials("controller"), EVENTS),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert consumer.stdin is not None
    assert consumer.stdout is not None
    assert await consumer.stdout.readline() == b"connected\n"
    async with listening(settings(broker, "n1", version=version)) as node:
        for _ in range(20):
            await asyncio.gather(*(node.transport.publish(topic("n1"), bytes(2048)) for _ in range(1000)))
    consumer.stdin.write(b"go\n")
    await consumer.stdin.drain()
    heard, growth_bytes = map(int, (await consumer.stdout.readline()).split())
    await consumer.wait()

    assert heard >= 20_000
    assert growth_bytes < 24_000_000


def test_the_delay_grows_is_spread_and_capped() -> None:
    assert [retry_delay_s(attempt, 0.0) for attempt in (1, 2, 3)] == [0.25, 0.5, 1.0]
    assert [retry_delay_s(attempt, 0.5) for attempt in (1, 2)] == [0.375, 0.75]
    assert retry_delay_s(1000, 1.0) == LAST_RETRY_S


async def test_brokers_are_tried_in_turn_until_one_answers_and_again_when_it_dies(
    broker: Mosquitto, tmp_path: Path
) -> None:
    async with running_broker(tmp_path / "second") as second:
        username, password = broker.credentials("n1")
        second_password = second.credentials("n1")[1]
        urls = f"mqtt://127.0.0.1:{free_port()}", broker.url, second.url
        client_id = next(f"n{number}" for number in range(99) if first_of(3, f"n{number}") == 0)
        transport = MqttTransport(
            BrokerSettings(urls, client_id, username, password), subscriptions=(), will=None, jitter=lambda: 0.0
        )
        with structlog.testing.capture_logs() as logs:
            listener = Listener(transport)
            running = asyncio.create_task(
                transport.run(on_message=listener.take, on_connected=listener.note_connection)
            )
            await until(lambda: listener.connections == 1)
            first = str(transport.address)
            await kill(broker)
            await until(lambda: len([each for each in logs if each["event"] == "broker.lost"]) == 5)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    lost = [each for each in logs if each["event"] == "broker.lost"]
    dead, killed, refusing = (str(BrokerAddress.parse(url)) for url in urls)
    assert (first, second_password != password) == (killed, True)
    assert [each["broker"] for each in lost] == [dead, killed, refusing, dead, killed]
    assert [each["next"] for each in lost] == [killed, refusing, dead, killed, refusing]
    assert "refused" in lost[0]["because"]
    assert "ot authori" in lost[2]["because"]
    assert [each["retry_s"] for each in lost[:3]] == [0.25] * 3
    assert lost[4]["retry_s"] > 0.25


def test_a_fleet_spreads_over_the_brokers() -> None:
    firsts = Counter(first_of(3, f"fleetmend-main-gpu-{number:03}") for number in range(900))
    assert sorted(firsts) == [0, 1, 2]
    assert all(250 < count < 350 for count in firsts.values())


async def test_a_broken_brokers_message_is_passed_over_and_acknowledged() -> None:
    """Mosquitto lets no such topic through, so this broker is a few bytes by hand. Source: MQTT 5.0, 2.1 and 3.3."""
    said: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        connected, poisoned, well = b"\x20\x03\0\0\0", b"\x32\x08\0\x02\xff\xfe\0\x07\0x", b"\x32\x08\0\x02ab\0\x08\0y"
        writer.write(connected + poisoned + well)
        while answer := await reader.read(4096):
            said.append(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        address = f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with listening(BrokerSettings(address, "n1")) as node:
            await until(lambda: node.heard and said)
    assert [(message.topic, message.payload) for message in node.heard] == [("ab", b"y")]
    assert said[0].startswith(b"\x40\x02\0\x07")
