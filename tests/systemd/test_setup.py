"""A bare host becomes a whole cell by `fleetmend setup`, and `fleetmend doctor` finds it fine, and each fault in it.

It is set up by what docs/how-to/install.md has people type.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest

from cli.exit_codes import ExitCode
from tests.support.ansible import packages, recap
from tests.support.booted import OPT, Booted, with_program
from tests.support.documents.blocks import blocks_of
from tests.support.documents.places import InContainer
from tests.support.documents.running import Walk, run

pytestmark = pytest.mark.timeout(300)
"""Everything is set up in the first fixture, on however busy a machine."""

AGENT, CONTROLLER, BROKER = "fleetmend-agent", "fleetmend-controller", "fleetmend-broker"
LIMITS = "fleetmend-broker-limits"
URL: Final = "mqtt://127.0.0.1:1883"
HERE: Final = ("--with-broker", "--broker-listen", "127.0.0.1:1883")
CONTROLLING: Final = ("fleetmend", "setup", "controller", "--yes", *HERE)
PAGE: Final = "docs/how-to/install.md"
FLEET: Final = "docs/how-to/install-a-fleet.md"
AGAIN: Final = {
    "controller": (PAGE, "fleetmend setup controller"),
    "agent": (PAGE, "fleetmend setup agent"),
    "agent of a fleet": (FLEET, "fleetmend setup agent"),
}
NAME: Final = "gpu-017"
SECRET: Final = f"/run/{NAME}.password"
CA: Final = "/etc/fleetmend/ca.pem"
TLS: Final = "mqtts://broker.example:8883"
WATCHED: Final = ("--node", NAME, "--broker", TLS, "--ca-file", CA, "--password-file", SECRET, "--cell", "west")
CONTAINED: Final = {"clock"}
"""What a container is never fine in."""

CERTIFIED: Final = f"""
set -e
echo 127.0.0.1 broker.example >> /etc/hosts
fleetmend pki init --pki /run/pki
mkdir -p /run/broker /etc/fleetmend/broker
fleetmend pki issue broker --pki /run/pki --host broker.example --output /run/broker
install -m 644 /run/broker/certificate.pem /etc/fleetmend/broker/broker.pem
install -m 600 /run/broker/key.pem /etc/fleetmend/broker/broker.key
install -m 644 /run/pki/ca.pem /etc/fleetmend/broker/ca.pem
install -m 644 /run/pki/ca.pem {CA}
"""
"""What a site has before it begins: a name, and files of its own authority."""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Booted]:
    """A host with nothing but the program, as a wheel leaves it, and nftables."""
    with with_program(tmp_path_factory.mktemp("bare"), {str(packages()): "ansible"}) as running:
        running.bring("nft")
        yield running


def refused(machine: Booted, *command: str) -> tuple[int, str]:
    """Return with which code a command ended, and what it said, when it left no settings behind."""
    before = machine.run("sh", "-c", "find /etc/fleetmend /etc/systemd/system -type f | sort", check=False)
    ended = machine.ended(*command)
    assert machine.run("sh", "-c", "find /etc/fleetmend /etc/systemd/system -type f | sort", check=False) == before
    return ended.returncode, ended.stderr


def test_whoever_is_not_root_is_told_so(machine: Booted) -> None:
    nobody = ("setpriv", "--reuid=65534", "--clear-groups")
    code, said = refused(machine, *nobody, "fleetmend", "setup", "controller", "--yes", "--untried", "--broker", URL)
    assert (code, "run this as root" in said) == (ExitCode.NO_OUTPUT, True), said


def test_a_broker_that_is_not_there_is_said_before_anything_is_written(machine: Booted) -> None:
    code, said = refused(machine, "fleetmend", "setup", "agent", "--yes", "--node", "gpu-1", "--broker", URL)
    assert (code, f"no broker answers at {URL[7:]}" in said) == (ExitCode.UNREACHABLE, True), said


def test_another_broker_on_the_port_is_said_before_anything_is_written(machine: Booted) -> None:
    machine.run("systemctl", "start", "mosquitto")
    code, said = refused(machine, *CONTROLLING)
    machine.run("systemctl", "stop", "mosquitto")
    assert (code, "systemctl disable --now mosquitto" in said) == (ExitCode.REFUSED_NOW, True), said


def test_a_folder_that_cannot_be_written_leaves_nothing_behind(machine: Booted) -> None:
    machine.run("mount", "--bind", "-o", "ro", "/etc/systemd/system", "/etc/systemd/system")
    try:
        code, said = refused(machine, *CONTROLLING)
    finally:
        machine.run("umount", "/etc/systemd/system")
    assert (code, "Read-only file system; nothing was changed" in said) == (ExitCode.NO_OUTPUT, True), said
    assert machine.ended("test", "-e", "/etc/fleetmend").returncode == 1


@pytest.fixture(scope="module")
def cell(machine: Booted) -> Booted:
    """Do what the page says."""
    machine.run("bash", "-c", CERTIFIED)
    page, place = Walk(PAGE, __file__), InContainer(machine)
    page.next("fleetmend setup controller", place)
    page.next("fleetmend setup broker-user", place)
    page.next("fleetmend setup agent", place)
    assert page.left == []
    return machine


def test_all_of_it_runs_and_starts_with_the_host(cell: Booted) -> None:
    for unit in (BROKER, CONTROLLER, AGENT):
        assert (cell.show(unit, "ActiveState"), cell.show(unit, "UnitFileState")) == ("active", "enabled")
    assert cell.show("fleetmend-backup.timer", "UnitFileState") == "enabled"
    assert cell.show(LIMITS, "ActiveState") == "active"
    assert "tcp dport != { 1883, 8883 } accept" in cell.run("nft", "list", "table", "inet", "fleetmend_broker")
    cell.until(lambda: [node["name"] for node in cell.answer("nodes")] == [NAME])
    assert cell.run("stat", "-c", "%U %a", "/var/lib/fleetmend/signing-key.pem") == "fleetmend 600\n"


@pytest.mark.parametrize(("page", "begins"), AGAIN.values(), ids=AGAIN)
def test_done_twice_nothing_is_changed_and_nobody_restarted(cell: Booted, page: str, begins: str) -> None:
    (block,) = (each for each in blocks_of(page) if each.text.startswith(begins))
    before = [cell.main_process(unit) for unit in (BROKER, CONTROLLER, AGENT)]
    assert "Changed nothing." in run(block, InContainer(cell)).splitlines()
    assert [cell.main_process(unit) for unit in (BROKER, CONTROLLER, AGENT)] == before


def test_ansible_finds_nothing_to_do_on_a_host_that_was_set_up_by_hand(cell: Booted) -> None:
    """Both run the same command, and it says what it changed."""
    password = cell.run("cat", SECRET).strip()
    variables = {
        "ansible_connection": "local",
        "ansible_become": False,
        "ansible_python_interpreter": f"{OPT}/venv/bin/python3",
        "fleetmend_broker": TLS,
        "fleetmend_ca_file": CA,
        "fleetmend_password": password,
    }
    groups: dict[str, Any] = {
        "fleetmend_controllers": {"hosts": {"c": {}}},
        "fleetmend_nodes": {"hosts": {NAME: {}}},
    }
    cell.write("/run/hosts.json", json.dumps({"all": {"vars": variables, "children": groups}}), mode=0o600)
    environment = (f"PYTHONPATH={OPT}/ansible", "HOME=/run")
    program = (f"{OPT}/venv/bin/python3", "-m", "ansible", "playbook", "-i", "/run/hosts.json", f"--limit={NAME}")
    played = cell.ended("env", *environment, *program, f"{OPT}/checkout/ansible/site.yml")
    assert recap(played.stdout) == {NAME: (0, True)}, played.stdout + played.stderr
    assert password not in played.stdout


def examined(machine: Booted, *arguments: str) -> tuple[int, list[dict[str, str]]]:
    ended = machine.ended("fleetmend", "doctor", "--json", *arguments)
    assert ended.stderr == ""
    told: list[dict[str, str]] = json.loads(ended.stdout)
    return ended.returncode, told


def test_the_doctor_finds_it_fine_and_pushes_nobody_out(cell: Booted) -> None:
    """A client that comes under a user's name takes that user's connection: nobody may be tried who runs."""
    before = cell.said(BROKER).count("Client ")
    code, told = examined(cell)
    assert (code, [each for each in told if each["severity"] != "fine" and each["check"] not in CONTAINED]) == (0, [])
    said = {each["check"]: each["sentence"] for each in told}
    assert said["broker_open"] == "The broker at broker.example:8883 lets no stranger in."
    assert said["kernel_log"] == "The agent may read /dev/kmsg."
    assert len(said) > 20
    doctor = Walk("docs/how-to/doctor.md", __file__)
    doctor.next("fleetmend doctor", InContainer(cell))
    news = cell.said(BROKER).split("Client ")[before + 1 :]
    assert [line for line in news if line.startswith((NAME, "controller")) or "already connected" in line] == []


CONFIGURATION: Final = "/etc/fleetmend/broker/mosquitto.conf"
ADDED: Final = f"/etc/systemd/system/{AGENT}.service.d/planted.conf"
CREDENTIAL: Final = f"/etc/fleetmend/credentials/{AGENT}/broker"
OPEN: Final = (
    "s/^allow_anonymous false/allow_anonymous true/; /^acl_file/d; /^use_username/d; s/^listener 1883 .*/listener 1883/"
)


@dataclass(frozen=True, slots=True)
class Fault:
    """What the doctor has to say of one."""

    check: str
    severity: str
    words: str

    def is_told(self, told: list[dict[str, str]]) -> bool:
        said = [each for each in told if (each["check"], each["severity"]) == (self.check, self.severity)]
        return any(self.words in each["sentence"] and each["remedy"] for each in said)


AWAY: Final = (
    Fault("services", "missing", "fleetmend-agent does not run: it is inactive."),
    Fault("services", "missing", "fleetmend-agent does not start with the host: it is disabled."),
    Fault("services", "missing", "fleetmend-controller does not run: it is inactive."),
    Fault("kernel_log", "missing", "may not read /dev/kmsg"),
    Fault("broker_reached", "missing", "not authorized"),
    Fault("broker_open", "unsafe", "lets in whoever gives no name, who may write what a controller believes"),
    Fault("broker_rules", "unsafe", "names no acl_file"),
    Fault("broker_limits", "missing", "the rules are not loaded"),
    Fault("versions", "advice", "no controller answers"),
)
CUT_OFF: Final = (
    Fault("watchdog", "missing", "Nobody notices when fleetmend-agent hangs"),
    Fault("services", "advice", "The files of fleetmend-agent.service changed since systemd read them."),
    Fault("services", "missing", "fleetmend-broker does not run: it is inactive."),
    Fault("broker_reached", "missing", "fleetmend-agent runs and has no connection to the broker"),
    Fault("broker_open", "unknown", "No broker answers"),
)


def test_the_doctor_tells_of_each_fault_of_a_host_whose_daemons_are_away(cell: Booted) -> None:
    cell.run("systemctl", "stop", AGENT, CONTROLLER)
    cell.run("systemctl", "disable", AGENT)
    cell.write(ADDED, "[Service]\nAmbientCapabilities=\n")
    cell.run("systemctl", "daemon-reload")
    kept = {file: cell.path(file).read_text() for file in (CREDENTIAL, CONFIGURATION)}
    cell.path(CREDENTIAL).write_text("wrong\n")
    cell.run("sed", "-i", OPEN, CONFIGURATION)
    cell.run("systemctl", "restart", BROKER)
    cell.run("nft", "delete", "table", "inet", "fleetmend_broker")
    code, told = examined(cell)
    for file, text in kept.items():
        cell.path(file).write_text(text)
    cell.run("rm", ADDED)
    cell.run("systemctl", "daemon-reload")
    cell.run("systemctl", "restart", LIMITS, BROKER)
    cell.run("systemctl", "enable", "--now", AGENT, CONTROLLER)
    is_open = cell.path("/proc/sys/kernel/dmesg_restrict").read_text().strip() == "0"
    faults = [fault for fault in AWAY if not (is_open and fault.check == "kernel_log")]
    assert (code, [fault for fault in faults if not fault.is_told(told)]) == (2, []), told


def test_the_doctor_tells_of_daemons_that_are_cut_off(cell: Booted) -> None:
    cell.write(ADDED, "[Service]\nWatchdogSec=0\n")
    cell.run("systemctl", "daemon-reload")
    cell.run("systemctl", "restart", AGENT)
    cell.write(ADDED, "[Service]\nNice=1\n")
    cell.run("systemctl", "stop", BROKER)
    code, told = examined(cell)
    cell.run("rm", ADDED)
    cell.run("systemctl", "daemon-reload")
    cell.run("systemctl", "start", BROKER)
    cell.run("systemctl", "restart", AGENT)
    assert (code, [fault for fault in CUT_OFF if not fault.is_told(told)]) == (1, []), told


def test_what_is_other_than_asked_is_shown_and_left(cell: Booted) -> None:
    code, said = refused(cell, "fleetmend", "setup", "agent", "--yes", *WATCHED)
    assert (code, '+cell = "west"' in said) == (ExitCode.NO, True), said


def test_a_service_that_does_not_start_is_told_with_its_last_words(cell: Booted) -> None:
    """Its settings are right, and something else takes the port that it is to listen on."""
    cell.write("/run/more.toml", "[http]\nport = 1883\n")
    ended = cell.ended(*CONTROLLING, "--more", "/run/more.toml", "--force")
    assert ended.returncode == ExitCode.NO
    assert "fleetmend-controller" in ended.stderr
    assert "address already in use" in ended.stderr.lower()
