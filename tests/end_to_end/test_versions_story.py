"""An agent and a controller two minor versions apart, in both directions, over a real Mosquitto.

One of the two is this checkout's, a real process. The other is what a test says in its place: messages with fields,
words, kinds and actions that this version does not know.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.simulation.machine import SimulatedMachine
from checks.finding import Action, Finding, Verdict
from cli.broker import CONTROLLER, Mosquitto
from cli.client import Client
from tests.support.agent_site import KEY, NODE, Controller, Site
from tests.support.broker import Listener, listening, running_broker, settings
from tests.support.controllers import ControllerProcess, until
from tests.support.neighbours import MORE, VERSION, ahead
from wire import messages, topics
from wire.messages import Envelope
from wire.orders import Order, OrderAction
from wire.signatures import sign
from wire.topics import Address, Channel

pytestmark = pytest.mark.broker
BOOT = "boot-1"
LOST = Finding("gpu.xid", "GPU-0", "79", Verdict.FAILED, Action.REBOOT, "GPU-0 has fallen off the bus.")
WARM = Finding("gpu.temperature", "GPU-1", "", Verdict.DEGRADED, Action.NONE, "GPU-1 has 91 degrees.")


def envelope(body: messages.Body, *, seq: int = 0) -> Envelope:
    return Envelope(messages.VERSION, NODE, BOOT, seq, time.time(), body)


class NewerAgent:
    """An agent two minor versions ahead of the controller: it says each event until that is stored."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.outbox: dict[int, bytes] = {}

    async def publish(self, channel: Channel, payload: bytes, *, retain: bool = False) -> None:
        await self.listener.transport.publish(Address("main", NODE, channel).topic, payload, retain=retain)

    async def say_level(self, *findings: Finding, verdict: str = "") -> None:
        facts = messages.NodeFacts(agent_version=VERSION, gpu_count=8, orders_allowed=[*OrderAction, "swap_tray"])
        level = messages.Status(facts, list(findings), {}, len(self.outbox), 1.0, time.time())
        document = json.loads(ahead(envelope(level)))
        for finding in document["body"]["findings"] if verdict else []:
            finding["verdict"] = verdict
        await self.publish(Channel.STATUS, json.dumps(document).encode(), retain=True)

    async def tell(self, seq: int, body: messages.Body, **changed: Any) -> None:
        self.outbox[seq] = ahead(envelope(body, seq=seq), **changed)
        await self.publish(Channel.EVENT, self.outbox[seq])

    def heard(self, kind: type[messages.Body]) -> Iterator[Any]:
        for received in self.listener.heard:
            body = messages.decode(received.payload, topics.parse(received.topic)).body
            if isinstance(body, kind):
                yield body

    def is_stored(self, *seqs: int) -> bool:
        return {*seqs} <= {seq for stored in self.heard(messages.Stored) for seq in stored.seqs}

    def orders(self) -> dict[str, str]:
        """Return the action of each order that came, under its id."""
        orders = [json.loads(signed.payload) for signed in self.heard(messages.SignedOrder)]
        return {order["order_id"]: order["action"] for order in orders}


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Mosquitto]:
    async with running_broker(tmp_path / "broker") as running:
        running.credentials(NODE)
        yield running


@pytest.fixture
async def controller(tmp_path: Path, broker: Mosquitto) -> AsyncIterator[ControllerProcess]:
    username, password = broker.credentials(CONTROLLER)
    (tmp_path / "password").touch(mode=0o600)
    (tmp_path / "password").write_text(password)
    tables = {
        "broker": {"url": broker.url, "username": username, "password_file": str(tmp_path / "password")},
        "budget": {"percent": 100.0},
    }
    running = ControllerProcess(tmp_path / "controller", tables)
    running.start()
    try:
        await running.is_role("leader", limit_s=60.0)
        yield running
    finally:
        running.end()


async def test_a_newer_agent_is_heard_obeyed_and_never_held_up(
    broker: Mosquitto, controller: ControllerProcess
) -> None:
    client = Client(controller.url)

    async def asked(*path: str) -> Any:
        return await asyncio.to_thread(client.get, *path)

    heard_by_node = tuple(Address("main", NODE, channel).topic for channel in (Channel.ACK, Channel.ORDER))
    async with listening(settings(broker, NODE), *heard_by_node) as listener:
        agent = NewerAgent(listener)
        await agent.publish(Channel.PRESENCE, ahead(envelope(messages.Presence("online", time.time()))), retain=True)
        await agent.say_level(WARM, verdict="doomed")
        await agent.tell(1, messages.Presence("online", 0.0), type="gpu.forecast", odds=0.93)
        await agent.tell(2, messages.FindingRaised(LOST, time.time()))
        await until(lambda: agent.is_stored(1, 2))
        node = await asked("nodes", NODE)
        assert (node["presence"], node["facts"]["agent_version"]) == ("online", VERSION)
        warm = next(each for each in node["findings"] if each["check"] == WARM.check)
        assert warm["verdict"] == "unknown"
        assert "does not know its word 'doomed'" in warm["because"]
        assert any("told 'gpu.forecast', which is kept unread" in each["text"] for each in node["timeline"])

        await until(lambda: agent.orders())
        (first, action), *_ = agent.orders().items()
        now = time.time()
        await agent.tell(3, messages.OrderEnded(first, "done", "Done, and more than was asked.", now, now))
        await until(lambda: agent.is_stored(3))
        await until(lambda: len(agent.orders()) > 1)
        assert action == OrderAction.COLLECT
        (incident,) = await asked("incidents")
        assert (incident["node"], incident["fault_class"]) == (NODE, "gpu_lost")


async def test_a_newer_controller_is_obeyed_in_what_is_known_and_told_what_is_not(
    tmp_path: Path, broker: Mosquitto
) -> None:
    site = Site(tmp_path, broker, SimulatedMachine.create(tmp_path / "machine", name=NODE, seed=1, speedup=3_600.0))
    heard = tuple(topics.every_node("main", channel) for channel in (Channel.EVENT, Channel.STATUS, Channel.PRESENCE))
    async with listening(settings(broker), *heard) as listener:
        controller = Controller(listener, stores=False)

        async def say(channel: Channel, body: messages.Body, **changed: Any) -> None:
            await listener.transport.publish(Address("main", NODE, channel).topic, ahead(envelope(body), **changed))

        async def order(action: str, order_id: str) -> messages.OrderEnded:
            now = time.time()
            known = Order(order_id, NODE, OrderAction.RUN_CHECKS, now, now + 60.0, 1)
            document = msgspec.to_builtins(known) | MORE | {"action": action}
            newer: Any = msgspec.defstruct("NewerOrder", list(document))(**document)
            await say(Channel.ORDER, sign(newer, key_id="test", key=KEY))
            return (await controller.bodies(messages.OrderEnded, lambda ended: ended.order_id == order_id))[-1]

        try:
            await site.start()
            await controller.bodies(messages.Status)
            refused = await order("swap_tray", "swap/1")
            because = "this agent's version does not know the action 'swap_tray': update it"
            assert (refused.outcome, refused.because) == ("refused", because)
            done = await order("run_checks", "verify/1")
            assert done.outcome == "done"

            await say(Channel.ACK, messages.Stored(BOOT, []), type="forecast.stored")
            await controller.bodies(messages.Status, lambda status: status.outbox_depth > 0)
            while not await _is_empty(controller):
                for each in [each for each in controller.envelopes if each.seq]:
                    await say(Channel.ACK, messages.Stored(each.boot_id, [each.seq]))
            assert "newer: this version does not know the kind 'forecast.stored'" in site.log()
        finally:
            assert await site.end() == 0


async def _is_empty(controller: Controller) -> bool:
    """Return whether the last level says that everything is stored, once there is another one."""
    count = sum(isinstance(each.body, messages.Status) for each in controller.envelopes)
    statuses = await controller.bodies(messages.Status, count=count + 1)
    return statuses[-1].outbox_depth == 0
