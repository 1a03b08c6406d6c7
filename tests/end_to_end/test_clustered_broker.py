"""Agents and a controller over a real cluster of three NATS servers, whose servers are killed in the midst of it.

MQTT 3.1.1 alone, node names with dots, a list of brokers for everybody. The agents are the real outbox and publisher
with edges of the test's making, and one whole agent as a process; the controller is the real one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import structlog
import tomli_w

from agent.clock import Clock
from agent.outbox import Outbox
from agent.publisher import HEARD_AT, Attendance, Identity, Publisher, subscriptions
from agent.simulation.machine import SimulatedMachine
from checks.finding import Action, Finding, Verdict
from controller import events, keys, settings
from controller.assembly import assemble
from controller.policy.node_belief import NodeBelief
from controller.service import Controller
from tests.support.broker import Listener, listening, until
from tests.support.nats import CELL, CONTROLLER, PASSWORD, NatsCluster, NatsServer, find_nats, running_cluster
from wire.messages import (
    CheckLevel,
    Envelope,
    FindingCleared,
    FindingRaised,
    NodeFacts,
    OrderEnded,
    SignedOrder,
    Status,
)
from wire.orders import Order, OrderAction
from wire.signatures import verify
from wire.topics import Address, Channel, every_node
from wire.transport import BrokerSettings, MqttTransport, NotPublished

pytestmark = pytest.mark.timeout(180)

NAMES = tuple(f"gpu-{number}.rack.example" for number in range(1, 7))
PROCESS = "gpu-9.rack.example"
DEVICES = 4
EVERY_S = 0.02
"""Between two edges of one node."""

STATUS_EVERY_S = 15.0
"""A controller that starts cold must know every node before the next level can tell it."""

LIMIT_S = 40.0


@dataclass(slots=True)
class Node:
    """An agent's outbox and publisher, and what this node has said: edges of four findings, raised and cleared in turn.

    Attributes:
        said: key's device → the bodies put, in order.
        obeyed: order ids, each as often as it arrived.
    """

    name: str
    outbox: Outbox
    transport: MqttTransport
    publisher: Publisher
    trusted: dict[str, bytes]
    said: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    standing: dict[str, Finding] = field(default_factory=dict)
    obeyed: list[str] = field(default_factory=list)

    @classmethod
    def make(cls, name: str, cluster: NatsCluster, directory: Path, trusted: dict[str, bytes]) -> Node:
        """Return the node, with nothing running."""
        outbox, clock = Outbox(directory / f"{name}.sqlite", f"boot-of-{name}"), Clock()
        attendance = Attendance(Identity(CELL, name, f"boot-of-{name}"), clock)
        transport = MqttTransport(
            BrokerSettings(cluster.urls, f"fleetmend-{CELL}-{name}", name, PASSWORD),
            subscriptions=subscriptions(attendance.identity),
            will=attendance.last_will,
            qos=HEARD_AT,
        )
        orders: list[tuple[SignedOrder, Envelope]] = []

        async def take(order: SignedOrder, envelope: Envelope) -> None:
            orders.append((order, envelope))
            node.obey(order)

        publisher = Publisher(
            transport, outbox, attendance, lambda: node.level(), take, status_interval_s=STATUS_EVERY_S, clock=clock
        )
        node = cls(name, outbox, transport, publisher, trusted)
        return node

    def obey(self, signed: SignedOrder) -> None:
        """Carry an order out once, and say again how it ended when it comes again."""
        order, now = verify(signed, trusted=self.trusted), time.time()
        self.obeyed.append(order.order_id)
        self.outbox.put(OrderEnded(order.order_id, "done", "", now, now), now)
        self.publisher.notify()

    def level(self) -> Status:
        """Return the level."""
        now, checks = time.time(), {"test.edges": CheckLevel("unknown", time.time())}
        return Status(NodeFacts(agent_version="test"), list(self.standing.values()), checks, 0, now, now)

    def without(self, device: str) -> dict[str, Finding]:
        """Return what stands without the finding of a device."""
        return {name: found for name, found in self.standing.items() if name != device}

    async def talk(self, quiet: asyncio.Event) -> None:
        """Say an edge every 20 ms, each of another finding, until it is quiet."""
        number = 0
        while not quiet.is_set():
            device, now = f"GPU-{number % DEVICES}", time.time()
            is_raised = len(self.said[device]) % 2 == 0
            found = Finding("test.edges", device, str(number % DEVICES), Verdict.UNKNOWN, Action.NONE, f"{number}")
            edge = FindingRaised(found, now) if is_raised else FindingCleared(found.key, f"{number}", now)
            self.standing = {**self.standing, device: found} if is_raised else self.without(device)
            self.said[device].append(f"{'+' if is_raised else '-'}{number}")
            self.outbox.put(edge, now)
            self.publisher.notify()
            number += 1
            await asyncio.sleep(EVERY_S)


@contextlib.asynccontextmanager
async def running(nodes: list[Node]) -> AsyncIterator[None]:
    """Run the nodes' publishers."""
    tasks = [asyncio.create_task(node.publisher.run()) for node in nodes]
    try:
        yield
    finally:
        await asyncio.gather(*(node.publisher.stop() for node in nodes))
        await asyncio.gather(*tasks, return_exceptions=True)
        for node in nodes:
            node.outbox.close()


@contextlib.asynccontextmanager
async def controlling(cluster: NatsCluster, state: Path, key: Path) -> AsyncIterator[Controller]:
    """Run a real controller on its own configuration file in a folder that is there."""
    (state / "password").touch(mode=0o600)
    (state / "password").write_text(PASSWORD)
    (state / "controller.toml").write_text(
        tomli_w.dumps(
            {
                "state": str(state),
                "cell": CELL,
                "signing_key": str(key),
                "broker": {
                    "url": list(cluster.urls),
                    "username": CONTROLLER,
                    "password_file": str(state / "password"),
                },
                "http": {"port": 0},
            }
        )
    )
    controller = assemble(settings.load(state / "controller.toml"))
    task = asyncio.create_task(controller.run())
    try:
        await until(lambda: controller.transport.connected or task.done())
        yield controller
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@contextlib.asynccontextmanager
async def agent_process(
    cluster: NatsCluster, directory: Path, key_id: str, public_key: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a whole agent with a simulated machine."""
    SimulatedMachine.create(directory / "machine", name=PROCESS, seed=1, speedup=360.0)
    (directory / "password").touch(mode=0o600)
    (directory / "password").write_text(PASSWORD)
    (directory / "agent.toml").write_text(
        tomli_w.dumps(
            {
                "node": PROCESS,
                "cell": CELL,
                "state_directory": str(directory / "agent"),
                "simulation_directory": str(directory / "machine"),
                "status_interval_s": STATUS_EVERY_S,
                "broker": {
                    "url": list(cluster.urls),
                    "username": PROCESS,
                    "password_file": str(directory / "password"),
                },
                "trusted_keys": {key_id: {"public_key": public_key}},
            }
        )
    )
    with (directory / "agent.log").open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "agent", "--config", str(directory / "agent.toml")), stderr=output
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@dataclass(slots=True)
class Story:
    """Everything that runs, and how long what took."""

    cluster: NatsCluster
    controller: Controller
    nodes: list[Node]
    orders: set[str] = field(default_factory=set)
    took_s: dict[str, float] = field(default_factory=dict)

    async def kill(self, server: NatsServer, what: str) -> None:
        """Kill a server, give orders in the midst of it, wait until every node's edges arrive again, and restart it."""
        began, killed_at = time.monotonic(), time.time()
        await server.kill()
        self.orders |= set(await asyncio.gather(*(self.order(node.name, what) for node in self.nodes)))
        clients = [self.controller.transport, *(node.transport for node in self.nodes)]
        await until(lambda: all(c.connected and str(c.address) != server.address for c in clients), limit_s=LIMIT_S)
        self.took_s[f"{what} server killed, all connected elsewhere"] = time.monotonic() - began
        await until(lambda: self.oldest_news() > killed_at, limit_s=LIMIT_S)
        self.took_s[f"{what} server killed, edges of all nodes arrive"] = time.monotonic() - began
        await self.cluster.restart(server)

    def oldest_news(self) -> float:
        """Return until when every node's edges are believed."""
        return min(max(self.belief(node.name).edges.values(), default=0.0) for node in self.nodes)

    async def order(self, node: str, what: str) -> str:
        """Give an order and return its id."""
        now, order_id = time.time(), f"{what}/{node}"
        order = Order(order_id, node, OrderAction.RUN_CHECKS, now, now + 120.0, self.controller.desk.term)
        await self.controller.desk.send(order)
        return order_id

    def open_orders(self, order_ids: Iterable[str]) -> set[str]:
        """Return those of which the controller still waits for an answer."""
        return set(order_ids) & set(self.controller.desk._open)

    def belief(self, node: str) -> NodeBelief:
        """Return what is believed of a node."""
        return self.controller.cell.belief.node(node)


def logged(controller: Controller) -> Iterator[events.Event]:
    """Yield what is in the event log."""
    for entry in controller.cell.log.read():
        yield entry.event


def edges(controller: Controller) -> dict[str, dict[str, list[str]]]:
    """Return node → device → edges that nodes said, in the log's order; a level that came first heals beside them."""
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for event in logged(controller):
        match event:
            case events.FindingRaised(finding=finding, origin="edge") if finding.check == "test.edges":
                found[event.node][finding.device].append(f"+{finding.because}")
            case events.FindingCleared(key=key, origin="edge") if key.check == "test.edges":
                found[event.node][key.device].append(f"-{event.because}")
    return found


async def test_nothing_is_lost_doubled_or_turned_round_while_servers_of_the_broker_are_killed(tmp_path: Path) -> None:
    find_nats()
    for name in ("cluster", "nodes", "process", "first", "second"):
        (tmp_path / name).mkdir()
    key = keys.load_or_make(tmp_path / "key.pem")
    trusted = {keys.key_id(key): key.public_key().public_bytes_raw()}
    async with contextlib.AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(running_cluster(tmp_path / "cluster", (*NAMES, PROCESS)))
        first = contextlib.AsyncExitStack()
        await stack.enter_async_context(first)
        controller = await first.enter_async_context(controlling(cluster, tmp_path / "first", tmp_path / "key.pem"))
        nodes = [Node.make(name, cluster, tmp_path / "nodes", trusted) for name in NAMES]
        await stack.enter_async_context(running(nodes))
        process = await stack.enter_async_context(
            agent_process(cluster, tmp_path / "process", keys.key_id(key), keys.public_text(key))
        )
        story = Story(cluster, controller, nodes)
        await until(lambda: all(story.belief(name).presence == "online" for name in (*NAMES, PROCESS)), limit_s=LIMIT_S)

        quiet = asyncio.Event()
        talking = [asyncio.create_task(node.talk(quiet)) for node in nodes]
        await story.kill(cluster.at(str(controller.transport.address)), "controller's")
        await story.kill(busiest(story), "agents'")
        quiet.set()
        await asyncio.gather(*talking)
        began = time.monotonic()
        await until(lambda: not any(node.outbox.depth() for node in nodes), limit_s=LIMIT_S)
        await until(lambda: not story.open_orders(story.orders), limit_s=LIMIT_S)
        story.took_s["the rest stored and all orders answered"] = time.monotonic() - began

        heard = edges(controller)
        for node in nodes:
            for device, said in node.said.items():
                assert said == heard[node.name][device]
        await until(lambda: all(story.belief(name).presence == "online" for name in (*NAMES, PROCESS)), limit_s=LIMIT_S)

        await answer_of_the_process(story)
        process.send_signal(signal.SIGKILL)
        await until(lambda: story.belief(PROCESS).presence == "lost", limit_s=LIMIT_S)

        await first.aclose()
        began = time.monotonic()
        async with controlling(cluster, tmp_path / "second", tmp_path / "key.pem") as cold:
            await until(lambda: set(cold.cell.belief.nodes) == {*NAMES, PROCESS}, limit_s=STATUS_EVERY_S / 3)
            story.took_s["a cold controller knows all"] = time.monotonic() - began
            believed = cold.cell.belief.nodes
            await until(lambda: all(believed[name].checks for name in (*NAMES, PROCESS)), limit_s=LIMIT_S)
            story.took_s["a cold controller knows all levels"] = time.monotonic() - began
            assert {believed[name].presence for name in NAMES} == {"online"}
            assert believed[PROCESS].presence == "lost"
        told = {what: round(took, 2) for what, took in story.took_s.items()}
        total = sum(len(each) for node in nodes for each in node.said.values())
        print(json.dumps({"edges": total, "came again": controller.intake.rejected["repeated"], **told}))


async def answer_of_the_process(story: Story) -> None:
    """Wait until the whole agent has answered an order."""
    order_id = await story.order(PROCESS, "to the process")
    await until(lambda: not story.open_orders([order_id]), limit_s=LIMIT_S)


def busiest(story: Story) -> NatsServer:
    """Return the server that most nodes are connected to."""
    addresses = [str(node.transport.address) for node in story.nodes]
    return story.cluster.at(max(set(addresses), key=addresses.count))


async def test_a_node_speaks_and_hears_for_itself_alone(tmp_path: Path) -> None:
    """As the how-to page gives the permissions: what a node says for another one reaches nobody."""
    mine, other = NAMES[:2]
    async with running_cluster(tmp_path, NAMES) as cluster:
        access = BrokerSettings(cluster.urls, "controller", CONTROLLER, PASSWORD)
        heard_by_all = every_node(CELL, Channel.EVENT)
        async with listening(access, heard_by_all) as controller, intruding(cluster, mine) as node:
            orders = Address(CELL, mine, Channel.ORDER).topic
            with contextlib.suppress(NotPublished):
                await node.transport.publish(Address(CELL, other, Channel.EVENT).topic, b"forged")
            await until(lambda: node.transport.connected)
            await node.transport.publish(Address(CELL, mine, Channel.EVENT).topic, b"true")
            await controller.transport.publish(Address(CELL, other, Channel.ORDER).topic, b"for another")
            await controller.transport.publish(orders, b"for me")
            await until(lambda: node.heard and controller.heard)

            assert [(each.topic, each.payload) for each in node.heard] == [(orders, b"for me")]
            assert [each.payload for each in controller.heard] == [b"true"]
        for wanted in (every_node(CELL, Channel.ORDER), "$MQTT/sub/#", "#"):
            assert await is_refused(cluster, mine, wanted)


@contextlib.asynccontextmanager
async def intruding(cluster: NatsCluster, name: str) -> AsyncIterator[Listener]:
    """Give a node that hears at QoS 0 what it may hear."""
    access = BrokerSettings(cluster.urls, name.replace(".", "-"), name, PASSWORD)
    transport = MqttTransport(
        access, subscriptions=(Address(CELL, name, Channel.ORDER).topic,), will=None, qos=HEARD_AT
    )
    listener = Listener(transport)
    task = asyncio.create_task(transport.run(on_message=listener.take, on_connected=listener.note_connection))
    try:
        await until(lambda: listener.connections)
        yield listener
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def is_refused(cluster: NatsCluster, name: str, wanted: str) -> bool:
    """Return whether the broker refuses a node's subscription."""
    access = BrokerSettings(cluster.urls, f"{name.replace('.', '-')}-again", name, PASSWORD)
    transport = MqttTransport(access, subscriptions=(wanted,), will=None, qos=HEARD_AT, jitter=lambda: 0.0)
    listener = Listener(transport)
    with structlog.testing.capture_logs() as logs:
        task = asyncio.create_task(transport.run(on_message=listener.take, on_connected=listener.note_connection))
        await until(lambda: listener.connections or [each for each in logs if each["event"] == "broker.lost"])
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return any("refuses the subscription" in each.get("because", "") for each in logs)
