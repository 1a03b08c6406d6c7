"""The .deb in a bare Debian that systemd has booted: installed, configured, upgraded with a finding on its way."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from cli.broker import CONTROLLER
from scripts.packing import environment, licences, tree
from scripts.packing.release import GLIBC
from tests.support import packaged
from tests.support.booted import Booted, bare, root_file_system
from tests.support.documents.places import InContainer
from tests.support.documents.running import Walk
from tests.support.installed_cell import AGENT, BECAUSE, BROKER, CONTROLLING, NODE, WARM, configure, found, opened

BROUGHT: Final = "/mnt"
DAEMONS: Final = (AGENT, CONTROLLING)
DATA: Final = ("/etc/fleetmend", "/var/lib/fleetmend", "/var/lib/fleetmend-agent", "/var/lib/fleetmend-broker")
USERS: Final = ("fleetmend", "fleetmend-agent", "fleetmend-broker")
ELSEWHERE: Final = ("/etc", "/usr", "/var/lib/systemd")


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return packaged.build(tmp_path_factory.mktemp("packages"))


@pytest.fixture(scope="module")
def machine(packages: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Booted]:
    with bare(tmp_path_factory.mktemp("bare"), {str(packages[0].parent): BROUGHT}) as running:
        yield running


@pytest.fixture(scope="module")
def page() -> Walk:
    return Walk("docs/how-to/install.md", __file__)


def state(machine: Booted, *units: str) -> list[str]:
    return [machine.show(unit, "ActiveState") for unit in units]


def test_it_holds_what_the_lock_names_and_nothing_else(packages: list[Path]) -> None:
    release = packaged.release_for(root_file_system())
    inside = environment.distributions(tree.packages(release, packages[0].parent / "root"))
    names = {licences.normal(each.name) for each in inside}
    assert names == {"fleetmend", *licences.locked(release)}
    assert not names & {"hypothesis", "pip", "pip-audit", "playwright", "pytest", "uv"}


def test_no_library_in_it_needs_a_newer_c_library_than_it_says(packages: list[Path]) -> None:
    needed = set()
    for library in (packages[0].parent / "root" / "opt").rglob("*.so*"):
        needed |= {(int(a), int(b)) for a, b in re.findall(rb"GLIBC_(\d+)\.(\d+)", library.read_bytes())}
    assert (2, 14) < max(needed) <= GLIBC


def test_apt_installs_it_and_starts_nothing(machine: Booted, page: Walk) -> None:
    page.next("apt install", InContainer(machine))
    assert " (commit " in machine.run("fleetmend", "--version")
    for name in ("fleetmend", *DAEMONS):
        assert machine.run("readlink", "-f", f"/usr/bin/{name}").strip() == f"/opt/fleetmend/venv/bin/{name}"
    assert machine.run("id", "--name", "--user", *USERS).split() == list(USERS)
    assert machine.run("stat", "--format=%U %G %a", "/etc/fleetmend/broker") == "root fleetmend-broker 750\n"
    assert state(machine, *DAEMONS, BROKER) == ["inactive"] * 3
    assert "fleetmend" not in machine.run("systemctl", "list-unit-files", "--no-legend", "--state=enabled")


def test_configured_it_stores_a_first_finding(machine: Booted) -> None:
    configure(machine, CONTROLLER, NODE)
    machine.write(WARM, "")
    machine.run("systemctl", "enable", "--now", BROKER, *DAEMONS)
    machine.until(lambda: opened(machine), limit_s=60)
    machine.until(lambda: found(machine) == [BECAUSE], limit_s=60)
    machine.path(WARM).unlink()


def test_an_upgrade_restarts_what_ran_and_loses_no_finding(machine: Booted, page: Walk) -> None:
    """The version before found it, with the broker away; the one of after never saw it, and tells of it."""
    machine.until(lambda: "finding.cleared" in machine.said(AGENT), limit_s=60)
    machine.run("systemctl", "stop", BROKER, CONTROLLING)
    machine.write(WARM, "")
    machine.until(lambda: machine.said(AGENT).count(BECAUSE) >= 2)
    before = machine.main_process(AGENT)
    machine.write(f"/run/systemd/system/{AGENT}.service.d/cold.conf", f"[Service]\nExecStopPost=+rm -f {WARM}\n")
    machine.run("systemctl", "daemon-reload")
    page.next("apt install", InContainer(machine))
    assert page.left == []
    assert not machine.path(WARM).exists()
    assert state(machine, AGENT, CONTROLLING, BROKER) == ["active", "inactive", "inactive"]
    assert machine.main_process(AGENT) != before
    assert '"version": "9.9.9"' in machine.said(AGENT)
    machine.run("systemctl", "start", BROKER, CONTROLLING)
    machine.until(lambda: found(machine) == [BECAUSE, BECAUSE], limit_s=60)
    assert "9.9.9" in machine.run("fleetmend", "--version")


def test_going_back_is_installing_the_older_package(machine: Booted) -> None:
    upgrading = Walk("docs/how-to/upgrade.md", __file__)
    upgrading.next("apt install --allow-downgrades", InContainer(machine))
    assert upgrading.left == []
    assert "9.9.9" not in machine.run("fleetmend", "--version")
    assert state(machine, *DAEMONS, BROKER) == ["active"] * 3
    machine.until(lambda: len(found(machine)) >= 2, limit_s=60)


def test_removed_it_leaves_its_log_and_settings(machine: Booted) -> None:
    kept = machine.run("sha256sum", "/etc/fleetmend/controller.toml")
    machine.run("systemctl", "enable", "--now", "fleetmend-renew.timer")
    machine.run("apt-get", "remove", "--quiet", "--yes", "fleetmend")
    assert not machine.path("/opt/fleetmend").exists()
    assert machine.run("systemctl", "list-units", "--no-legend", "--state=active,failed", "fleetmend-*") == ""
    assert machine.run("sha256sum", "/etc/fleetmend/controller.toml") == kept
    assert machine.run("grep", "-rlF", BECAUSE, "/var/lib/fleetmend") != ""


def test_purged_it_leaves_backups_alone(machine: Booted) -> None:
    machine.write("/var/backups/fleetmend/kept", "")
    machine.run("apt-get", "purge", "--quiet", "--yes", "fleetmend")
    assert not [folder for folder in DATA if machine.path(folder).exists()]
    assert machine.ended("id", *USERS).stdout == ""
    assert machine.run("stat", "--format=%U", "/var/backups/fleetmend/kept") == "root\n"
    assert machine.run("find", *ELSEWHERE, "-name", "*fleetmend*") == ""
