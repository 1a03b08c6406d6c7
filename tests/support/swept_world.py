"""A controller that sweeps a simulated network over real messages, and a world of nodes that lives on when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.simulated_fabric import RAILS
from controller.benching.desk import BenchDesk
from controller.benching.sweeps import SweepDesk
from controller.cell import Cell
from controller.engine.orders import OrderDesk
from controller.events import Logged, NodePlaced, NodeSeen, PresenceChanged, ScheduleObserved
from controller.intake import Intake
from controller.policy import folding
from controller.policy.benching.bench_rules import BenchRules
from controller.policy.rules import Budget, Rules
from controller.receipts import Receipts
from controller.store.log import EventLog
from controller.sweep_events import SweepAsked, SweepEnded
from controller.watch import ScheduleWatch
from tests.support.eventually import SOON_S
from tests.support.interrupted import Died, Fuse, Log
from tests.support.open_cell import Holds
from tests.support.swept_nodes import SweptNodes
from wire import messages, topics
from wire.bench import Rank, from_parameters, stopped_lease
from wire.messages import NodeFacts
from wire.orders import Order, OrderAction
from wire.signatures import verify
from wire.transport import Received

RULES = Rules((), Budget(nodes=2), domains=(), breakers=(), bench=BenchRules(idle_by="memory"))
FACTS = NodeFacts(gpu_model="NVIDIA H100 80GB HBM3", gpu_count=RAILS)


@dataclass(slots=True)
class SweptWorld:
    """What outlives the controller: the nodes, what they were ordered, and what they have not been told is stored.

    Attributes:
        ids: lease → the unique id that its rank 0 made.
        ordered: every rank that was ordered, in order.
        stopped: leases that were taken back.
        lies: what is said before each true word of rank 0: by which rank, and which id.
    """

    nodes: SweptNodes
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    outbox: dict[tuple[str, int], messages.EventBody] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    ordered: list[tuple[str, int]] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    lies: tuple[tuple[int, str], ...] = ()
    _ranks: dict[str, dict[str, Rank]] = field(default_factory=dict)
    _seen: set[str] = field(default_factory=set)
    _seq: int = 0

    def put(self, node: str, body: messages.EventBody) -> None:
        """Have a node say something, as often as it takes."""
        self._seq += 1
        self.outbox[node, self._seq] = body

    def obey(self, order: Order) -> None:
        """Do what an order asks, once; one that comes again was done already."""
        if order.order_id in self._seen:
            return
        self._seen.add(order.order_id)
        assert order.action is OrderAction.BENCH
        lease = stopped_lease(order.parameters)
        if lease:
            self.stopped.append(lease)
            self._ranks.pop(lease, None)
            return
        wish = from_parameters(order.parameters)
        assert wish.rank is not None and wish.rank.nodes[wish.rank.number] == order.node and wish.rank.lanes
        self.ordered.append((wish.lease, wish.rank.number))
        if wish.lease not in self.stopped and order.node not in self.nodes.absent:
            self._arrive(order, wish.lease, wish.rank)

    def _arrive(self, order: Order, lease: str, rank: Rank) -> None:
        """Rank 0 makes the id, the others must have it; when all are there, they measure."""
        if rank.number == 0:
            self.ids[lease] = f"{len(self.ids):04x}" * 64
            for number, text in self.lies:
                self.put(rank.nodes[number], messages.BenchRendezvous(lease, text, time.time()))
            self.put(order.node, messages.BenchRendezvous(lease, self.ids[lease], time.time()))
        else:
            assert rank.unique_id == self.ids[lease]
        here = self._ranks.setdefault(lease, {})
        here[order.node] = rank
        if len(here) == len(rank.nodes):
            for node, result in self.nodes.run(rank.nodes).items():
                self.put(node, messages.BenchEnded(lease, result, time.time(), time.time()))


@dataclass(slots=True)
class _Wire:
    world: SweptWorld
    fuse: Fuse
    retained: list[str] = field(default_factory=list)
    connected: bool = True

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        assert not retain
        try:
            self.tell(topic, payload)
        except Died:
            await asyncio.Event().wait()  # a dead process does nothing more, and logs nothing either

    def tell(self, topic: str, payload: bytes) -> None:
        address = topics.parse(topic)
        body = messages.decode(payload, address).body
        self.fuse.cross(f"before {address.channel}")
        if isinstance(body, messages.Stored):
            for seq in body.seqs:
                self.world.outbox.pop((address.node, seq), None)
        elif isinstance(body, messages.SignedOrder):
            self.world.obey(verify(body, trusted={body.key_id: self.world.key.public_key().public_bytes_raw()}))
        self.fuse.cross(f"after {address.channel}")


async def sweep_life(
    store: Callable[[], EventLog], world: SweptWorld, fuse: Fuse, *, until: float
) -> SweepEnded | None:
    """Run a controller until its sweep is over, or until it dies; return how the sweep ended."""
    real = store()
    cell = Cell(Log(real, fuse), RULES, busy_tick_s=SOON_S)  # type: ignore[arg-type]
    for entry in real.read():
        folding.apply(cell.belief, entry)
    wire = _Wire(world, fuse)
    orders = OrderDesk(wire, "main", "k1", world.key, real.begin_term(), time.time)  # type: ignore[arg-type]
    scheduler = Holds(nodes=set(_names(world)))
    watch = ScheduleWatch(cell, scheduler, time.time)
    desk = BenchDesk(cell, orders, watch, time.time)
    sweeps = SweepDesk(cell, desk)
    desk.on_group, desk.on_rendezvous = sweeps.granted, sweeps.met
    intake = Intake(cell, wire, Receipts.recall(real), "main", 600.0, time.time)  # type: ignore[arg-type]
    intake.on_bench_ended, intake.on_rendezvous = desk.ended, desk.met
    intake.on_order_ended = lambda event: orders.ended(event.order_id)

    def act(entry: Logged) -> None:
        desk.act(entry)
        sweeps.act(entry)

    cell.act = act
    await watch.look()
    tasks = [asyncio.create_task(work) for work in (cell.run(), intake.acknowledge_stored(), _resend(world, intake))]
    try:
        sweeps.resume()
        desk.resume()
        if not cell.belief.nodes:
            await _introduce(cell, world)
        return await _until_over(cell, fuse, tasks, until)
    finally:
        await desk.close()
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError, Died):
                await task
        real.close()


def _names(world: SweptWorld) -> list[str]:
    return [world.nodes.network.node(number) for number in range(world.nodes.network.size)]


async def _introduce(cell: Cell, world: SweptWorld) -> None:
    made = world.nodes.network
    for name in _names(world):
        leaves = [made.leaf(made.unit_of(name), rail) for rail in range(RAILS)]
        cell.hand_in(
            [
                NodeSeen(name, "boot-1", FACTS),
                PresenceChanged(name, "online", "so"),
                NodePlaced(name, {"leaf": leaves}),
                ScheduleObserved(name, True, "", "", [], time.time()),
            ],
            [],
            lambda _: None,
        )
    cell.hand_in([SweepAsked(_names(world), "alice", "jobs are slow")], [], lambda _: None)


async def _until_over(cell: Cell, fuse: Fuse, tasks: list[asyncio.Task[None]], until: float) -> SweepEnded | None:
    while time.monotonic() < until and not fuse.died.is_set():
        for sweep in cell.belief.sweeps.sweeps.values():
            if sweep.ended is not None and not cell.belief.bench.leases:
                return sweep.ended
        await asyncio.sleep(0.002)
        for task in tasks:
            if task.done() and not fuse.died.is_set():
                task.result()
    return None


async def _resend(world: SweptWorld, intake: Intake) -> None:
    """Send what the controller has not called stored, again and again, as outboxes do."""
    while True:
        for (node, seq), body in list(world.outbox.items()):
            topic = topics.Address("main", node, topics.Channel.EVENT).topic
            envelope = messages.Envelope(messages.VERSION, node, "boot-1", seq, time.time(), body)
            await intake.take(Received(topic, messages.encode(envelope), False, lambda: None))
        await asyncio.sleep(0.002)
