"""Measures are compared outside the log: what comes to light is an event, and nothing else is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from controller import events
from controller.cell import Cell
from controller.comparison import Comparison
from controller.policy import folding
from controller.policy.belief import Belief
from controller.policy.rules import Budget, Rules
from controller.store.sqlite import SqliteLog
from wire.messages import NodeFacts, Status

HOT = "gpu_idle_temperature_celsius"
FACTS = NodeFacts(gpu_model="NVIDIA H100", gpu_count=8)


@dataclass
class Room:
    """Twelve nodes, a controller that compares them, and its log."""

    log: SqliteLog
    cell: Cell
    comparison: Comparison
    now: float = 1_000_000.0

    async def minutes(self, count: int, *, hot: float) -> None:
        for _ in range(count):
            self.now += 60.0
            for number in range(12):
                measures = {HOT: hot if number == 3 else 35.0 + number / 10}
                level = Status(FACTS, [], {}, 0, 0.0, self.now, measures=measures)
                self.comparison.heard(f"n{number}", level)
            await self.comparison.compare()

    def logged(self) -> list[events.Event]:
        return [entry.event for entry in self.log.read()]


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    log = SqliteLog(tmp_path / "events.sqlite")
    cell = Cell(log, Rules((), Budget(nodes=1)), clock=lambda: made.now)
    made = Room(log, cell, Comparison(cell, lambda: made.now))
    thinking = asyncio.create_task(cell.run())
    await cell.submit([events.NodeSeen(f"n{number}", "boot-1", FACTS) for number in range(12)])
    yield made
    thinking.cancel()
    await asyncio.gather(thinking, return_exceptions=True)
    log.close()


async def test_one_finding_is_raised_and_cleared_and_no_number_is_logged(room: Room) -> None:
    before = len(room.logged())
    await room.minutes(30, hot=80.0)
    raised, left = room.logged()[before:]
    assert isinstance(raised, events.FindingRaised) and isinstance(left, events.FindingLeft)
    assert (raised.node, raised.boot_id, raised.finding.code, raised.origin) == ("n3", "boot-1", HOT, "controller")
    await room.minutes(30, hot=35.0)
    (cleared,) = room.logged()[before + 2 :]
    assert isinstance(cleared, events.FindingCleared)
    assert room.cell.belief.nodes["n3"].findings == {}


async def test_a_finding_survives_a_restart_and_is_cleared_by_the_next_controller(room: Room) -> None:
    await room.minutes(6, hot=80.0)
    room.comparison = Comparison(room.cell, lambda: room.now)
    await room.minutes(4, hot=35.0)
    assert [finding.code for finding in room.cell.belief.nodes["n3"].findings] == [HOT]
    await room.minutes(1, hot=35.0)
    assert room.cell.belief.nodes["n3"].findings == {}


async def test_i12_the_log_alone_gives_the_same_belief(room: Room) -> None:
    await room.minutes(6, hot=80.0)
    again = Belief()
    for entry in room.log.read():
        folding.apply(again, entry)
    assert again == room.cell.belief


async def test_a_level_without_measures_is_compared_with_nobody(room: Room) -> None:
    room.comparison.heard("n1", Status(FACTS, [], {}, 0, 0.0, room.now))
    assert room.comparison.peers.said == {}


async def test_an_agent_silence_is_not_ended_by_a_finding_about_peers(room: Room) -> None:
    """The controller's findings are several: each is counted as what it is."""
    await room.minutes(6, hot=80.0)
    assert (room.cell.belief.agents_lost, room.cell.belief.lemons) == ({}, set())


async def test_nodes_of_another_pool_are_no_peers(room: Room) -> None:
    """Alone in its pool a node has nobody to be compared with, however hot it is."""
    await room.cell.submit([events.NodePlaced("n3", {"pool": ["inference"]})])
    await room.minutes(10, hot=80.0)
    assert room.cell.belief.nodes["n3"].findings == {}
