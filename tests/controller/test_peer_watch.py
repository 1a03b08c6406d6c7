"""Which nodes are asked about a silent one, how often, and what the cell is told of their answers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from controller import events
from controller.cell import Cell
from controller.engine.orders import OrderDesk
from controller.peer_watch import APART_S, AT_ONCE, PeerWatch
from controller.policy.rules import Budget, Rules
from controller.store.sqlite import SqliteLog
from tests.support.open_cell import Clock
from wire import messages, topics
from wire.messages import NodeFacts, SignedOrder
from wire.orders import Order, OrderAction
from wire.signatures import verify

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
TRUSTED = {"main": KEY.public_key().public_bytes_raw()}
FLEET = 200


@dataclass
class Nodes:
    """A broker and nodes behind it, who reach all but the dead.

    Attributes:
        dead: addresses that nobody reaches.
        outcome: how they end an order.
        liar: a node that answers in the name of every other one too.
    """

    dead: set[str] = field(default_factory=set)
    outcome: str = "done"
    liar: str = ""
    orders: list[Order] = field(default_factory=list)
    connected: bool = True
    watch: PeerWatch | None = None

    def tell(self, topic: str, payload: bytes) -> None:
        """Orders are never told at QoS 0."""
        raise AssertionError((topic, payload))

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Take an order and answer it."""
        assert not retain
        envelope = messages.decode(payload, topics.parse(topic))
        assert isinstance(envelope.body, SignedOrder)
        order = verify(envelope.body, trusted=TRUSTED)
        self.orders.append(order)
        addresses = order.parameters["addresses"].split(",")
        evidence = {each: "not_reached" if each in self.dead else "reached" for each in addresses}
        assert self.watch is not None
        said_by = self.liar or order.node
        ended = events.OrderEnded(said_by, order.order_id, self.outcome, "so", 0.0, 0.0, evidence)
        asyncio.get_running_loop().call_soon(self.watch.order_ended, ended)

    async def run(self, **_: Any) -> None:
        """Nothing comes by itself."""

    def asked_about(self) -> Counter[str]:
        return Counter(order.order_id.split("/")[1] for order in self.orders)


@dataclass
class Bench:
    cell: Cell
    watch: PeerWatch
    nodes: Nodes
    clock: Clock

    async def lose(self, *names: str) -> None:
        await self.cell.submit([events.PresenceChanged(name, "lost", "gone") for name in names])
        self.clock.now += 15.0

    async def ask(self, after_s: float = 0.0) -> None:
        self.clock.now += after_s
        await self.watch.ask()

    def word(self, node: str = "n1") -> tuple[tuple[str, ...], tuple[str, ...]]:
        believed = self.cell.belief.nodes[node]
        return believed.reached_by, believed.unreached_by

    def observed(self) -> int:
        return sum(isinstance(entry.event, events.PeersObserved) for entry in self.cell.log.read())


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    log, clock, nodes = SqliteLog(tmp_path / "events.sqlite"), Clock(), Nodes()
    log.begin_term()
    cell = Cell(log, Rules((), Budget(nodes=1), mass_silence_share=0.5), clock=clock)
    running = asyncio.create_task(cell.run())
    watch = nodes.watch = PeerWatch(cell, OrderDesk(nodes, "main", "main", KEY, 7, clock), clock)
    for number in range(1, FLEET + 1):
        facts = NodeFacts(address=f"n{number}.example", orders_allowed=["reach"])
        seen = events.NodeSeen(f"n{number}", "boot-1", facts)
        cell.submit([seen, events.PresenceChanged(f"n{number}", "online", "here")])
    yield Bench(cell, watch, nodes, clock)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    log.close()


async def test_three_are_asked_about_the_silent_node_and_about_each_other(bench: Bench) -> None:
    await bench.lose("n1")
    await bench.ask()
    asked = {order.node: order.parameters["addresses"] for order in bench.nodes.orders}
    assert asked == {
        "n2": "n1.example,n3.example,n4.example",
        "n3": "n1.example,n2.example,n4.example",
        "n4": "n1.example,n2.example,n3.example",
    }
    assert {(order.action, order.fencing_token) for order in bench.nodes.orders} == {(OrderAction.REACH, 7)}
    assert bench.word() == (("n2", "n3", "n4"), ())


async def test_a_host_that_nobody_reaches_is_unreached_by_those_who_reach_each_other(bench: Bench) -> None:
    bench.nodes.dead = {"n1.example", "n4.example"}
    await bench.lose("n1")
    await bench.ask()
    assert bench.word() == ((), ("n2", "n3"))


@pytest.mark.parametrize("outcome", ["refused", "failed"])
async def test_nothing_follows_from_nodes_that_do_not_know_the_order(bench: Bench, outcome: str) -> None:
    bench.nodes.outcome = outcome
    await bench.lose("n1")
    await bench.ask()
    assert (len(bench.nodes.orders), bench.word(), bench.observed()) == (3, ((), ()), 0)


async def test_the_word_is_taken_back_when_nobody_can_tell_any_more(bench: Bench) -> None:
    await bench.lose("n1")
    await bench.ask()
    bench.nodes.outcome = "refused"
    await bench.ask(APART_S)
    assert (bench.word(), bench.observed()) == (((), ()), 2)


async def test_it_is_asked_seldom_more_seldom_while_nothing_changes_and_at_once_in_the_next_silence(
    bench: Bench,
) -> None:
    await bench.lose("n1")
    await bench.ask()
    await bench.ask(APART_S - 1.0)
    assert len(bench.nodes.orders) == 3
    await bench.ask(1.0)
    await bench.ask(APART_S)
    assert (len(bench.nodes.orders), bench.observed()) == (6, 1)
    await bench.ask(APART_S)
    assert len(bench.nodes.orders) == 9
    await bench.cell.submit([events.PresenceChanged("n1", "online", "back")])
    await bench.ask()
    await bench.lose("n1")
    await bench.ask()
    assert len(bench.nodes.orders) == 12


async def test_few_are_asked_about_at_once_and_then_the_others(bench: Bench) -> None:
    silent = [f"n{number}" for number in range(101, 101 + 3 * AT_ONCE // 2)]
    await bench.lose(*silent)
    await bench.ask()
    assert list(bench.nodes.asked_about()) == silent[:AT_ONCE]
    await bench.ask()
    assert bench.nodes.asked_about() == Counter(dict.fromkeys(silent, 3))


async def test_no_node_answers_for_another_one(bench: Bench) -> None:
    bench.watch.answer_within_s = 0.05
    bench.nodes.liar = "n9"
    await bench.lose("n1")
    await bench.ask()
    assert (bench.word(), bench.observed()) == (((), ()), 0)


async def test_a_node_that_is_heard_while_others_are_asked_speaks_for_itself(bench: Bench) -> None:
    await bench.lose("n1")
    bench.cell.submit([events.PresenceChanged("n1", "online", "back")])
    await bench.ask()
    assert bench.word() == ((), ())
