"""Lag grows for as long as anything stands still, and forgives a node whose clock is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.cell import Cell
from controller.events import NodeSeen
from controller.lag import Hearing
from controller.store.sqlite import SqliteLog
from tests.support.open_cell import Clock, rules
from wire.messages import NodeFacts


async def test_what_waits_to_be_decided_makes_the_cell_lag_more_and_more(tmp_path: Path) -> None:
    clock = Clock()
    cell = Cell(SqliteLog(tmp_path / "events.sqlite"), rules(), clock=clock)
    assert cell.lag_s(clock()) == 0.0
    cell.submit([NodeSeen("n1", "boot", NodeFacts())])
    clock.now += 5.0
    cell.submit([NodeSeen("n2", "boot", NodeFacts())])
    assert cell.lag_s(clock()) == 5.0
    clock.now += 60.0
    assert cell.lag_s(clock()) == 65.0
    cell.log.close()


def test_a_fleet_that_is_not_heard_at_all_lags_more_and_more() -> None:
    hearing = Hearing(since=1000.0)
    assert [hearing.lag_s(now, online=4) for now in (1000.0, 1060.0, 1100.0)] == [0.0, 0.0, 40.0]
    assert hearing.lag_s(1100.0, online=0) == 0.0
    hearing.heard(1100.0, 1100.0)
    assert hearing.lag_s(1130.0, online=4) == 0.0


def test_levels_that_come_old_are_lag_and_one_wrong_clock_is_not() -> None:
    hearing = Hearing(since=1000.0)
    for number in range(9):
        hearing.heard(1000.0 if number else 1.0, 1040.0 + number)
    assert hearing.lag_s(1050.0, online=9) == pytest.approx(44.0, abs=1.0)
    for number in range(99):
        hearing.heard(1100.0 + number if number % 3 else 1.0, 1100.0 + number)
    assert hearing.lag_s(1200.0, online=9) == 0.0
