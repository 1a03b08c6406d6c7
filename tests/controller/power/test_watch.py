"""Whose BMC is asked, how often, and what the cell is told of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from controller import events
from controller.adapters import PowerSeen
from controller.cell import Cell
from controller.policy.rules import Budget, Rules
from controller.power.none import NoPower
from controller.power.watch import MOST_A_ROUND, MOST_APART_S, PowerWatch
from controller.store.sqlite import SqliteLog
from tests.support.open_cell import Clock

BREAKS = "breaks"


@dataclass
class Bmcs(NoPower):
    """BMCs that say what a test tells them to.

    Attributes:
        hang: nodes whose BMC does not answer before `released`.
    """

    says: dict[str, str] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    hang: set[str] = field(default_factory=set)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    at_once: int = 0
    most_at_once: int = 0

    async def look(self, node: str) -> PowerSeen:
        self.asked[node] += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await (self.released.wait() if node in self.hang else asyncio.sleep(0))
        self.at_once -= 1
        if self.says.get(node) == BREAKS:
            raise ZeroDivisionError("oops")
        return PowerSeen(self.says.get(node, "on"), f"The BMC of {node} says so.")


@dataclass
class Bench:
    cell: Cell
    watch: PowerWatch
    bmcs: Bmcs
    clock: Clock

    async def tell(self, *said: events.Event) -> None:
        await self.cell.submit(list(said))

    async def lose(self, *nodes: str) -> None:
        await self.tell(*(events.PresenceChanged(node, "lost", "gone") for node in nodes))

    def power(self, node: str) -> str:
        return self.cell.belief.nodes[node].power

    def observed(self) -> int:
        return sum(isinstance(entry.event, events.BmcObserved) for entry in self.cell.log.read())


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    log, clock, bmcs = SqliteLog(tmp_path / "events.sqlite"), Clock(), Bmcs()
    log.begin_term()
    cell = Cell(log, Rules((), Budget(nodes=1)), clock=clock)
    running = asyncio.create_task(cell.run())
    bench = Bench(cell, PowerWatch(cell, bmcs, clock, at_once=4), bmcs, clock)
    await bench.tell(*(events.PresenceChanged(f"n{number}", "online", "here") for number in range(1, 200)))
    yield bench
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    log.close()


async def test_only_the_bmcs_of_silent_nodes_are_asked(bench: Bench) -> None:
    await bench.watch.look()
    assert not bench.bmcs.asked
    bench.bmcs.says = {"n1": "off"}
    await bench.lose("n1", "n2")
    await bench.watch.look()
    assert bench.bmcs.asked == {"n1": 1, "n2": 1}
    assert (bench.power("n1"), bench.power("n2"), bench.power("n3")) == ("off", "on", "")


async def test_what_did_not_change_is_told_once_and_asked_at_intervals(bench: Bench) -> None:
    await bench.lose("n1")
    await bench.watch.look()
    await bench.watch.look()
    assert bench.bmcs.asked["n1"] == 1, "not before the interval is over"
    bench.clock.now += 31.0
    await bench.watch.look()
    assert (bench.bmcs.asked["n1"], bench.observed()) == (2, 1)
    bench.bmcs.says["n1"] = "off"
    bench.clock.now += 31.0
    await bench.watch.look()
    assert (bench.power("n1"), bench.observed()) == ("off", 2)


async def test_a_clock_that_was_set_back_keeps_no_bmc_from_being_asked(bench: Bench) -> None:
    await bench.lose("n1")
    await bench.watch.look()
    bench.clock.now -= 3_600.0
    bench.bmcs.says["n1"] = "off"
    await bench.watch.look()
    await bench.watch.look()
    assert (bench.power("n1"), bench.bmcs.asked["n1"]) == ("off", 2)


async def test_a_bmc_that_cannot_be_asked_is_asked_ever_more_seldom(bench: Bench) -> None:
    """Else a wrong password would lock the account."""
    bench.bmcs.says["n1"] = "unknown"
    await bench.lose("n1")
    for _ in range(3600):
        await bench.watch.look()
        bench.clock.now += 1.0
    assert bench.bmcs.asked["n1"] <= 6 + 3600 / MOST_APART_S
    assert (bench.power("n1"), bench.observed()) == ("unknown", 1)
    bench.bmcs.says["n1"] = "on"
    bench.clock.now += MOST_APART_S
    await bench.watch.look()
    assert bench.power("n1") == "on"


async def test_a_fleet_that_is_silent_is_not_asked_at_once(bench: Bench) -> None:
    await bench.lose(*(f"n{number}" for number in range(1, 200)))
    await bench.watch.look()
    assert (len(bench.bmcs.asked), bench.bmcs.most_at_once) == (MOST_A_ROUND, 4)
    for _ in range(3):
        await bench.watch.look()
    assert set(bench.bmcs.asked.values()) == {1} and len(bench.bmcs.asked) == 199


async def test_a_bmc_that_hangs_keeps_no_other_waiting(bench: Bench) -> None:
    bench.bmcs.hang = {"n1"}
    await bench.lose("n1", "n2", "n3")
    looking = asyncio.create_task(bench.watch.look())
    while bench.power("n3") != "on":  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    assert bench.power("n1") == ""
    await bench.tell(events.PresenceChanged("n1", "online", "back"))
    bench.bmcs.released.set()
    await looking
    assert (bench.power("n1"), bench.observed()) == ("", 2), "a node that is heard again speaks for itself"


async def test_a_node_that_falls_silent_is_looked_at_soon(bench: Bench) -> None:
    bench.cell.act = bench.watch.note
    watching = asyncio.create_task(bench.watch.run())
    await bench.lose("n7")
    async with asyncio.timeout(30.0):
        while bench.power("n7") != "on":  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    watching.cancel()


async def test_an_adapter_that_breaks_is_no_end_of_the_controller(bench: Bench) -> None:
    bench.bmcs.says["n1"] = BREAKS
    await bench.lose("n1", "n2")
    await bench.watch.look()
    assert (bench.power("n1"), bench.power("n2")) == ("unknown", "on")
    assert "the adapter crashed: ZeroDivisionError: oops" in bench.cell.belief.nodes["n1"].power_because


async def test_without_an_adapter_nothing_is_told(bench: Bench) -> None:
    watch = PowerWatch(bench.cell, NoPower(), bench.clock)
    await bench.lose("n1")
    await watch.look()
    assert bench.observed() == 0
