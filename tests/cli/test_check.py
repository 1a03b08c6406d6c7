"""`fleetmend check` and `fleetmend checks`: one look at a node as monitoring uses it, and the catalogue."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest

from agent.simulation.machine import SimulatedMachine
from checks.registry import CHECKS
from tests.cli.conftest import run_cli


def node(tmp_path: Path, *faults: str) -> str:
    """Return the configuration of a simulated node with these faults."""
    machine = SimulatedMachine.create(tmp_path / "n1", name="n1", seed=1, speedup=360.0)
    for fault in faults:
        asyncio.run(machine.inject_fault(fault, device="", parameters={"repair": "fails"}))
    path = tmp_path / "agent.toml"
    path.write_text(f'node = "n1"\nsimulation_directory = "{machine.directory}"\n[broker]\nurl = "mqtt://nowhere"\n')
    return str(path)


@pytest.mark.parametrize(
    ("faults", "code", "headline"),
    [
        ((), 0, "fleetmend OK: "),
        (("row-remap-pending",), 1, "fleetmend DEGRADED: "),
        (("gpu-off-bus", "row-remap-pending"), 2, "fleetmend FAILED: "),
        (("driver-not-loaded",), 3, "fleetmend UNKNOWN: "),
    ],
)
def test_the_worst_verdict_is_the_exit_code(tmp_path: Path, faults: tuple[str, ...], code: int, headline: str) -> None:
    only = "gpu.count,gpu.row_remap,gpu.xid,gpu.nvml"
    result = run_cli("check", "--config", node(tmp_path, *faults), "--only", only)
    assert (result.returncode, result.stderr) == (code, "")
    assert result.stdout.startswith(headline)
    assert " | checks=4 " in result.stdout.splitlines()[0]


def test_programs_get_every_check_and_finding(tmp_path: Path) -> None:
    result = run_cli("check", "--config", node(tmp_path, "gpu-off-bus"), "--only", "gpu,storage.space", "--json")
    said = json.loads(result.stdout)
    assert (result.returncode, said["verdict"]) == (2, "failed")
    families = {check.partition(".")[0] for check in said["checks"]}
    assert families == {"gpu", "storage"}
    assert said["checks"]["storage.space"] == {"verdict": "ok", "because": ""}
    assert ("gpu.xid", "79") in {(finding["check"], finding["code"]) for finding in said["findings"]}


def test_what_hangs_is_unknown_and_the_command_ends_in_time(tmp_path: Path) -> None:
    config = node(tmp_path, "nvml-hang")
    began = time.monotonic()
    result = run_cli("check", "--config", config, "--only", "gpu.count,host.memory", "--timeout", "4", "--json")
    said = json.loads(result.stdout)["checks"]
    assert (result.returncode, said["gpu.count"]["verdict"], said["host.memory"]["verdict"]) == (3, "unknown", "ok")
    assert time.monotonic() - began < 4.0 + 2.0


def test_this_host_can_be_looked_at() -> None:
    result = run_cli("check", "--only", "host.memory")
    assert result.returncode in (0, 1, 2)


@pytest.mark.parametrize(
    ("arguments", "because"),
    [
        (
            ("--only", "gpu.speed,xpu"),
            "no check is called gpu.speed, xpu; there are amd, fabric, gpu, host,",
        ),
        (("--timeout", "0"), "0 is not in the range"),
        (("--colour",), "No such option"),
        (("--config", "/no/such/file"), "cannot be read"),
    ],
)
def test_what_keeps_it_from_looking_is_unknown_and_never_failed(arguments: tuple[str, ...], because: str) -> None:
    result = run_cli("check", *arguments)
    assert result.returncode == 3
    assert because in result.stdout + result.stderr


def test_the_catalogue_holds_every_check_with_what_answers_it() -> None:
    rows = {row["id"]: row for row in json.loads(run_cli("checks", "--json").stdout)}
    assert list(rows) == [check.id for check in CHECKS]
    keys = {"id", "source", "interval_s", "cost", "verdicts", "action", "playbook", "thresholds"}
    assert all(keys <= set(row) for row in rows.values())
    nvml = rows["gpu.nvml"]
    assert (nvml["source"], nvml["interval_s"]) == ("nvml", 15.0)
    assert (nvml["verdicts"], nvml["action"]) == (["failed", "degraded", "unknown", "ok"], ["reboot"])
    assert nvml["playbook"] == ["gpu_reboot", "gpu_reboot_idle"]


def test_people_get_a_table() -> None:
    result = run_cli("checks")
    assert (result.returncode, result.stderr) == (0, "")
    assert all(check.id in result.stdout for check in CHECKS)
