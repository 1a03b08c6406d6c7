"""What begins by itself is asked for at intervals, through the cell's log, by the controller that leads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from controller import events
from controller.bench_events import BenchAsked
from controller.benching.planner import LOOKED_AT_ONCE, Planner
from controller.cell import Cell
from controller.policy.benching.bench_rules import BenchRules
from controller.policy.benching.scheduling import scheduled
from controller.policy.benching.when import WhenRules
from controller.policy.rules import Budget, Rules
from controller.store.sqlite import SqliteLog
from wire.messages import NodeFacts

FACTS = NodeFacts(gpu_count=8, orders_allowed=["bench"])
RULES = Rules((), Budget(nodes=1), bench=BenchRules(idle_by="slurm"), when=WhenRules(at_once=2))


@dataclass
class Fleet:
    """Idle nodes, a cell that thinks, and its planner."""

    log: SqliteLog
    cell: Cell
    planner: Planner
    now: float = 1_000_000.0
    leads: bool = True
    unknown: dict[str, str] = field(default_factory=dict)

    async def nodes(self, *names: str) -> None:
        for name in names:
            await self.cell.submit(
                [
                    events.NodeSeen(name, "boot-1", FACTS),
                    events.PresenceChanged(name, "online", "so"),
                    events.ScheduleObserved(name, True, "", "", [], self.now, responding=True),
                ]
            )

    def asked(self) -> list[BenchAsked]:
        return [entry.event for entry in self.log.read() if isinstance(entry.event, BenchAsked)]


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    log = SqliteLog(tmp_path / "events.sqlite")
    cell = Cell(log, RULES, clock=lambda: made.now)
    made = Fleet(
        log, cell, Planner(cell, lambda: made.now, lambda node: made.unknown.get(node, ""), lambda: made.leads)
    )
    thinking = asyncio.create_task(cell.run())
    yield made
    thinking.cancel()
    await asyncio.gather(thinking, return_exceptions=True)
    log.close()


async def test_it_asks_for_what_the_policy_says(fleet: Fleet) -> None:
    await fleet.nodes("n1", "n2", "n3")
    expected = scheduled(fleet.cell.belief, RULES, fleet.now)
    await fleet.planner.plan()
    assert fleet.asked() == expected != []
    await fleet.planner.plan()
    assert len(fleet.asked()) == 2, "two at once"


async def test_i8_a_controller_that_does_not_lead_asks_for_nothing(fleet: Fleet) -> None:
    await fleet.nodes("n1")
    fleet.leads = False
    await fleet.planner.plan()
    assert fleet.asked() == []


async def test_i1_a_node_that_the_scheduler_does_not_know_is_left_alone(fleet: Fleet) -> None:
    await fleet.nodes("n1", "n2")
    fleet.unknown["n1"] = "the scheduler (slurm) does not know it"
    await fleet.planner.plan()
    assert [each.nodes for each in fleet.asked()] == [["n2"]]


async def test_what_happens_while_it_looks_counts(fleet: Fleet) -> None:
    """The looking is in parts: a job that came in between is seen."""
    await fleet.nodes("n1", "n2")
    planning = asyncio.create_task(fleet.planner.plan())
    await asyncio.sleep(0)
    busy = events.ScheduleObserved("n1", True, "", "", ["7"], fleet.now, responding=True)
    fleet.cell.submit([busy])
    await planning
    assert [each.nodes for each in fleet.asked()] == [["n2"]]


async def test_a_fleet_larger_than_a_part_is_looked_at_whole(fleet: Fleet) -> None:
    busy = NodeFacts(gpu_count=0)
    seen = [events.NodeSeen(f"n{number}", "boot-1", busy) for number in range(LOOKED_AT_ONCE + 1)]
    await fleet.cell.submit(list(seen))
    await fleet.nodes(f"n{LOOKED_AT_ONCE}")
    await fleet.planner.plan()
    assert [each.nodes for each in fleet.asked()] == [[f"n{LOOKED_AT_ONCE}"]]


async def test_without_a_budget_nothing_is_looked_at(fleet: Fleet) -> None:
    await fleet.nodes("n1")
    fleet.cell.rules = replace(RULES, when=WhenRules(gpu_minutes_per_hour=0.0))
    await fleet.planner.plan()
    assert fleet.asked() == []
