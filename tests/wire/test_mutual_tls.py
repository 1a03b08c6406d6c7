"""Certificates at a real broker: each is heard as itself alone, liars are not, and renewed ones are taken up."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from controller.pki.authority import Authority, utc_now
from tests.cli.conftest import run_cli
from tests.support.broker import Listener, listening, until
from tests.support.tls_broker import TlsBroker, running_tls_broker
from wire.tls import TlsFiles
from wire.topics import Address, Channel, every_node
from wire.transport import BrokerSettings, MqttTransport, NotPublished, Will

pytestmark = pytest.mark.broker


def topic(node: str, channel: Channel) -> str:
    return Address("main", node, channel).topic


EVERY_EVENT = every_node("main", Channel.EVENT)
EVERYTHING = tuple(every_node("main", channel) for channel in (Channel.EVENT, Channel.STATUS, Channel.PRESENCE))


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[TlsBroker]:
    async with running_tls_broker(tmp_path / "broker") as running:
        yield running


@contextlib.asynccontextmanager
async def trying(settings: BrokerSettings, *subscriptions: str, **more: Any) -> AsyncIterator[Listener]:
    """Give a transport that runs, connected or not."""
    transport = MqttTransport(settings, subscriptions=subscriptions, will=None, jitter=lambda: 0.0, **more)
    listener = Listener(transport)
    running = asyncio.create_task(transport.run(on_message=listener.take, on_connected=listener.note_connection))
    try:
        yield listener
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def refused(settings: BrokerSettings) -> tuple[str, int]:
    """Return why the broker refused somebody, and how often it did not."""
    with capture_logs() as logs:
        async with trying(settings, EVERY_EVENT) as intruder:
            await until(lambda: [each for each in logs if each["event"] == "broker.lost"])
    return next(str(each["because"]) for each in logs if each["event"] == "broker.lost"), intruder.connections


async def test_a_node_is_who_its_certificate_says(broker: TlsBroker) -> None:
    pretender = dataclasses.replace(broker.access("n1"), username="controller", password="guessed")
    async with (
        listening(broker.access("controller"), *EVERYTHING) as controller,
        listening(broker.access("n2"), topic("n2", Channel.ORDER)) as other,
        listening(pretender, topic("n1", Channel.ORDER)) as node,
    ):
        await node.transport.publish(topic("n1", Channel.EVENT), b"mine")
        await controller.transport.publish(topic("n1", Channel.ORDER), b"yours")
        await until(lambda: controller.payloads() and node.payloads())
        assert (controller.payloads(), node.payloads(), other.payloads()) == ([b"mine"], [b"yours"], [])


async def test_a_node_that_lies_is_not_heard_and_hears_nothing(broker: TlsBroker) -> None:
    others = ("#", "fleetmend/v1/main/node/+/order", topic("n2", Channel.ORDER), topic("n2", Channel.ACK))
    async with (
        listening(broker.access("controller"), *EVERYTHING) as controller,
        listening(broker.access("n2"), topic("n2", Channel.ORDER)) as victim,
        listening(broker.access("n1"), topic("n1", Channel.ORDER), *others) as liar,
    ):
        for retain in (False, True):
            for channel in Channel:
                with pytest.raises(NotPublished, match="Not authorized"):
                    await liar.transport.publish(topic("n2", channel), b"a lie", retain=retain)
            with pytest.raises(NotPublished, match="Not authorized"):
                await liar.transport.publish(topic("n1", Channel.ORDER), b"an order to oneself", retain=retain)
        await controller.transport.publish(topic("n2", Channel.ORDER), b"for n2")
        await controller.transport.publish(topic("n1", Channel.ORDER), b"for n1")
        await liar.transport.publish(topic("n1", Channel.EVENT), b"true")
        await until(lambda: controller.payloads() and victim.payloads() and liar.payloads())
        assert (controller.payloads(), victim.payloads()) == ([b"true"], [b"for n2"])
        assert set(liar.payloads()) == {b"for n1"}
    late = ("#", "fleetmend/v1/#", *EVERYTHING)
    async with listening(broker.access("controller", client_id="late"), *late) as reader:
        await reader.transport.publish(topic("n1", Channel.ACK), b"the end")
        await until(lambda: b"the end" in reader.payloads())
        assert [received.payload for received in reader.heard if received.retained] == []


async def test_a_node_takes_nobody_s_session_by_its_client_id(broker: TlsBroker) -> None:
    async with (
        listening(broker.access("controller"), EVERY_EVENT) as controller,
        listening(broker.access("n2")) as victim,
    ):
        for taken in ("controller", "n2"):
            async with listening(broker.access("n1", client_id=taken)) as liar:
                await liar.transport.publish(topic("n1", Channel.EVENT), taken.encode())
        await victim.transport.publish(topic("n2", Channel.EVENT), b"still here")
        await until(lambda: len(controller.heard) == 3)
        assert (controller.connections, victim.connections) == (1, 1)


def of_another_authority(broker: TlsBroker) -> TlsFiles:
    return broker.issue("n1", by=Authority.found(broker.folder / "other", now=utc_now()))


def revoked(broker: TlsBroker) -> TlsFiles:
    files = broker.issue("n1")
    broker.authority.revoke("n1", now=utc_now())
    return files


def without(broker: TlsBroker) -> TlsFiles:
    return TlsFiles(broker.folder / "pki" / "ca.pem")


def the_broker_s_own(broker: TlsBroker) -> TlsFiles:
    return TlsFiles(*(broker.folder / "broker" / name for name in ("ca.pem", "certificate.pem", "key.pem")))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("shown", "because"),
    [
        (of_another_authority, "unknown ca"),
        (revoked, "certificate revoked"),
        (without, "certificate required"),
        (the_broker_s_own, "unsupported certificate"),
        (lambda broker: broker.expired("n1"), "certificate expired; the own certificate"),
    ],
)
async def test_whoever_shows_no_good_certificate_is_refused(
    tmp_path: Path, shown: Callable[[TlsBroker], TlsFiles], because: str
) -> None:
    """paho leaves a socket whose handshake failed to the garbage collector, which warns about it."""
    async with running_tls_broker(tmp_path / "broker") as broker:
        files = shown(broker)
        await broker.reload()
        told, connections = await refused(broker.access("n1", files))
        assert because in told
        assert connections == 0
        async with listening(broker.access("n2")) as node:
            await node.transport.publish(topic("n2", Channel.EVENT), b"others are well")


async def test_a_revocation_holds_from_the_reload_on_and_leaves_others_alone(broker: TlsBroker) -> None:
    async with listening(broker.access("controller"), EVERY_EVENT) as controller:
        bad = broker.access("n1")
        async with listening(bad) as node:
            await node.transport.publish(topic("n1", Channel.EVENT), b"before")
        broker.authority.revoke("n1", now=utc_now())
        await broker.reload()
        told, connections = await refused(bad)
        assert ("certificate revoked" in told, connections) == (True, 0)
        async with listening(broker.access("n1")) as node:
            await node.transport.publish(topic("n1", Channel.EVENT), b"with another certificate")
        await until(lambda: len(controller.heard) == 2)
        assert controller.connections == 1


async def test_who_was_revoked_and_is_connected_is_cut_off_and_does_not_come_back(broker: TlsBroker) -> None:
    with capture_logs() as logs:
        async with (
            listening(broker.access("controller"), EVERY_EVENT) as controller,
            trying(broker.access("n1")) as node,
        ):
            await until(lambda: node.connections == 1)
            broker.authority.revoke("n1", now=utc_now())
            await broker.reload()
            await node.transport.publish(topic("n1", Channel.EVENT), b"revoked, and still heard")
            cut = await asyncio.to_thread(
                run_cli, "pki", "cut", "n1", "--broker", broker.url, "--pki", str(broker.folder / "pki")
            )
            assert (cut.returncode, "n1 is cut off" in cut.stdout) == (0, True), cut
            await until(lambda: [each for each in logs if "certificate revoked" in str(each.get("because"))])
            assert (node.connections, controller.connections, controller.payloads()) == (
                1,
                1,
                [b"revoked, and still heard"],
            )
    issued = broker.authority.issued_to("n1")
    assert {each.serial for each in issued} <= broker.authority.revoked()


async def say_all(node: Listener, payloads: list[bytes]) -> None:
    """Say each until the broker took it, as an agent does."""
    for payload in payloads:
        while True:
            with contextlib.suppress(NotPublished):
                await node.transport.publish(topic("n1", Channel.EVENT), payload)
                break
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("qos", [0, 1])
async def test_a_renewed_certificate_is_taken_up_and_nothing_is_lost(broker: TlsBroker, qos: int) -> None:
    will = Will(topic("n1", Channel.PRESENCE), b"lost")
    payloads = [b"%04d" % number for number in range(600)]
    access = broker.access("n1")
    async with listening(broker.access("controller"), *EVERYTHING) as controller:
        transport = MqttTransport(access, subscriptions=(), will=will, qos=qos, look_s=0.05)
        node = Listener(transport)
        running = asyncio.create_task(transport.run(on_message=node.take, on_connected=node.note_connection))
        await until(lambda: node.connections == 1)
        with capture_logs() as logs:
            speaking = asyncio.create_task(say_all(node, payloads))
            await until(lambda: len(controller.heard) >= 50)
            first = access.tls.certificate_file
            assert first is not None
            broker.issue("n1", days=60)
            await until(lambda: node.connections == 2)
            await speaking
        await until(lambda: len(set(controller.payloads())) >= len(payloads))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert sorted(set(controller.payloads())) == payloads
    assert [each["event"] for each in logs if each["event"].startswith(("broker.", "certificate."))] == [
        "certificate.renewed",
        "broker.connected",
    ]


async def test_messages_to_a_client_that_renews_its_certificate_wait_for_it(broker: TlsBroker) -> None:
    """The controller's session stays with the broker meanwhile."""
    access = broker.access("controller")
    async with (
        trying(access, EVERY_EVENT, look_s=0.05) as controller,
        listening(broker.access("n1")) as node,
    ):
        await until(lambda: controller.connections == 1)
        speaking = asyncio.create_task(say_all(node, [b"%04d" % number for number in range(600)]))
        await until(lambda: len(controller.heard) >= 50)
        broker.issue("controller")
        await until(lambda: controller.connections == 2)
        await speaking
        await until(lambda: len(set(controller.payloads())) == 600)


def nonsense(broker: TlsBroker) -> None:
    (broker.folder / "n1" / "certificate.pem").write_text("nonsense")


def key_of_another(broker: TlsBroker) -> None:
    (broker.folder / "n1" / "certificate.pem").write_bytes(
        (broker.folder / "controller" / "certificate.pem").read_bytes()
    )


def open_key(broker: TlsBroker) -> None:
    (broker.folder / "n1" / "key.pem").chmod(0o644)


def no_certificate(broker: TlsBroker) -> None:
    (broker.folder / "n1" / "certificate.pem").unlink()


def signed_by_another(broker: TlsBroker) -> None:
    of_another_authority(broker)


def expired(broker: TlsBroker) -> None:
    broker.expired("n1")


@pytest.mark.parametrize(
    ("spoil", "because"),
    [
        (nonsense, "holds no certificate in PEM"),
        (key_of_another, "are no certificate and the key of it"),
        (open_key, "chmod 600"),
        (no_certificate, "there is no such file"),
        (signed_by_another, "refuses it"),
        (expired, "refuses it"),
    ],
)
async def test_files_that_are_wrong_leave_the_connection_alone(
    broker: TlsBroker, spoil: Callable[[TlsBroker], None], because: str
) -> None:
    with capture_logs() as logs:
        async with (
            listening(broker.access("controller"), EVERY_EVENT) as controller,
            trying(broker.access("n1"), look_s=0.05) as node,
        ):
            await until(lambda: node.connections == 1)
            spoil(broker)
            await until(lambda: [each for each in logs if each["event"] == "certificate.unusable"])
            await node.transport.publish(topic("n1", Channel.EVENT), b"still here")
            await until(lambda: controller.heard)
            assert node.connections == 1
            broker.issue("n1")
            await until(lambda: node.connections == 2)
    (told,) = [each["because"] for each in logs if each["event"] == "certificate.unusable"]
    assert because in told


async def test_a_new_authority_takes_the_place_of_the_old_one_while_all_go_on(broker: TlsBroker) -> None:
    """Only a restart makes Mosquitto 2.0 read another `cafile`; its clients come back by themselves."""
    async with (
        listening(broker.access("controller"), EVERY_EVENT) as controller,
        trying(broker.access("n1"), look_s=0.05) as node,
    ):
        await until(lambda: node.connections == 1)
        broker.authority.prepare(now=utc_now())
        for name in ("controller", "n1"):
            write_bundle(broker, name)
        await broker.stop()
        await broker.start()
        broker.authority.switch()
        broker.issue("broker", hosts=("127.0.0.1",))
        await broker.reload()
        before = node.connections
        for name in ("controller", "n1"):
            broker.issue(name)
        await until(lambda: node.connections > before)
        assert broker.authority.dependent(now=utc_now()) == []
        await until(lambda: node.transport.connected)
        broker.authority.retire()
        await broker.stop()
        await broker.start()
        await say_all(node, [b"by the new one"])
        await until(lambda: b"by the new one" in controller.payloads())


def write_bundle(broker: TlsBroker, name: str) -> None:
    (broker.folder / name / "ca.pem").write_bytes(broker.authority.bundle())


def test_a_key_that_others_can_read_is_refused_at_once(tmp_path: Path) -> None:
    broker = TlsBroker(tmp_path / "broker")
    access = broker.access("n1")
    (broker.folder / "n1" / "key.pem").chmod(0o640)
    with pytest.raises(ValueError, match="can be read by others than its owner: chmod 600"):
        MqttTransport(access, subscriptions=(), will=None)
