"""`fleetmend agent record` and `fleetmend judge FILE`: as users run them, on this host and on a simulated one."""

from __future__ import annotations

import asyncio
import gzip
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agent.simulation.machine import SimulatedMachine
from cli.exit_codes import ExitCode
from tests.cli.conftest import environment, run_cli
from tests.support.eventually import eventually

HEADER = b'{"fleetmend_recording": 1, "origin": "a test"}\n'
READING = b'{"source": "agent", "reading": {"at_s": 1.0}}\n'
BOTH = len(HEADER + READING)
KEYS = {"line", "check", "device", "pci", "code", "verdict", "action", "because"}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The configuration of a simulated node whose GPU 2 fell off the bus."""
    machine = SimulatedMachine.create(tmp_path / "n1", name="n1", seed=1, speedup=360.0)
    asyncio.run(machine.inject_fault("gpu-off-bus", device="2", parameters={}))
    path = tmp_path / "agent.toml"
    path.write_text(f'node = "n1"\nsimulation_directory = "{machine.directory}"\n[broker]\nurl = "mqtt://nowhere"\n')
    return path


def test_a_faulty_node_is_recorded_and_judged_elsewhere(config: Path, tmp_path: Path) -> None:
    recording = str(tmp_path / "r.jsonl.gz")
    recorded = run_cli("agent", "record", "-o", recording, "--seconds", "4", "--config", str(config))
    assert (recorded.returncode, recorded.stdout) == (0, "")
    assert recorded.stderr.endswith(" entries recorded\n")
    config.unlink()
    judged = run_cli("judge", recording)
    assert (judged.returncode, judged.stderr) == (0, "")
    edges = [json.loads(line) for line in judged.stdout.splitlines()]
    assert all(set(edge) == KEYS for edge in edges)
    assert ("gpu.xid", "79", "failed", "reboot") in {(e["check"], e["code"], e["verdict"], e["action"]) for e in edges}


def test_this_host_is_recorded_to_standard_output(tmp_path: Path) -> None:
    recorded = run_cli("agent", "record", "-o", "-", "--seconds", "1", "--only", "host,agent")
    assert recorded.returncode == 0
    lines = [json.loads(line) for line in recorded.stdout.splitlines()]
    assert lines[0]["boot_id"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert {line["source"] for line in lines[1:]} == {"host", "agent"}
    path = tmp_path / "r.jsonl"
    path.write_text(recorded.stdout)
    assert run_cli("judge", "-", stdin=recorded.stdout).stdout == run_cli("judge", str(path)).stdout


def test_ctrl_c_leaves_a_whole_recording(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl.gz"
    command = [sys.executable, "-m", "cli.main", "agent", "record", "-o", str(path), "--only", "host"]
    process = subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE)
    recorded = eventually("something is recorded", lambda: path.exists() and path.stat().st_size > 200, limit_s=20.0)
    asyncio.run(recorded)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert (process.returncode, said.endswith(b"recorded\n")) == (0, True)
    assert run_cli("judge", str(path)).returncode == 0


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (b"", "r.jsonl:1: Input data was truncated (the line begins at byte 0)"),
        (b"hello\n", "r.jsonl:1: JSON is malformed"),
        (HEADER + READING + b"{\n", f"r.jsonl:3: Input data was truncated (the line begins at byte {BOTH})"),
        (HEADER + b'{"source": "hots"}\n', "r.jsonl:2: source 'hots' is not known; there are nvml, "),
    ],
)
def test_what_is_no_recording_is_named_with_line_and_byte(tmp_path: Path, text: bytes, because: str) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(text)
    result = run_cli("judge", str(path))
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (ExitCode.BAD_DATA, "", 1)
    assert f"fleetmend: no recording: {tmp_path}/{because}" in result.stderr


@pytest.mark.parametrize("damage", ["cut", "noise"])
def test_a_damaged_file_is_no_recording(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "r.jsonl.gz"
    whole = gzip.compress(HEADER + READING * 9)
    path.write_bytes(whole[:-12] if damage == "cut" else b"noise")
    result = run_cli("judge", str(path))
    assert (result.returncode, result.stderr.count("\n")) == (ExitCode.BAD_DATA, 1)
    assert str(path) in result.stderr


def test_a_file_that_cannot_be_read_is_66(tmp_path: Path) -> None:
    result = run_cli("judge", str(tmp_path / "missing"))
    assert (result.returncode, result.stderr.count("\n")) == (ExitCode.NO_INPUT, 1)


def test_a_file_that_cannot_be_written_is_74(tmp_path: Path) -> None:
    result = run_cli("agent", "record", "-o", str(tmp_path / "missing" / "r.jsonl"), "--seconds", "1")
    assert (result.returncode, result.stderr.count("\n")) == (ExitCode.NO_OUTPUT, 1)


@pytest.mark.parametrize(
    ("arguments", "because"),
    [
        (("judge",), "give either a recording or --kernel-log FILE"),
        (("judge", "a", "--kernel-log", "b"), "give either a recording or --kernel-log FILE"),
        (("agent", "record", "-o", "-", "--only", "hots,rdma,x"), "no source is called hots, x; there are nvml, "),
    ],
)
def test_a_wrong_command_line_is_said(arguments: tuple[str, ...], because: str) -> None:
    result = run_cli(*arguments)
    assert (result.returncode, result.stdout) == (ExitCode.USAGE, "")
    assert because in result.stderr


def test_a_wrong_configuration_is_said_whole(tmp_path: Path) -> None:
    config = tmp_path / "agent.toml"
    config.write_text('colour = 1\n[kernel_log]\nstate_interval_s = 0\n[broker]\nurl = "mqtt://nowhere"\n')
    result = run_cli("agent", "record", "-o", "-", "--seconds", "1", "--config", str(config))
    assert (result.returncode, result.stderr.count(str(config))) == (ExitCode.CONFIG, 2)
