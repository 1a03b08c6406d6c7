"""`fleetmend inventory`, run as users run it, on a simulated node: capture, diff, approve, and everything wrong."""

from __future__ import annotations

import asyncio
import json
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.simulation.machine import SimulatedMachine
from tests.cli.conftest import Result, run_cli, run_limited


@dataclass(frozen=True)
class Host:
    """A simulated node with its agent's configuration."""

    folder: Path
    machine: SimulatedMachine

    @property
    def approved(self) -> Path:
        """Where its approved manifest is."""
        return self.folder / "state/inventory.toml"

    def run(self, *arguments: str, stdin: str = "") -> Result:
        """Run a command on it."""
        return run_cli(*arguments, "--config", str(self.folder / "agent.toml"), stdin=stdin)

    def inject(self, fault: str) -> None:
        """Break something of it."""
        asyncio.run(self.machine.inject_fault(fault, device="", parameters={"repair": "fails"}))

    def edit(self, old: str, new: str) -> None:
        """Change the approved manifest, as a person may."""
        text = self.approved.read_text()
        assert old in text
        self.approved.write_text(text.replace(old, new, 1))


@pytest.fixture
def host(tmp_path: Path) -> Host:
    machine = SimulatedMachine.create(tmp_path / "n1", name="n1", seed=1, speedup=360.0)
    settings = f'node = "n1"\nstate_directory = "{tmp_path}/state"\nsimulation_directory = "{machine.directory}"\n'
    (tmp_path / "agent.toml").write_text(f'{settings}[broker]\nurl = "mqtt://nowhere"\n')
    return Host(tmp_path, machine)


@pytest.fixture
def approved(host: Host) -> Host:
    assert host.run("inventory", "approve", "--yes").returncode == 0
    return host


def test_a_host_is_captured_as_toml_that_puts_nothing_in_force(host: Host) -> None:
    result = host.run("inventory", "capture")
    said = tomllib.loads(result.stdout)
    assert (result.returncode, result.stderr) == (0, "")
    assert (said["schema"], said["node"], said["host"]["processors"]) == (1, "n1", 192)
    assert [len(said[part]) for part in ("gpus", "ports", "disks", "mounts")] == [8, 8, 2, 2]
    assert all(gpu["serial"] and gpu["uuid"] and gpu["vbios"] for gpu in said["gpus"])
    assert all(port["guid"] and port["rate_gbit_per_s"] == 400.0 for port in said["ports"])
    assert not host.approved.exists()


def test_a_capture_goes_into_a_file_that_can_be_approved(host: Host) -> None:
    file = host.folder / "host.toml"
    assert host.run("inventory", "capture", "-o", str(file)).returncode == 0
    assert host.run("inventory", "approve", str(file), "--yes").returncode == 0
    assert host.approved.read_bytes() == file.read_bytes()
    assert host.approved.stat().st_mode & 0o777 == 0o644


def test_what_could_not_be_read_is_said_in_the_file_and_on_standard_error(host: Host) -> None:
    host.inject("driver-not-loaded")
    result = host.run("inventory", "capture")
    said = tomllib.loads(result.stdout)
    assert result.returncode == 3
    assert set(said["unread"]) == {"gpus", "driver"}
    assert "not read: gpus: NVML does not answer: driver_not_loaded" in result.stderr
    assert "gpus" not in said


def test_a_host_as_it_was_approved_has_no_difference(approved: Host) -> None:
    result = approved.run("inventory", "diff")
    assert (result.returncode, result.stdout, result.stderr) == (0, "no difference\n", "")


def test_differences_are_a_table_for_people_and_json_for_programs(approved: Host) -> None:
    gone = tomllib.loads(approved.approved.read_text())["disks"][0]
    approved.edit(f'serial = "{gone["serial"]}"', 'serial = "OLD"')
    result = approved.run("inventory", "diff")
    assert result.returncode == 1
    assert [word in result.stdout for word in ("nvme0", "replaced", "OLD", gone["serial"])] == [True] * 4
    (said,) = json.loads(approved.run("inventory", "diff", "--json").stdout)
    told = {name: said[name] for name in ("section", "kind", "place", "approved", "found", "pci", "serial")}
    assert told == {
        "section": "disks",
        "kind": "replaced",
        "place": "nvme0",
        "approved": "OLD",
        "found": gone["serial"],
        "pci": gone["pci"],
        "serial": gone["serial"],
    }


def test_a_lost_gpu_is_a_difference(approved: Host) -> None:
    approved.inject("gpu-off-bus")
    (said,) = json.loads(approved.run("inventory", "diff", "--json").stdout)
    assert (said["section"], said["kind"]) == ("gpus", "missing")
    assert said["serial"]


def test_what_cannot_be_looked_at_is_no_difference(approved: Host) -> None:
    approved.inject("driver-not-loaded")
    result = approved.run("inventory", "diff")
    assert result.returncode == 3
    assert "unread" in result.stdout


def test_a_host_is_compared_with_any_other_list(approved: Host) -> None:
    other = approved.folder / "other.toml"
    other.write_text(
        'schema = 1\nunread = { gpus = "", ports = "", disks = "", mounts = "" }\n[host]\nprocessors = 96\n'
    )
    result = approved.run("inventory", "diff", "--against", str(other), "--json")
    assert result.returncode == 1
    assert ("processors", "changed", "96", "192") in {
        (each["section"], each["kind"], each["approved"], each["found"]) for each in json.loads(result.stdout)
    }


def test_a_person_is_asked_and_shown_what_changes(approved: Host) -> None:
    approved.edit("processors = 192", "processors = 96")
    before = approved.approved.read_bytes()
    refused = approved.run("inventory", "approve", stdin="n\n")
    assert (refused.returncode, approved.approved.read_bytes()) == (1, before)
    assert [word in refused.stdout for word in ("processors", "96", "192", "Approve this for n1?")] == [True] * 4
    agreed = approved.run("inventory", "approve", stdin="y\n")
    assert agreed.returncode == 0
    assert "8 GPUs, 8 RDMA ports, 2 disks, 2 file systems" in agreed.stdout
    assert approved.run("inventory", "diff").returncode == 0


def test_nobody_answers_and_nothing_is_approved(host: Host) -> None:
    result = host.run("inventory", "approve", stdin="")
    assert (result.returncode, result.stderr) == (1, "not approved\n")
    assert not host.approved.exists()


def test_a_damaged_list_keeps_nobody_from_approving_a_better_one(approved: Host) -> None:
    approved.approved.write_text("schema = one")
    result = approved.run("inventory", "approve", stdin="y\n")
    assert result.returncode == 0
    assert "not TOML" in result.stdout
    assert approved.run("inventory", "diff").returncode == 0


def test_a_check_holds_the_host_to_what_was_approved(approved: Host) -> None:
    only = ("--only", "host.inventory,gpu.count,fabric.rdma_port,storage.nvme,storage.mounts")
    assert approved.run("check", *only).returncode == 0
    port = 'name = "mlx5_9/1"\nguid = "a088:9"\nrate_gbit_per_s = 400.0\n'
    approved.edit("[[ports]]", f"[[ports]]\n{port}\n[[ports]]")
    approved.edit("processors = 192", "processors = 256")
    said = json.loads(approved.run("check", *only, "--json").stdout)
    findings = {(each["check"], each["device"], each["code"]) for each in said["findings"]}
    assert findings == {("fabric.rdma_port", "mlx5_9/1", "missing"), ("host.inventory", "host", "processors")}


def test_a_list_that_cannot_be_used_is_unknown_and_named(approved: Host) -> None:
    approved.approved.write_text("schema = 1\nnode = 4\n")
    result = approved.run("check", "--only", "host.inventory")
    assert result.returncode == 3
    assert f"{approved.approved}: node: Expected `str`, got `int`" in result.stdout


def test_the_file_is_where_the_settings_say(host: Host) -> None:
    settings = host.folder / "agent.toml"
    settings.write_text(f'inventory_file = "{host.folder}/elsewhere/host.toml"\n{settings.read_text()}')
    assert host.run("inventory", "approve", "--yes").returncode == 0
    assert (host.folder / "elsewhere/host.toml").exists()
    assert host.run("inventory", "diff").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "code", "because"),
    [
        (("diff",), 66, "nothing is approved for this host: there is no "),
        (("diff", "--against", "/no/such/file"), 66, "/no/such/file cannot be read: No such file or directory"),
        (("approve", "/etc/passwd"), 65, "no inventory: /etc/passwd: not TOML: "),
        (("capture", "-o", "/no/such/folder/x"), 74, "/no/such/folder/x cannot be written: No such file or directory"),
        (("capture", "--timeout", "0"), 2, "0 is not in the range"),
        (("swap",), 2, "No such command 'swap'"),
    ],
)
def test_what_is_wrong_is_said_with_a_code_of_its_own(
    host: Host, arguments: tuple[str, ...], code: int, because: str
) -> None:
    result = host.run("inventory", *arguments)
    assert result.returncode == code
    assert because in result.stderr


def test_a_list_that_cannot_be_put_in_force_is_said(host: Host) -> None:
    (host.folder / "state").write_text("a file where the folder should be")
    result = host.run("inventory", "approve", "--yes")
    assert result.returncode == 74
    assert "cannot be written" in result.stderr


def test_this_host_can_be_captured() -> None:
    result = run_cli("inventory", "capture")
    assert result.returncode in (0, 3)
    assert tomllib.loads(result.stdout)["host"]["processors"] > 0


def test_no_file_is_waited_for(host: Host, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    result = host.run("inventory", "approve", "--yes", str(tmp_path / "pipe"))
    assert (result.returncode, "it is a named pipe, and a file is wanted" in result.stderr) == (66, True)


def test_a_capture_that_cannot_be_written_leaves_what_was_there(host: Host, tmp_path: Path) -> None:
    output = tmp_path / "host.toml"
    assert host.run("inventory", "capture", "-o", str(output)).returncode == 0
    before = output.read_bytes()
    config = str(host.folder / "agent.toml")
    result = run_limited("inventory", "capture", "-o", str(output), "--config", config, file_limit_bytes=64)
    assert (result.returncode, "host.toml cannot be written: File too large" in result.stderr) == (74, True)
    assert output.read_bytes() == before
    assert list(tmp_path.glob("*.new")) == []
    assert host.run("inventory", "capture", "-o", "/dev/full").returncode == 74


def test_what_was_captured_on_another_host_is_not_approved(host: Host, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.toml"
    foreign.write_text('schema = 1\nnode = "n2"\n')
    result = host.run("inventory", "approve", "--yes", str(foreign))
    assert (result.returncode, "node: captured on n2, and this is n1: capture here" in result.stderr) == (65, True)
    assert not host.approved.exists()
    foreign.write_text("schema = 1\n")
    assert host.run("inventory", "approve", "--yes", str(foreign)).returncode == 0
