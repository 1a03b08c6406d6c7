"""Whoever has the broker reboots nobody: an agent as a process, and a broker that retains, repeats and forges."""

from __future__ import annotations

import signal
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.simulation.machine import SimulatedMachine
from tests.support.agent_site import KEY, NODE, Controller, Site
from tests.support.broker import listening, running_broker, settings
from wire import messages, topics
from wire.messages import Envelope, OrderEnded, SignedOrder, Status
from wire.orders import Order, OrderAction
from wire.signatures import sign

STRANGER = Ed25519PrivateKey.from_private_bytes(bytes([1] * 32))
TOPIC = topics.Address("main", NODE, topics.Channel.ORDER).topic

pytestmark = pytest.mark.broker


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with running_broker(tmp_path / "broker") as broker:
        machine = SimulatedMachine.create(tmp_path / "machine", name=NODE, seed=1, speedup=3_600.0)
        built = Site(tmp_path, broker, machine)
        yield built
        if built.process is not None and built.process.returncode is None:
            await built.end(signal.SIGKILL)


def reboot(order_id: str, **changes: float | str) -> Order:
    now = time.time()
    order = Order(order_id, NODE, OrderAction.REBOOT, now, now + 60.0, 1)
    return replace(order, **changes)  # type: ignore[arg-type]  # each of its own kind


def packed(signed: SignedOrder) -> bytes:
    return messages.encode(Envelope(messages.VERSION, NODE, "", 0, time.time(), signed))


async def test_a_broker_in_other_hands_reboots_nobody(site: Site) -> None:
    async with listening(settings(site.broker), f"{topics.ROOT}/main/node/+/+") as listener:
        controller = Controller(listener)
        await site.start()
        await controller.bodies(Status)
        boot_id, broker = site.machine.boot_id(), listener.transport
        obeyed = await controller.order(
            OrderAction.RESET_GPU, "i1/reset/1", device=site.machine.hardware().gpus[0].uuid
        )
        assert obeyed.outcome == "done"
        recorded = next(each.payload for each in listener.heard if each.topic == TOPIC)
        genuine = sign(reboot("i2/reboot/1"), key_id="test", key=KEY)
        hostile = [
            packed(sign(reboot("i3/reboot/1"), key_id="test", key=STRANGER)),
            packed(sign(reboot("i3/reboot/2"), key_id="stranger", key=STRANGER)),
            packed(sign(reboot("i3/reboot/3", node="n2"), key_id="test", key=KEY)),
            packed(SignedOrder("test", genuine.payload.replace("reboot/1", "reboot/9"), genuine.signature)),
            packed(SignedOrder("test", "", "")),
            recorded,
        ]
        for payload in hostile:
            await broker.publish(TOPIC, payload)
        expired = packed(sign(reboot("i4/reboot/1", expires_at=time.time() - 1.0), key_id="test", key=KEY))
        await broker.publish(TOPIC, expired, retain=True)
        await controller.bodies(OrderEnded, lambda ended: (ended.order_id, ended.outcome) == ("i4/reboot/1", "refused"))
        await site.end(signal.SIGKILL)
        await broker.publish(TOPIC, recorded, retain=True)
        killed_at = time.time()
        await site.start()
        await controller.bodies(Status, lambda status: status.agent_started_at > killed_at)
        again = await controller.bodies(OrderEnded, lambda ended: ended == obeyed, count=3, repeats=True)
        assert site.machine.boot_id() == boot_id
        assert {ended.started_at for ended in again} == {obeyed.started_at}
        told = {(body.order_id, body.outcome) for body in controller.events.values() if isinstance(body, OrderEnded)}
        assert told == {("i1/reset/1", "done"), ("i4/reboot/1", "refused")}
