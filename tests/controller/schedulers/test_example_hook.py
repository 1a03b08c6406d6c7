"""The hook that the documents give as an example, run by the adapter itself: it keeps the whole contract."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from controller.adapters import Hold, NodeSchedule
from controller.errors import Permanent, Refused
from controller.schedulers.command import CommandScheduler
from tests.support.checkout import ROOT

HOOK = ROOT / "examples/scheduler-hook"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LAUNCHER_FOLDER", str(tmp_path))
    for name in ("held", "jobs"):
        (tmp_path / name).mkdir()
    (tmp_path / "nodes").write_text("n1\nn2\nn3\n")
    return tmp_path


@pytest.fixture
def scheduler() -> CommandScheduler:
    return CommandScheduler(HOOK)


async def test_a_node_is_held_drained_and_given_back(folder: Path, scheduler: CommandScheduler, hold: Hold) -> None:
    (folder / "jobs/n1").write_text("17\n18\n")
    for _ in range(2):
        assert await scheduler.cordon("n1", hold) == "The launcher starts nothing more on n1."
    assert (folder / "held/n1").read_text() == f"fleetmend inc-000007 {hold.reason}\n"
    assert await scheduler.observe() == {
        "n1": NodeSchedule(False, "inc-000007", jobs=("17", "18")),
        "n2": NodeSchedule(True),
        "n3": NodeSchedule(True),
    }
    assert await scheduler.drain("n1", hold, jobs="wait") == ("17", "18")
    (folder / "jobs/n1").unlink()
    assert await scheduler.drain("n1", hold, jobs="wait") == ()
    for _ in range(2):
        assert await scheduler.uncordon("n1", hold) == "The launcher uses n1 again."
    assert not (folder / "held/n1").exists()


@pytest.mark.parametrize("why", ['memory "test" \\ by hand', "fleet", "x\ty\nz", ""])
async def test_somebody_else_s_hold_is_left(folder: Path, scheduler: CommandScheduler, hold: Hold, why: str) -> None:
    (folder / "held/n1").write_text(why)
    for act in (scheduler.cordon("n1", hold), scheduler.uncordon("n1", hold), scheduler.drain("n1", hold, jobs="wait")):
        with pytest.raises(Refused, match="somebody else holds n1"):
            await act
    assert (folder / "held/n1").read_text() == why
    seen = (await scheduler.observe())["n1"]
    assert (seen.schedulable, seen.held_by, bool(seen.foreign_reason)) == (False, "", True)


async def test_two_incidents_do_not_share_a_node(folder: Path, scheduler: CommandScheduler, hold: Hold) -> None:
    await scheduler.cordon("n1", hold)
    with pytest.raises(Refused, match="n1 is held for another incident: inc-000007"):
        await scheduler.cordon("n1", replace(hold, incident_id="inc-8"))
    with pytest.raises(Refused, match="n1 is held for another incident: inc-000007"):
        await scheduler.uncordon("n1", replace(hold, incident_id="inc-8"))
    assert (folder / "held/n1").exists()


async def test_a_controller_that_was_replaced_does_nothing_more(
    folder: Path, scheduler: CommandScheduler, hold: Hold
) -> None:
    await scheduler.cordon("n1", replace(hold, fencing_token=2))
    with pytest.raises(Refused, match="term 1 is over, term 2 leads"):
        await scheduler.uncordon("n1", hold)
    assert (folder / "held/n1").exists()


async def test_a_launcher_that_is_not_there_is_told_as_such(
    monkeypatch: pytest.MonkeyPatch, scheduler: CommandScheduler, tmp_path: Path
) -> None:
    monkeypatch.setenv("LAUNCHER_FOLDER", str(tmp_path))
    with pytest.raises(Permanent, match="nodes"):
        await scheduler.observe()
