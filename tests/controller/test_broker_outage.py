"""I1 and I7: the broker is gone for an hour and comes back. One page, no node acted on, nothing lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from controller import events
from controller.policy.incident import Incident
from tests.support.open_cell import OpenCell, off_the_bus, open_cell, rules
from wire import messages
from wire.topics import Address, Channel
from wire.transport import Received

NODES = tuple(f"n{number}" for number in range(1, 21))
HOUR_S = 3600.0


@pytest.fixture
async def cell(tmp_path: Path) -> AsyncIterator[OpenCell]:
    async with open_cell(tmp_path, rules(nodes=5)) as opened:
        await opened.add_nodes(*NODES)
        yield opened


async def pass_time(cell: OpenCell, seconds: float, *, step_s: float = 30.0) -> None:
    """Let time pass, with a look for silence every so often, as the controller does."""
    until = cell.clock.now + seconds
    while cell.clock.now < until:
        cell.clock.now = min(until, cell.clock.now + step_s)
        await cell.front.intake.note_silence()
        await cell.cell.submit([])


async def say_level(cell: OpenCell, node: str) -> None:
    known = cell.cell.belief.nodes[node]
    standing = [raised.finding for raised in known.findings.values() if raised.origin != "controller"]
    status = messages.Status(known.facts, standing, dict(known.checks), 0, cell.clock.now, cell.clock.now)
    envelope = messages.Envelope(messages.VERSION, node, known.boot_id, 0, cell.clock.now, status)
    topic = Address("main", node, Channel.STATUS).topic
    await cell.front.intake.take(Received(topic, messages.encode(envelope), False, lambda: None))


async def closed(cell: OpenCell, node: str) -> Incident:
    """Let time pass until a node's newest incident is over."""
    async with asyncio.timeout(20):
        while True:
            await pass_time(cell, 5.0, step_s=5.0)
            await asyncio.sleep(0.01)
            found = [incident for incident in cell.cell.belief.incidents.values() if incident.node == node]
            if found and found[-1].closed_at:
                return found[-1]


def silences(cell: OpenCell) -> list[Incident]:
    return [incident for incident in cell.cell.belief.incidents.values() if incident.fault_class == "fleet_silence"]


async def verbs_since(cell: OpenCell, event_id: int) -> list[str]:
    log = await cell.front.timeline(limit=10_000)
    return [e.event.verb for e in log if e.event_id > event_id and isinstance(e.event, events.StepIntended)]


async def test_an_hour_without_a_broker(cell: OpenCell) -> None:
    before = cell.cell.belief.last_event_id
    cell.nodes.connected = False
    await pass_time(cell, HOUR_S)
    (silence,) = silences(cell)
    assert silence.because.startswith("20 of 20 agents fell silent together")
    assert [page.incident_id for page in cell.pages.sent] == [silence.id]
    assert (await verbs_since(cell, before), cell.scheduler.held) == (["page"], {})

    cell.nodes.connected = True
    await cell.nodes.find("n3", off_the_bus())
    await pass_time(cell, 1.0, step_s=1.0)
    for node in NODES:
        await say_level(cell, node)
    found = await closed(cell, "n3")
    assert (found.outcome, silence.outcome) == ("returned", "recovered")
    assert (len(cell.pages.sent), len(silences(cell))) == (1, 1)
    assert {node.presence for node in cell.cell.belief.nodes.values()} == {"online"}


async def test_a_short_outage_is_nobodys_silence(cell: OpenCell) -> None:
    """Each node last spoke a minute before the broker went, and speaks again a minute after it came."""
    await pass_time(cell, 60.0)
    for connected, seconds in ((False, 150.0), (True, 59.0)):
        cell.nodes.connected = connected
        await pass_time(cell, seconds)
    assert (silences(cell), cell.pages.sent) == ([], [])


async def test_what_was_begun_before_is_finished_after(cell: OpenCell) -> None:
    """A drain needs no broker; the repair that follows waits until agents are heard again."""
    cell.scheduler.jobs["n7"] = ("17",)
    await cell.nodes.find("n7", off_the_bus())
    incident = await cell.until_step("n7", "drain")
    cell.nodes.connected = False
    await pass_time(cell, 300.0)
    cell.scheduler.jobs["n7"] = ()
    async with asyncio.timeout(10):
        while incident.waiting_for != "freeze" and not incident.closed_at:
            await asyncio.sleep(0.01)
            await cell.cell.submit([])
    await pass_time(cell, HOUR_S - 300.0)
    assert incident.repair_begun is False
    cell.nodes.connected = True
    for node in NODES:
        await say_level(cell, node)
    assert (await closed(cell, "n7")).outcome == "returned"
