"""Stock is taken by the runner: after every part was looked at, of readings that are fresh, and again when asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from agent.desk import Desk
from agent.runner import KernelLog, Runner
from checks.host import inventory as inventory_check
from checks.manifest import Manifest, Port, Section
from checks.readings import InventoryReading, RdmaPort, RdmaReading
from tests.support.agent_node import ManualClock, MemoryJournal, ScriptedLog, ScriptedSource, settle
from wire.messages import NodeFacts


@dataclass(slots=True)
class Node:
    """What is around a runner, in the test's hand."""

    clock: ManualClock = field(default_factory=ManualClock)
    journal: MemoryJournal = field(default_factory=MemoryJournal)
    log: ScriptedLog = field(default_factory=ScriptedLog)


def stocked(approved: Manifest | None, node: Node) -> tuple[Runner, ScriptedSource, Desk]:
    """Return a runner that takes stock, its source of RDMA ports, and its desk."""
    ports = (RdmaPort("mlx5_0/1", "InfiniBand", 4, 5, 400.0, node_guid="a088:1", firmware="2"),)
    rdma = ScriptedSource("rdma", lambda: RdmaReading(node.clock.now, ports), clock=node.clock)
    reading = lambda: InventoryReading(node.clock.now, approved)  # noqa: E731 - as every scripted answer
    inventory = ScriptedSource("inventory", reading, clock=node.clock)
    clock = node.clock.clock
    desk = Desk((inventory_check.CHECK,), journal=node.journal, boot_id="b", notify=lambda: None, clock=clock)
    runner = Runner(
        desk,
        sources=(inventory, rdma),
        kernel_log=KernelLog(node.log),
        outbox=node.journal,
        facts=NodeFacts(),
        clock=clock,
        phase=lambda: 0.0,
    )
    return runner, rdma, desk


@asynccontextmanager
async def running(runner: Runner) -> AsyncIterator[None]:
    """Run it for the time of the block."""
    task = asyncio.create_task(runner.run())
    await settle()
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


APPROVED = Manifest(
    ports=(Port("mlx5_0/1", "a088:1", rate_gbit_per_s=400.0, firmware="1"),),
    unread={section: "not asked" for section in Section if section is not Section.PORTS},
)


async def test_stock_is_taken_once_every_part_was_looked_at() -> None:
    node = Node()
    runner, rdma, desk = stocked(APPROVED, node)
    rdma.gate.clear()
    async with running(runner):
        assert "inventory" not in desk.newest()
        rdma.gate.set()
        await settle()
        assert desk.newest()["inventory"].found.ports == (
            Port("mlx5_0/1", "a088:1", link_layer="InfiniBand", rate_gbit_per_s=400.0, firmware="2"),
        )
        await node.clock.advance(11.0)
    assert node.journal.told() == ["+host.inventory|mlx5_0/1|firmware degraded"]
    (finding,) = [entry.finding for entry in desk.book.raised.values()]
    assert finding.serial == "a088:1"


async def test_a_part_that_is_no_longer_read_is_unknown_and_not_missing() -> None:
    node = Node()
    runner, rdma, _ = stocked(replace(APPROVED, ports=(replace(APPROVED.ports[0], firmware="2"),)), node)
    async with running(runner):
        assert node.journal.told() == []
        rdma.gate.clear()
        await node.clock.advance(40.0)
    assert node.journal.told() == ["+host.inventory|host|unread_ports unknown"]


async def test_a_fresh_look_at_the_inventory_is_one_at_every_part_first() -> None:
    node = Node()
    runner, rdma, _ = stocked(APPROVED, node)
    async with running(runner):
        await node.clock.advance(3.0)
        looking = asyncio.create_task(runner.run_checks(["host.inventory"]))
        await node.clock.advance(2.0)
        levels = await looking
    assert levels["host.inventory"].verdict == "degraded"
    assert node.clock.now - 2.0 in rdma.began
