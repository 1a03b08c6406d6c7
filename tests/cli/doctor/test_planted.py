"""The doctor on the image of a host: well as `setup` left it, and with each fault planted."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from cli.client import Client
from cli.doctor import certificates, gpu_driver, store, tools
from cli.doctor.diagnosis import Role
from cli.doctor.patient import Patient, patient_at
from cli.place import Place
from tests.cli.conftest import run_cli
from tests.support.certificates import write_certificate
from tests.support.postgres import Postgres, running_postgres

QUIET: Final = ("--yes", "--no-enable", "--root")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Set a host up once, as agent and as controller with a broker of its own."""
    root = tmp_path_factory.mktemp("host")
    (root / "etc").mkdir()
    secret = root.parent / "secret"
    secret.write_text("secret\n")
    here = ("--with-broker", "--broker-listen", "127.0.0.1:1883")
    controller = run_cli("setup", "controller", *QUIET, str(root), *here)
    assert controller.returncode == 0, controller.stderr
    named = ("--node", "n1", "--broker", "mqtt://127.0.0.1:1883", "--password-file", str(secret))
    key = ("--trusted-key", f"{'A' * 16} {'A' * 43}=")
    agent = run_cli("setup", "agent", *QUIET, str(root), *named, *key)
    assert agent.returncode == 0, agent.stderr
    return root


def examined(root: Path, *arguments: str) -> tuple[int, list[dict[str, str]]]:
    """Return the exit code and what was said."""
    result = run_cli("doctor", "--json", "--root", str(root), *arguments)
    assert result.stderr == ""
    told: list[dict[str, str]] = json.loads(result.stdout)
    return result.returncode, told


def test_a_host_that_was_set_up_is_fine(made: Path) -> None:
    code, told = examined(made)
    assert (code, [each for each in told if each["severity"] != "fine"]) == (0, [])
    assert {each["check"] for each in told} >= {"settings", "secret_files", "signing_key", "broker_rules", "plain_text"}


def test_a_person_reads_the_worst_first_and_what_to_do(made: Path) -> None:
    shown = run_cli("doctor", "--root", str(made))
    assert (shown.returncode, shown.stdout.count("\n")) == (0, 1)
    assert shown.stdout.startswith("✓ ")
    assert "✓ fine    " in run_cli("doctor", "--all", "--root", str(made)).stdout
    key = made / "var/lib/fleetmend/signing-key.pem"
    key.chmod(0o644)
    try:
        first, second, *_ = run_cli("doctor", "--root", str(made)).stdout.splitlines()
    finally:
        key.chmod(0o600)
    assert (
        first
        == f"✖ unsafe  {key} (a secret of the controller) can be read by others: its mode is 0644.  [secret_files]"
    )
    assert second == f"          → chmod 600 {key}"


def test_a_host_that_is_none_is_told_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    code, (told,) = examined(tmp_path)
    assert (code, told["sentence"]) == (1, "fleetmend is not set up on this host.")


@pytest.mark.parametrize("folder", ["usr/lib/systemd/system", "etc/systemd/system"])
def test_units_alone_make_no_agent_and_no_controller(folder: str, tmp_path: Path) -> None:
    """A package and the way by the wheel bring all of them to every host."""
    (tmp_path / folder).mkdir(parents=True)
    for name in ("fleetmend-agent.service", "fleetmend-controller.service"):
        (tmp_path / folder / name).write_text("[Service]\n")
    code, (told,) = examined(tmp_path)
    assert (code, told["sentence"]) == (1, "fleetmend is not set up on this host.")


def test_a_daemon_that_starts_with_the_host_and_has_lost_its_settings_is_told_of(tmp_path: Path) -> None:
    wanted = tmp_path / "etc/systemd/system/multi-user.target.wants"
    wanted.mkdir(parents=True)
    (wanted / "fleetmend-agent.service").symlink_to("/usr/lib/systemd/system/fleetmend-agent.service")
    _, told = examined(tmp_path)
    assert "There is no" in next(each["sentence"] for each in told if each["check"] == "settings")


Plant = Callable[[Path], Any]


def rewrite(file: str, old: str, new: str) -> Plant:
    """Return what writes something else into a file."""

    def plant(root: Path) -> None:
        path = root / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return plant


AGENT, CONTROLLER = "etc/fleetmend/agent.toml", "etc/fleetmend/controller.toml"
CREDENTIAL: Final = "etc/fleetmend/credentials/fleetmend-agent/broker"
MOSQUITTO: Final = "etc/fleetmend/broker/mosquitto.conf"
DROP_INS: Final = "etc/systemd/system/fleetmend-agent.service.d"
FAULTS: Final[dict[str, tuple[Plant, str, str, str]]] = {
    "a wrong key": (rewrite(AGENT, "node =", "nodes ="), "settings", "missing", "nodes: no such key here"),
    "no TOML": (rewrite(CONTROLLER, "[broker]", "[broker"), "settings", "missing", "not TOML"),
    "an open credential": (lambda root: (root / CREDENTIAL).chmod(0o644), "secret_files", "unsafe", "its mode is 0644"),
    "a lost credential": (lambda root: (root / CREDENTIAL).unlink(), "secret_files", "missing", "is not there"),
    "settings for all": (
        lambda root: (root / AGENT).chmod(0o666),
        "secret_files",
        "unsafe",
        "can be changed by others",
    ),
    "users for all": (
        lambda root: (root / "etc/fleetmend/broker/passwords").chmod(0o644),
        "secret_files",
        "unsafe",
        "of the broker",
    ),
    "a stranger's settings": (lambda root: os.chown(root / AGENT, 12345, -1), "owners", "unsafe", "belongs to 12345"),
    "no signing key": (
        lambda root: (root / "var/lib/fleetmend/signing-key.pem").unlink(),
        "signing_key",
        "missing",
        "is not there",
    ),
    "no trusted key": (
        rewrite(AGENT, "[trusted_keys.", "[checks.x]\n[places]\n#"),
        "trusted_keys",
        "advice",
        "no controller",
    ),
    "no drop-in": (lambda root: (root / DROP_INS / "credentials.conf").unlink(), "drop_ins", "missing", "handed none"),
    "rights of root": (
        lambda root: (root / DROP_INS / "repairs.conf").touch(),
        "drop_ins",
        "unsafe",
        "it runs as root",
    ),
    "orders without rights": (
        rewrite(AGENT, "[broker]", 'orders_allowed = ["reboot"]\n[broker]'),
        "drop_ins",
        "missing",
        "order reboot",
    ),
    "a plain way": (rewrite(AGENT, "127.0.0.1", "broker.example"), "plain_text", "unsafe", "broker.example:1883"),
    "a plain listener": (rewrite(MOSQUITTO, "1883 127.0.0.1", "1883"), "plain_text", "unsafe", "(listener 1883)"),
    "an open broker": (
        rewrite(MOSQUITTO, "allow_anonymous false", "allow_anonymous true"),
        "broker_rules",
        "unsafe",
        "gives no name",
    ),
    "open metrics": (
        rewrite(AGENT, "[broker]", '[metrics]\nport = 9400\nhost = "0.0.0.0"\n[broker]'),
        "listeners",
        "advice",
        "9400",
    ),
    "an open page": (
        rewrite(CONTROLLER, 'host = "127.0.0.1"', 'host = "0.0.0.0"'),
        "listeners",
        "unsafe",
        "0.0.0.0:8642",
    ),
    "no playbooks": (
        rewrite(CONTROLLER, "state =", 'playbooks = "/etc/none"\nstate ='),
        "playbooks",
        "missing",
        "no such folder",
    ),
    "debug": (
        rewrite(CONTROLLER, "state =", 'log_level = "debug"\nstate ='),
        "log_level",
        "advice",
        "fills the journal",
    ),
    "a lost certificate": (
        rewrite(CONTROLLER, "[broker]", '[broker]\nca_file = "/etc/none.pem"'),
        "certificates",
        "missing",
        "No such file",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_told(fault: str, made: Path, tmp_path: Path) -> None:
    plant, check, severity, words = FAULTS[fault]
    if fault == "a stranger's settings" and os.geteuid() != 0:
        pytest.skip("only root gives files away")
    root = copied(made, tmp_path / "host")
    plant(root)
    code, told = examined(root)
    said = [each for each in told if (each["check"], each["severity"]) == (check, severity)]
    assert [each for each in said if words in each["sentence"] and each["remedy"]], told
    assert code == {"unsafe": 2, "missing": 1, "advice": 0}[severity] or severity == "advice"


def copied(root: Path, to: Path) -> Path:
    """Return a copy with the same owners, as `cp -a` makes it."""
    for path in [root, *sorted(root.rglob("*"))]:
        copy = to / path.relative_to(root)
        status = path.lstat()
        if path.is_symlink():
            continue
        if path.is_dir():
            copy.mkdir(parents=True)
        else:
            copy.write_bytes(path.read_bytes())
        os.chown(copy, status.st_uid, status.st_gid)
        copy.chmod(status.st_mode & 0o7777)
    return to


def patient(root: Path) -> Patient:
    return patient_at(Place(root), None, Client())


def test_site_playbooks_are_linted(made: Path, tmp_path: Path) -> None:
    root = copied(made, tmp_path / "host")
    (root / "etc/books").mkdir()
    (root / "etc/books/own.yaml").write_text("name: own\n")
    rewrite(CONTROLLER, "state =", 'playbooks = "/etc/books"\nstate =')(root)
    code, told = examined(root, "controller")
    assert (code, [each["check"] for each in told if each["severity"] == "missing"].count("playbooks") > 0) == (1, True)


def test_a_certificate_says_how_long_it_is_good(made: Path, tmp_path: Path) -> None:
    root = copied(made, tmp_path / "host")
    write_certificate(root / "etc", "broker")
    rewrite(AGENT, "[broker]", '[broker]\nca_file = "/etc/broker.pem"')(root)
    (found,) = certificates.read(patient(root))
    assert found.left is not None
    assert timedelta(hours=23) < found.left <= timedelta(days=1)


def test_gpus_are_counted_on_the_bus_and_their_driver_found(made: Path, tmp_path: Path) -> None:
    root = copied(made, tmp_path / "host")
    for number, (vendor, kind) in enumerate([("0x10de", "0x030200"), ("0x10de", "0x068000"), ("0x8086", "0x030000")]):
        device = root / f"sys/bus/pci/devices/0000:0{number}:00.0"
        device.mkdir(parents=True)
        (device / "vendor").write_text(f"{vendor}\n")
        (device / "class").write_text(f"{kind}\n")
    assert gpu_driver.read(patient(root)) == gpu_driver.Driver(1, "", "")
    (root / "sys/module/nvidia").mkdir(parents=True)
    (root / "sys/module/nvidia/version").write_text("580.95.05\n")
    (root / "usr/lib/x86_64-linux-gnu").mkdir(parents=True)
    (root / "usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1").touch()
    assert gpu_driver.read(patient(root)) == gpu_driver.Driver(1, "580.95.05", "libnvidia-ml.so.1")


def test_a_tool_is_missed_where_there_is_something_to_ask_it(made: Path, tmp_path: Path) -> None:
    root = copied(made, tmp_path / "host")
    assert tools.read(patient(root)) == []
    (root / "sys/class/nvme/nvme0").mkdir(parents=True)
    (found,) = tools.read(patient(root))
    assert (found.programs, found.blind, found.is_here) == (("nvme", "smartctl"), ("storage.smart",), False)
    (root / "usr/sbin").mkdir(parents=True, exist_ok=True)
    (root / "usr/sbin/smartctl").touch(mode=0o755)
    (found,) = tools.read(patient(root))
    assert found.is_here


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    with running_postgres() as running:
        yield running


def test_a_database_is_asked(made: Path, tmp_path: Path, postgres: Postgres) -> None:
    root = copied(made, tmp_path / "host")
    (root / "etc/database").write_text("wrong\n")
    server = postgres.new_database()
    rewrite(CONTROLLER, "[broker]", f'[store]\nurl = "{server.url}"\npassword_file = "/etc/database"\n[broker]')(root)
    refused = store.read(patient(root))
    assert "password authentication failed" in refused.failure
    (root / "etc/database").write_text(server.password)
    assert store.read(patient(root)) == store.Store(server.name, is_near=True, speaks_tls=False)


def test_one_role_alone_is_looked_at(made: Path) -> None:
    _, told = examined(made, Role.AGENT.value)
    assert "signing_key" not in {each["check"] for each in told}
    assert "trusted_keys" in {each["check"] for each in told}
