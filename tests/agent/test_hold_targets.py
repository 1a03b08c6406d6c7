"""What systemd runs when a flag file comes or goes (systemd/fleetmend-hold), with a systemctl that only notes."""

from __future__ import annotations

import contextlib
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.hold_flag import Flag, HoldFlag
from tests.support.checkout import ROOT

BOOT = Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@dataclass(slots=True)
class Follower:
    """The program and its files."""

    directory: Path

    def __post_init__(self) -> None:
        """Make the folders, and a systemctl."""
        for folder in (self.run_folder, self.directory / "bin"):
            folder.mkdir()
        systemctl = self.directory / "bin/systemctl"
        systemctl.write_text(f'#!/bin/sh\necho "$*" >> {self.directory}/calls\n. {self.directory}/meanwhile\n')
        systemctl.chmod(0o755)
        (self.directory / "meanwhile").touch()

    @property
    def run_folder(self) -> Path:
        return self.directory / "fleetmend"

    @property
    def copy(self) -> Path:
        return self.directory / "held"

    def flag(self, boot_id: str = BOOT) -> HoldFlag:
        return HoldFlag(self.run_folder, self.copy, boot_id=lambda: boot_id)

    def run(self) -> list[str]:
        """Run it and return what it told systemd."""
        calls = self.directory / "calls"
        calls.write_text("")
        environment = {"PATH": f"{self.directory}/bin:/usr/bin:/bin"}
        command = [str(ROOT / "systemd/fleetmend-hold"), str(self.run_folder), str(self.copy)]
        subprocess.run(command, env=environment, check=True, timeout=30)
        return [
            call.removeprefix("start fleetmend-").removesuffix(".target") for call in calls.read_text().splitlines()
        ]


@pytest.fixture
def follower(tmp_path: Path) -> Follower:
    return Follower(tmp_path)


FLAG = Flag("inc-000007", 'GPU 3 "has" fallen & gone.', 1.0, "inc-000007/cordon/1")


def test_without_a_flag_the_node_is_in_service(follower: Follower) -> None:
    assert follower.run() == ["in-service"]


@pytest.mark.parametrize("name", ["held", "held-by-operator"])
def test_any_flag_holds_it(follower: Follower, name: str) -> None:
    (follower.run_folder / name).touch()
    assert follower.run() == ["held"]


def test_a_file_that_is_being_written_holds_nothing(follower: Follower) -> None:
    (follower.run_folder / ".held.new").touch()
    assert follower.run() == ["in-service"]


def test_what_changes_meanwhile_is_followed_too(follower: Follower) -> None:
    (follower.run_folder / "held").touch()
    (follower.directory / "meanwhile").write_text(f"rm -f {follower.run_folder}/held\n")
    assert follower.run() == ["held", "in-service"]


def test_after_a_reboot_the_hold_of_before_is_back_and_the_agent_takes_it_up(follower: Follower) -> None:
    follower.flag("another boot").put(FLAG)
    (follower.run_folder / "held").unlink()
    assert follower.run() == ["held"]
    assert json.loads((follower.run_folder / "held").read_text())["boot_id"] == BOOT
    standing = follower.flag().look()
    assert standing.ours is not None
    assert (standing.ours.incident, standing.ours.reason, standing.foreign) == (FLAG.incident, FLAG.reason, "")


@pytest.mark.parametrize("program", ["sed", "chmod", "cp", "cat", "mv"])
@pytest.mark.parametrize("call", [1, 2])
def test_killed_anywhere_it_gives_no_node_back(follower: Follower, program: str, call: int) -> None:
    follower.flag("another boot").put(FLAG)
    (follower.run_folder / "held").unlink()
    killer = follower.directory / "bin" / program
    real, calls = f"/usr/bin/{program}", follower.directory / "killer"
    is_the_one = f'[ "$(/usr/bin/wc -l < {calls})" = {call} ]'
    killer.write_text(f'#!/bin/sh\necho >> {calls}\n{is_the_one} && kill -9 $PPID && exit\nexec {real} "$@"\n')
    killer.chmod(0o755)
    with contextlib.suppress(subprocess.CalledProcessError):
        follower.run()
    killer.unlink()
    assert follower.run() == ["held"]
    standing = follower.flag().look()
    assert standing.ours is not None
    assert standing.ours.incident == FLAG.incident


@pytest.mark.parametrize("name", ["fleetmend/.held.boot", "held.boot"])
def test_root_writes_through_no_link_that_the_agents_user_left(follower: Follower, name: str) -> None:
    follower.flag("another boot").put(FLAG)
    (follower.run_folder / "held").unlink()
    victim = follower.directory / "victim"
    victim.write_text("precious")
    (follower.directory / name).symlink_to(victim)
    assert follower.run() == ["held"]
    assert (victim.read_text(), (follower.run_folder / "held").is_symlink()) == ("precious", False)


def test_one_that_somebody_took_away_stays_away(follower: Follower) -> None:
    follower.flag("another boot").put(FLAG)
    (follower.run_folder / "held").unlink()
    follower.run()
    (follower.run_folder / "held").unlink()
    assert follower.run() == ["in-service"]
    assert follower.flag().look().ours is None
