"""Trying a real Mosquitto: who is let in, who may write, and that nobody's session is lost by it."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from cli.broker import CONTROLLER
from cli.broker_trial import Visitor, holds_connection, try_brokers, try_writing
from tests.support.broker import BrokerOfTests, listening, require_mosquitto, settings, until
from wire.topics import Address, Channel, every_node
from wire.transport import MqttTransport

pytestmark = pytest.mark.broker


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[BrokerOfTests]:
    require_mosquitto()
    known = BrokerOfTests(tmp_path / "broker")
    for user in (CONTROLLER, "n1"):
        known.credentials(user)
    await known.start()
    try:
        yield known
    finally:
        await known.stop()


async def tried(broker: BrokerOfTests, visitor: Visitor) -> tuple[bool, bool, str]:
    (seen,) = await asyncio.to_thread(try_brokers, broker.url, visitor)
    return seen.reached, seen.let_in, seen.because


async def test_who_is_known_is_let_in_and_who_is_not_is_told_so(broker: BrokerOfTests) -> None:
    name, password = broker.credentials("n1")
    known = Visitor(name, password)
    assert await tried(broker, known) == (True, True, "")
    assert await tried(broker, Visitor(name, "wrong")) == (True, False, "not authorized")
    assert await tried(broker, Visitor()) == (True, False, "not authorized")


async def test_a_broker_that_speaks_3_1_1_is_tried_as_well(broker: BrokerOfTests) -> None:
    (seen,) = await asyncio.to_thread(try_brokers, f"{broker.url}?v=3", Visitor())
    assert (seen.reached, seen.let_in) == (True, False)


async def test_what_is_written_where_nobody_listens_is_refused_to_a_node(broker: BrokerOfTests) -> None:
    name, password = broker.credentials("n1")
    async with listening(settings(broker), every_node("main", Channel.PRESENCE)) as everybody:
        (node,) = await asyncio.to_thread(lambda: try_writing(broker.url, Visitor(name, password), cell="main"))
        own = broker.credentials(CONTROLLER)
        door = f"mqtt://127.0.0.1:{broker.door}"
        (controller,) = await asyncio.to_thread(lambda: try_writing(door, Visitor(*own), cell="main"))
    assert (node.let_in, node.may_write) == (True, False)
    assert (controller.let_in, controller.may_write) == (True, True)
    assert everybody.payloads() == []


async def test_what_waits_for_a_user_still_waits_after_a_visit_under_that_name(broker: BrokerOfTests) -> None:
    """The session belongs to the user's name: the trial comes to it, and must leave it and its queue as they were."""
    name, password = broker.credentials(CONTROLLER)
    own = settings(broker)
    own = type(own)(url=broker.url, client_id=own.client_id, username=name, password=password)
    topic = Address("main", "n1", Channel.EVENT).topic
    async with listening(own, every_node("main", Channel.EVENT)):
        pass
    async with listening(settings(broker, "n1"), "nothing") as node:
        for number in range(3):
            await node.transport.publish(topic, f"{number}".encode())
    visit = await tried(broker, Visitor(name, password))
    assert visit == (True, True, "")
    async with listening(own, every_node("main", Channel.EVENT)) as again:
        await until(lambda: len(set(again.payloads())) == 3)
        assert isinstance(again.transport, MqttTransport)
        assert again.transport.session_present
    assert set(again.payloads()) == {b"0", b"1", b"2"}


async def test_a_connection_that_is_held_is_seen(broker: BrokerOfTests) -> None:
    process = asyncio.create_subprocess_exec
    port = broker.port
    holding = await process(
        "python3",
        "-c",
        f"import socket as s; c=s.create_connection(('127.0.0.1',{port})); input()",
        stdin=asyncio.subprocess.PIPE,
    )
    try:
        await until(lambda: holds_connection(holding.pid, broker.url))
        assert not holds_connection(holding.pid, f"mqtt://127.0.0.1:{port + 1}")
    finally:
        await holding.communicate(b"\n")
    assert not holds_connection(holding.pid, broker.url)


@pytest.fixture
def mute() -> Iterator[int]:
    """A port that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held: list[socket.socket] = []
        thread = threading.Thread(target=lambda: held.append(server.accept()[0]))
        thread.start()
        yield server.getsockname()[1]
        thread.join(10)
        for each in held:
            each.close()


def test_what_answers_as_no_broker_does_is_not_one(mute: int) -> None:
    (seen,) = try_brokers(f"mqtt://127.0.0.1:{mute}", Visitor(), limit_s=0.5)
    assert (seen.reached, seen.let_in, seen.because) == (False, False, "it does not answer as a broker does")


def test_nobody_answers() -> None:
    (seen,) = try_brokers("mqtt://127.0.0.1:1", Visitor())
    assert (seen.reached, seen.let_in, seen.because) == (False, False, "connection refused")
