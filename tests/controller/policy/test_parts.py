"""An incident knows the part: the serial number goes with its findings, for the ticket and for history."""

from __future__ import annotations

from dataclasses import replace

from controller import events
from tests.support.policy import PolicyRun, xid

NAMELESS = xid("79", device="0000:3b:00")
NAMED = replace(NAMELESS, serial="1653012345000")


def serials(run: PolicyRun) -> list[str]:
    return [finding.serial for finding in run.incident().condemned_by.values()]


def test_an_incident_keeps_the_serial_of_what_it_was_opened_for() -> None:
    run = PolicyRun().nodes("n1")
    run.raise_on("n1", NAMED)
    (opened,) = [entry.event for entry in run.log if isinstance(entry.event, events.IncidentOpened)]
    assert ([finding.serial for finding in opened.findings], serials(run)) == (["1653012345000"], ["1653012345000"])
    run.clear_on("n1", NAMED)
    assert serials(run) == ["1653012345000"]


def test_an_incident_is_told_a_serial_that_was_learnt_after_the_fault() -> None:
    run = PolicyRun().nodes("n1")
    run.raise_on("n1", NAMELESS)
    assert serials(run) == [""]
    run.now += 1
    assert not [event for event in run.raise_on("n1", NAMED) if isinstance(event, events.IncidentOpened)]
    assert serials(run) == ["1653012345000"]


def test_a_part_that_was_swapped_under_an_incident_does_not_change_whom_it_is_about() -> None:
    run = PolicyRun().nodes("n1")
    run.raise_on("n1", NAMED)
    run.now += 1
    run.raise_on("n1", replace(NAMED, serial="1653099999999"))
    assert serials(run) == ["1653012345000"]
