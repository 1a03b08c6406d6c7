"""What is counted over the life of a process that leads."""

from __future__ import annotations

from pathlib import Path

from controller import events
from controller.events import Event, IncidentClosed, Logged, StepEnded
from controller.metrics.catalogue import MOST_CLASSES
from controller.metrics.tally import Tally
from controller.policy.incident import Incident
from controller.reason import Reason
from tests.support.open_cell import START, gpu_lost_playbook, off_the_bus, open_cell
from wire.metrics import OTHER, Distribution


def _entry(event: Event, at: float) -> Logged:
    return Logged(1, at, event)


def _ended(incident: Incident, at: float, *, key: str = "") -> Logged:
    assert incident.intent is not None
    step, attempt = incident.intent.step, incident.intent.attempt
    return _entry(StepEnded(incident.id, step, attempt, "done", "It is done.", key or incident.intent.key), at)


async def test_a_step_that_an_earlier_process_began_is_counted_with_its_whole_duration(tmp_path: Path) -> None:
    async with open_cell(tmp_path) as cell:
        await cell.add_nodes("n1")
        cell.nodes.deaf.add("n1")
        await cell.nodes.find("n1", off_the_bus())
        incident = await cell.until_step("n1", "collect")
        later = Tally(cell.cell)
        later.resume()
        later.note(_ended(incident, incident.intent_at + 50.0))
    assert later.counts["fleetmend_steps_total"]["collect", "done"] == 1
    assert later.seen["fleetmend_step_duration_seconds"]["collect",].total == 50.0


async def test_the_end_of_a_step_that_nobody_knows_of_is_not_counted(tmp_path: Path) -> None:
    async with open_cell(tmp_path) as cell:
        await cell.add_nodes("n1")
        cell.nodes.deaf.add("n1")
        await cell.nodes.find("n1", off_the_bus())
        incident = await cell.until_step("n1", "collect")
        fresh, resumed = Tally(cell.cell), Tally(cell.cell)
        fresh.note(_ended(incident, START + 60.0))
        resumed.resume()
        resumed.note(_ended(incident, START + 60.0, key="another"))
    for tally in (fresh, resumed):
        assert sum(tally.counts["fleetmend_steps_total"].values()) == 0


async def test_nothing_is_kept_of_an_incident_that_is_closed(tmp_path: Path) -> None:
    async with open_cell(tmp_path) as cell:
        await cell.add_nodes("n1")
        await cell.nodes.find("n1", off_the_bus())
        incident = await cell.until_step("n1", "probation")
        tally = cell.metrics.tally
        tally.note(_entry(IncidentClosed(incident.id, "unheard of", Reason("")), START + 60.0))
        assert (tally._begun, tally._observed) == ({}, {})
        assert tally.counts["fleetmend_incidents_closed_total"][OTHER,] == 1


async def test_classes_beyond_the_bound_are_counted_together(tmp_path: Path) -> None:
    async with open_cell(tmp_path) as cell:
        tally = Tally(cell.cell)
        for number in range(2 * MOST_CLASSES):
            opened = events.IncidentOpened(
                f"inc-{number}", "n1", "", f"class-{number}", gpu_lost_playbook(), [], Reason("")
            )
            tally.note(_entry(opened, START))
        opened_again = events.IncidentOpened("inc", "n1", "", "class-0", gpu_lost_playbook(), [], Reason(""))
        tally.note(_entry(opened_again, START))
    counted = tally.counts["fleetmend_incidents_opened_total"]
    assert len(counted) == MOST_CLASSES
    assert counted["class-0",] == 2
    assert sum(counted.values()) == 2 * MOST_CLASSES + 1


async def test_what_is_given_out_does_not_change_afterwards(tmp_path: Path) -> None:
    async with open_cell(tmp_path) as cell:
        tally = cell.metrics.tally
        before = tally.values()["fleetmend_detection_seconds"][()]
        await cell.add_nodes("n1")
        await cell.nodes.find("n1", off_the_bus())
        await cell.until_step("n1", "probation")
    after = tally.values()["fleetmend_detection_seconds"][()]
    assert isinstance(before, Distribution) and isinstance(after, Distribution)
    assert (before.count, after.count) == (0, 1)
