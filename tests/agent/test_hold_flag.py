"""The flag files by which a node is held: whole at any moment, back after a reboot, and never somebody else's."""

from __future__ import annotations

import json
import os
import stat
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.hold_flag import Flag, HoldFlag, Standing
from checks.errors import CannotObserve

INCIDENT = "inc-000007"
FLAG = Flag(INCIDENT, "GPU 3 has fallen off the bus.", 1_700_000_000.0, "inc-000007/cordon/1")


@dataclass(slots=True)
class Place:
    """Where one node's flags are."""

    directory: Path
    boot: str = "boot-1"

    @property
    def folder(self) -> Path:
        return self.directory / "run/fleetmend"

    @property
    def held(self) -> Path:
        return self.folder / "held"

    @property
    def copy(self) -> Path:
        return self.directory / "held"

    def flag(self) -> HoldFlag:
        return HoldFlag(self.folder, self.copy, boot_id=lambda: self.boot)

    def reboot(self) -> None:
        for file in self.folder.iterdir():
            file.unlink()
        self.folder.rmdir()
        self.boot = "boot-2"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def incident_of(standing: Standing) -> str:
    return standing.ours.incident if standing.ours else ""


def test_nobody_holds_a_node_at_first(place: Place) -> None:
    assert place.flag().look() == Standing()
    assert not place.folder.exists()


def test_a_hold_is_a_file_that_everybody_can_read(place: Place) -> None:
    before = os.umask(0o077)
    try:
        place.flag().put(FLAG)
    finally:
        os.umask(before)
    assert json.loads(place.held.read_text()) == {
        "incident": INCIDENT,
        "reason": "GPU 3 has fallen off the bus.",
        "since": 1_700_000_000.0,
        "key": "inc-000007/cordon/1",
        "boot_id": "boot-1",
    }
    assert stat.S_IMODE(place.held.stat().st_mode) == 0o644
    assert [file.name for file in place.folder.iterdir()] == ["held"]
    assert incident_of(place.flag().look()) == INCIDENT


def test_a_reboot_does_not_give_the_node_back(place: Place) -> None:
    place.flag().put(FLAG)
    place.reboot()
    assert incident_of(place.flag().look()) == INCIDENT
    assert json.loads(place.held.read_text())["boot_id"] == "boot-2"
    place.held.unlink()
    assert place.flag().look() == Standing()


def test_nothing_is_written_through_a_link_that_somebody_left(place: Place) -> None:
    place.folder.mkdir(parents=True)
    victim = place.directory / "victim"
    victim.write_text("precious")
    (place.folder / ".held.new").symlink_to(victim)
    place.flag().put(FLAG)
    assert (victim.read_text(), place.held.is_symlink()) == ("precious", False)


def test_a_pipe_that_somebody_left_keeps_no_hold_waiting(place: Place) -> None:
    place.folder.mkdir(parents=True)
    os.mkfifo(place.folder / ".held.new")
    writing = threading.Thread(target=place.flag().put, args=(FLAG,), daemon=True)
    writing.start()
    writing.join(5.0)
    assert not writing.is_alive()
    assert incident_of(place.flag().look()) == INCIDENT


def test_a_full_disk_does_not_give_the_node_back_after_a_reboot(place: Place) -> None:
    """Nor does a kill between flag and copy. Nothing can be written beside the copy, as on a disk that is full."""
    place.flag().put(FLAG)
    place.reboot()
    obstacle = place.copy.with_name(".held.new")
    obstacle.mkdir()
    for _ in range(2):
        assert incident_of(place.flag().look()) == INCIDENT
        assert json.loads(place.held.read_text())["boot_id"] == "boot-2"
    obstacle.rmdir()
    place.flag().look()
    place.held.unlink()
    assert place.flag().look() == Standing(), "the copy follows once there is room, and a person is heard again"


def test_one_that_systemd_put_back_is_taken_up(place: Place) -> None:
    place.flag().put(FLAG)
    before = place.held.read_bytes()
    place.reboot()
    place.folder.mkdir()
    place.held.write_bytes(before)
    assert incident_of(place.flag().look()) == INCIDENT
    place.held.unlink()
    assert place.flag().look() == Standing()


def test_whoever_deletes_the_flag_gives_the_node_back_for_good(place: Place) -> None:
    place.flag().put(FLAG)
    place.held.unlink()
    assert place.flag().look() == Standing()
    assert not place.copy.exists()
    place.reboot()
    assert place.flag().look() == Standing()


def test_taken_away_it_stays_away(place: Place) -> None:
    place.flag().put(FLAG)
    place.flag().take_away()
    place.flag().take_away()
    place.reboot()
    assert place.flag().look() == Standing()


def test_a_crash_before_the_flag_was_there_holds_nothing_in_this_boot(place: Place) -> None:
    place.flag().put(FLAG)
    content = place.copy.read_bytes()
    place.flag().take_away()
    place.copy.write_bytes(content)
    assert place.flag().look() == Standing()


def test_somebody_elses_file_holds_the_node_with_its_first_line(place: Place) -> None:
    place.flag().put(FLAG)
    (place.folder / "held-by-operator").write_text("\nmemory test by hand\nuntil Friday\n")
    (place.folder / "held-by-anna").touch()
    standing = place.flag().look()
    assert standing.foreign == "anna: no reason given; operator: memory test by hand"
    assert incident_of(standing) == INCIDENT
    place.flag().take_away()
    assert sorted(file.name for file in place.folder.iterdir()) == ["held-by-anna", "held-by-operator"]


def test_our_own_name_with_something_else_in_it_is_somebody_elses(place: Place) -> None:
    place.folder.mkdir(parents=True)
    place.held.write_text("do not touch\n")
    assert place.flag().look() == Standing(None, "held: do not touch")


def test_a_folder_and_a_pipe_hold_it_as_well(place: Place) -> None:
    (place.folder / "held-by-folder").mkdir(parents=True)
    os.mkfifo(place.folder / "held-by-pipe")
    assert place.flag().look().foreign == "folder: no reason given; pipe: no reason given"


def test_a_pipe_in_the_place_of_the_flag_is_no_answer(place: Place) -> None:
    place.folder.mkdir(parents=True)
    os.mkfifo(place.held)
    with pytest.raises(CannotObserve, match="a named pipe"):
        place.flag().look()


@given(content=st.binary(max_size=200))
def test_whatever_is_in_the_flag_file_it_holds_the_node(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        place = Place(Path(directory))
        place.folder.mkdir(parents=True)
        place.held.write_bytes(content)
        standing = place.flag().look()
    assert standing.is_held
    standing.foreign.encode()


@given(content=st.binary(max_size=200))
def test_a_damaged_copy_holds_nothing(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        place = Place(Path(directory))
        place.copy.write_bytes(content)
        assert not place.flag().look().is_held or b"incident" in content


@given(name=st.binary(min_size=1, max_size=40).filter(lambda name: b"/" not in name and b"\0" not in name))
def test_any_name_can_be_told(name: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        place = Place(Path(directory))
        place.folder.mkdir(parents=True)
        Path(os.fsdecode(os.fsencode(place.folder) + b"/held-by-" + name)).touch()
        standing = place.flag().look()
    assert standing.is_held
    standing.foreign.encode()
