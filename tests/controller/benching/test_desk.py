"""The desk of benchmarks: what it orders and when, what it takes back, and what it keeps of progress."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from checks.bench_result import Benchmark
from controller.adapters import NodeSchedule
from controller.bench_events import BenchAsked, BenchEnded, BenchStopped, GoldenAgreed, LeaseGranted
from controller.benching.desk import PROGRESS_KEPT, BenchDesk
from controller.cell import Cell
from controller.engine.orders import OrderDesk
from controller.errors import Retryable
from controller.events import NodeSeen, PresenceChanged
from controller.policy.benching.bench_rules import BenchRules
from controller.policy.rules import Budget, Rules
from controller.store.sqlite import SqliteLog
from controller.watch import ScheduleWatch
from tests.support.agent_node import settle
from tests.support.bench_policy import H100, memory_read, result_of
from wire import messages, topics
from wire.bench import BenchWish, Rank, from_parameters, stopped_lease
from wire.messages import BenchProgress, BenchRendezvous, NodeFacts
from wire.orders import Order
from wire.signatures import verify

FACTS = NodeFacts(gpu_model=H100.sku, driver_version=H100.driver)
NODES = ("n1", "n2", "n3")


@dataclass(slots=True)
class Scheduler:
    """Answers as it is told to."""

    nodes: dict[str, NodeSchedule] = field(default_factory=lambda: {node: NodeSchedule(True) for node in NODES})
    broken: bool = False
    name: str = "slurm"

    async def observe(self) -> Mapping[str, NodeSchedule]:
        if self.broken:
            raise Retryable("slurmctld does not answer", after_s=1.0)
        return self.nodes


@dataclass(slots=True)
class Wire:
    """Keeps the orders that were sent, as nodes would read them."""

    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    orders: list[Order] = field(default_factory=list)

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        body = messages.decode(payload, topics.parse(topic)).body
        assert isinstance(body, messages.SignedOrder) and not retain
        self.orders.append(verify(body, trusted={"k1": self.key.public_key().public_bytes_raw()}))

    def wishes(self) -> list[tuple[str, BenchWish]]:
        return [
            (order.node, from_parameters(order.parameters))
            for order in self.orders
            if not stopped_lease(order.parameters)
        ]

    def stopped(self) -> list[tuple[str, str]]:
        return [(o.node, lease) for o in self.orders if (lease := stopped_lease(o.parameters))]


@dataclass(slots=True)
class Office:
    """A desk with a real log behind it, and a clock that a test moves."""

    cell: Cell
    desk: BenchDesk
    wire: Wire
    scheduler: Scheduler
    now: list[float]

    async def ask(self, *nodes: str, together: bool = False, benchmark: str = "gpu_bandwidth") -> str:
        run = f"run-{len(self.cell.belief.bench.runs) + 1}"
        asked = BenchAsked(run, list(nodes), [benchmark], 1, "operator", "kim", "to see", together=together)
        await self.cell.submit([asked])
        await settle()
        return run

    async def come_back(self, node: str) -> None:
        lease = self.cell.belief.bench.lease_of(node)
        assert lease is not None
        result = result_of(memory_read(2_600.0), benchmark=Benchmark(lease.benchmark))
        await self.cell.submit([BenchEnded(node, lease.lease_id, result, self.now[0], self.now[0])])
        await settle()


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    log = SqliteLog(tmp_path / "events.sqlite")
    now = [1_000_000.0]
    rules = Rules((), Budget(nodes=1), bench=BenchRules(idle_by="slurm"))
    cell = Cell(log, rules, clock=lambda: now[0])
    wire, scheduler = Wire(), Scheduler()
    orders = OrderDesk(wire, "main", "k1", wire.key, 7, lambda: now[0])  # type: ignore[arg-type]
    watch = ScheduleWatch(cell, scheduler, lambda: now[0])  # type: ignore[arg-type]
    desk = BenchDesk(cell, orders, watch, lambda: now[0])
    cell.act = desk.act
    thinking = asyncio.create_task(cell.run())
    for node in NODES:
        await cell.submit([NodeSeen(node, "boot-1", FACTS), PresenceChanged(node, "online", "it connected")])
    await watch.look()
    yield Office(cell, desk, wire, scheduler, now)
    await desk.close()
    thinking.cancel()
    await asyncio.gather(thinking, return_exceptions=True)
    log.close()


async def test_what_is_granted_is_ordered_once_with_all_that_the_node_needs(office: Office) -> None:
    run = await office.ask("n1")
    assert office.cell.belief.bench.runs[run].by == "kim"
    ((node, wish),) = office.wire.wishes()
    lease = office.cell.belief.bench.leases[wish.lease]
    assert (node, wish.benchmark, wish.tier, wish.limit_s) == ("n1", "gpu_bandwidth", 1, 30.0)
    assert (wish.lease_ends_at, wish.idle_by) == (lease.expires_at, "slurm")
    (order,) = office.wire.orders
    assert (order.order_id, order.fencing_token) == (f"bench/{wish.lease}/n1", 7)
    assert order.expires_at == lease.expires_at


async def test_i4_a_controller_that_comes_back_orders_the_same_again_under_the_same_name(office: Office) -> None:
    await office.ask("n1", "n2")
    await office.come_back("n2")
    first = list(office.wire.orders)
    office.desk.resume()
    await settle()
    assert [order.order_id for order in office.wire.orders[len(first) :]] == ["bench/lease-000001/n1"]


async def test_an_answered_order_is_not_sent_again(office: Office) -> None:
    await office.ask("n1")
    await office.come_back("n1")
    sent = len(office.wire.orders)
    await office.desk.orders.send_again()
    assert len(office.wire.orders) == sent


async def test_a_run_that_is_stopped_is_taken_back_from_its_node(office: Office) -> None:
    run = await office.ask("n1")
    await office.cell.submit([BenchStopped(run, "kim", "enough")])
    await settle()
    assert office.wire.stopped() == [("n1", "lease-000001")]
    assert office.cell.belief.bench.runs[run].outcome == "stopped"


@pytest.mark.parametrize(
    ("spoil", "because"),
    [
        ("broken", "the scheduler (slurm) cannot be asked whether it is idle: slurmctld does not answer"),
        ("silent", "the scheduler (slurm) has not said for 61 s whether it is idle"),
        ("gone", "the scheduler (slurm) does not know it"),
    ],
)
async def test_i1_nothing_is_ordered_while_the_scheduler_says_nothing(office: Office, spoil: str, because: str) -> None:
    match spoil:
        case "broken":
            office.scheduler.broken = True
            await office.desk.watch.look()
        case "silent":
            office.now[0] += 61.0
        case _:
            del office.scheduler.nodes["n1"]
            await office.desk.watch.look()
    run = await office.ask("n1")
    await office.cell.submit([])
    assert office.wire.orders == []
    assert office.cell.belief.bench.runs[run].sentences["n1"]["gpu_bandwidth"] == f"n1: {because}."
    assert office.cell.belief.bench.runs[run].outcome == "skip"


async def test_a_groups_ranks_are_left_to_whoever_hands_them_out(office: Office) -> None:
    granted: list[LeaseGranted] = []
    office.desk.on_group = granted.append
    await office.ask("n1", "n2", together=True)
    assert (office.wire.orders, [lease.nodes for lease in granted]) == ([], [["n1", "n2"]])
    rank = Rank(0, ("n1", "n2"))
    office.desk.order(granted[0].lease_id, "n1", rank)
    office.desk.order(granted[0].lease_id, "n3", rank)
    await settle()
    assert [(node, wish.rank) for node, wish in office.wire.wishes()] == [("n1", rank)]
    office.desk.resume()
    await settle()
    assert len(office.wire.orders) == 1


async def test_a_meeting_is_told_for_leases_of_the_node_alone(office: Office) -> None:
    heard: list[tuple[str, str]] = []
    office.desk.on_rendezvous = lambda node, said: heard.append((node, said.unique_id))
    await office.ask("n1", "n2", together=True)
    for node, lease in (("n1", "lease-000001"), ("n3", "lease-000001"), ("n1", "lease-999999")):
        office.desk.met(node, BenchRendezvous(lease, node, 0.0))
    assert heard == [("n1", "n1")]


async def test_progress_is_kept_while_its_lease_is_open(office: Office) -> None:
    await office.ask("n1")
    said = BenchProgress("lease-000001", "gpu_bandwidth", 0.5, "halfway", time.time())
    for node in ("n1", "n2"):
        office.desk.heard(node, said)
    office.desk.heard("n1", BenchProgress("lease-000009", "gemm", 0.1, "", 0.0))
    assert office.desk.progress == {"lease-000001": {"n1": said}}
    await office.come_back("n1")
    assert office.desk.progress == {}
    assert PROGRESS_KEPT >= 100


@pytest.mark.parametrize("sku", [H100.sku, "H100"])
async def test_gemm_is_told_what_the_fleet_agrees_on(office: Office, sku: str) -> None:
    kind = f"{sku} {H100.driver} 12.4.5"
    await office.cell.submit([GoldenAgreed(kind, "12.4.5:abc", ["n2"], "so")])
    await office.ask("n1", benchmark="gemm")
    await office.ask("n2", benchmark="gpu_bandwidth")
    assert [wish.options for _, wish in office.wire.wishes()] == [{"golden": "12.4.5:abc"}, {}]
