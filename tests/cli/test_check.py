"""`fleetmend check` and `fleetmend checks`: one look at a node as monitoring uses it, and the catalogue."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agent.onlooker import Look
from agent.simulation.machine import SimulatedMachine
from checks.finding import Verdict
from checks.registry import CHECKS
from cli.commands.check import headline, reasons, worst
from tests.cli.conftest import run_cli
from wire.messages import CheckLevel


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


def test_a_reading_that_was_wanted_again_keeps_nobody_beyond_the_limit(tmp_path: Path) -> None:
    """The first reading misses its deadline of 10 s, and the limit passes in the middle of the second."""
    config = node(tmp_path, "nvml-hang")
    began = time.monotonic()
    result = run_cli("check", "--config", config, "--only", "gpu.count", "--timeout", "13")
    assert time.monotonic() - began < 13.0 + 5.0
    assert (result.returncode, result.stdout.startswith("fleetmend UNKNOWN: gpu.count: NVML could not be asked")) == (
        3,
        True,
    )


def test_a_source_that_did_not_answer_is_named_once_for_all_its_checks(tmp_path: Path) -> None:
    result = run_cli("check", "--config", node(tmp_path, "nvml-hang"), "--only", "gpu", "--timeout", "4")
    first, *table = result.stdout.splitlines()
    assert first.startswith("fleetmend UNKNOWN: ")
    assert first.count("the source nvml gave no answer within 2 s") == 1
    assert table == []


def test_the_headline_names_two_reasons_and_the_table_all(tmp_path: Path) -> None:
    seen = Look(
        {
            "gpu.count": CheckLevel("failed", 1.0, "a GPU is lost"),
            "gpu.row_remap": CheckLevel("degraded", 1.0, "a row waits"),
            "fabric.nvlink": CheckLevel("failed", 1.0, "a link is down"),
            "storage.read_only": CheckLevel("failed", 1.0, "/ is read-only"),
        },
        (),
    )
    said = "fleetmend FAILED: gpu.count: a GPU is lost; fabric.nvlink: a link is down; and 1 more"
    assert headline(seen, worst(seen)) == f"{said} | checks=4 failed=3 degraded=1 unknown=0 ok=0"
    assert reasons(seen, Verdict.FAILED)[2] == "storage.read_only: / is read-only"
    result = run_cli("check", "--config", node(tmp_path, "gpu-off-bus", "row-remap-pending"), "--only", "gpu")
    rows = [line.split()[1:3] for line in result.stdout.splitlines()[4:] if line.strip()]
    assert ["failed", "gpu.count"] in rows
    assert ["degraded", "gpu.row_remap"] in rows


def on_a_terminal(config: str) -> str:
    """Return the first line that a person sees."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "cli.main", "check", "--config", config, "--only", "gpu.count,gpu.row_remap"]
    subprocess.run(command, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, check=False, timeout=60)
    os.close(theirs)
    said = os.read(ours, 4096).decode()
    os.close(ours)
    return said.splitlines()[0]


@pytest.mark.parametrize(
    ("faults", "line"),
    [
        ((), "fleetmend OK: 2 checks found nothing"),
        (
            ("row-remap-pending",),
            "fleetmend DEGRADED: gpu.row_remap: a row of memory is marked for remapping (0 uncorrectable, 0 "
            "correctable so far): a GPU reset activates it",
        ),
        (("gpu-off-bus", "row-remap-pending"), "fleetmend FAILED: 2 checks, 1 failed, 1 degraded"),
    ],
)
def test_a_terminal_is_spared_the_numbers_for_monitoring(tmp_path: Path, faults: tuple[str, ...], line: str) -> None:
    assert on_a_terminal(node(tmp_path, *faults)) == line


def test_a_program_of_slurm_asks_slurm_nothing_while_all_is_well(tmp_path: Path) -> None:
    arguments = ("check", "--config", node(tmp_path), "--only", "gpu.count", "--slurm", "prolog")
    result = run_cli(*arguments, PATH="/no/such/folder")
    assert (result.returncode, result.stdout.splitlines()[1:]) == (0, [])


def test_a_program_of_slurm_that_cannot_ask_slurm_refuses_nothing(tmp_path: Path) -> None:
    arguments = ("check", "--config", node(tmp_path, "gpu-off-bus"), "--only", "gpu.count", "--slurm", "prolog")
    result = run_cli(*arguments, PATH="/no/such/folder", SLURMD_NODENAME="gpu-017")
    assert result.returncode == 0
    assert result.stdout.splitlines()[0].startswith("fleetmend FAILED: gpu.count: ")
    (said,) = result.stdout.splitlines()[1:]
    assert said.startswith("gpu-017 is left in service: scontrol cannot be run")


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
        (("--slurm", "prologue"), "'prologue' is not one of 'health-check', 'prolog', 'epilog'"),
        (("--slurm", "prolog", "--json"), "--slurm and --json exclude each other"),
        (("--slurm", "prolog", "--at-most", "101"), "101.0 is not in the range"),
        (("--config", "/no/such/file"), "cannot be read"),
    ],
)
def test_what_keeps_it_from_looking_is_unknown_and_never_failed(arguments: tuple[str, ...], because: str) -> None:
    result = run_cli("check", *arguments)
    assert (result.returncode, result.stderr) == (3, "")
    assert result.stdout.startswith("fleetmend UNKNOWN: ")
    assert because in result.stdout


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
