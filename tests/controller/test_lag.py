"""Lag grows for as long as anything stands still, and forgives a node whose clock is wrong."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from cli.broker import Mosquitto
from controller.cell import Cell
from controller.events import NodeSeen
from controller.intake import Intake
from controller.lag import Hearing
from controller.receipts import Receipts
from controller.store.sqlite import SqliteLog
from tests.support.broker import listening, running_broker, settings, until
from tests.support.open_cell import Clock, rules
from wire import messages
from wire.messages import NodeFacts
from wire.topics import Address, Channel, every_node
from wire.transport import MqttTransport


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
    assert [hearing.lag_s(now, expected=True) for now in (1000.0, 1060.0, 1100.0)] == [0.0, 0.0, 40.0]
    assert hearing.lag_s(1100.0, expected=False) == 0.0
    hearing.heard(1100.0, 1100.0)
    assert hearing.lag_s(1130.0, expected=True) == 0.0


def test_levels_that_come_old_are_lag_and_one_wrong_clock_is_not() -> None:
    hearing = Hearing(since=1000.0)
    for number in range(9):
        hearing.heard(1000.0 if number else 1.0, 1040.0 + number)
    assert hearing.lag_s(1050.0, expected=True) == pytest.approx(44.0, abs=1.0)
    for number in range(99):
        hearing.heard(1100.0 + number if number % 3 else 1.0, 1100.0 + number)
    assert hearing.lag_s(1200.0, expected=True) == 0.0


@pytest.mark.broker
@pytest.mark.parametrize("standing", ["the cell", "the reader"])
async def test_a_reader_that_stopped_at_a_full_queue_shows(tmp_path: Path, standing: str) -> None:
    """Whether what was read is not decided, or nothing is read any more: both are lag, and both grow."""
    clock = Clock()
    async with running_broker(tmp_path / "broker") as broker:
        log = SqliteLog(tmp_path / "events.sqlite")
        cell = Cell(log, rules(), clock=clock)
        cell.belief.node("n1").presence = "online"
        transport = MqttTransport(
            settings(broker),
            subscriptions=(every_node("main", Channel.STATUS),),
            will=None,
            max_unacknowledged=10,
        )
        intake = Intake(cell, transport, Receipts.recall(log), "main", 60.0, clock)
        take = intake.take if standing == "the cell" else _never
        running = asyncio.create_task(transport.run(on_message=take, on_connected=_connected))
        await until(lambda: transport.connected)
        await _say_levels(broker, clock, 30)
        connection = transport._connection
        assert connection is not None
        await until(lambda: connection._paused)
        clock.now += 100.0
        early = intake.lag_s(clock())
        clock.now += 100.0
        late = intake.lag_s(clock())
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        log.close()
    assert (early, late) == ((100.0, 200.0) if standing == "the cell" else (40.0, 140.0))


async def _say_levels(broker: Mosquitto, clock: Clock, count: int) -> None:
    async with listening(settings(broker, "n1")) as node:
        for number in range(count):
            level = messages.Status(NodeFacts(driver_version=str(number)), [], {}, 0, clock.now, clock.now)
            envelope = messages.Envelope(messages.VERSION, "n1", "boot", 0, clock.now, level)
            await node.transport.publish(Address("main", "n1", Channel.STATUS).topic, messages.encode(envelope))


async def _never(_: object) -> None:
    """Take a message and never have done with it."""


async def _connected() -> None:
    pass
