"""`fleetmend judge`: the agent's judgement over a file or standard input."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from cli.exit_codes import ExitCode
from tests.cli.conftest import run_cli

LOG = """\
[    1.000000] Linux version 6.8.0
[  812.400000] NVRM: Xid (PCI:0000:3b:00): 79, pid=2311, GPU has fallen off the bus.
6,1043,912400000,-;NVRM: Xid (PCI:0000:86:00): 95, pid=17, name=python3, Uncontained ECC error.
[  913.000000] usb 1-1: new high-speed USB device
"""


def test_one_object_a_finding_with_its_line(tmp_path: Path) -> None:
    log = tmp_path / "kern.log"
    log.write_text(LOG)
    result = run_cli("judge", "--kernel-log", str(log))
    assert (result.returncode, result.stderr) == (0, "")
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(one["line"], one["check"], one["code"], one["pci"]) for one in found] == [
        (2, "gpu.xid", "79", "0000:3b:00"),
        (3, "gpu.xid", "95", "0000:86:00"),
    ]
    assert set(found[0]) == {"line", "check", "device", "pci", "code", "verdict", "action", "because"}


def test_standard_input_is_the_same(tmp_path: Path) -> None:
    log = tmp_path / "kern.log"
    log.write_text(LOG)
    assert run_cli("judge", "--kernel-log", "-", stdin=LOG).stdout == run_cli("judge", "--kernel-log", str(log)).stdout


def test_lines_that_mean_nothing_give_nothing(tmp_path: Path) -> None:
    log = tmp_path / "noise"
    log.write_bytes(b"\xff\xfe\x00\n\n" + b"x" * 3_000_000 + b"\n[1.0] hello\n")
    result = run_cli("judge", "--kernel-log", str(log))
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "nothing found\n")


def test_an_overlong_line_counts_as_one(tmp_path: Path) -> None:
    log = tmp_path / "long"
    log.write_bytes(b"x" * 2_500_000 + b"\n" + LOG.splitlines()[1].encode() + b"\n")
    assert json.loads(run_cli("judge", "--kernel-log", str(log)).stdout)["line"] == 2


def test_what_any_process_can_write_is_believed_only_when_asked(tmp_path: Path) -> None:
    log = tmp_path / "kmsg"
    log.write_text("12,1043,912400000,-;NVRM: Xid (PCI:0000:86:00): 79, pid=17, GPU has fallen off the bus.\n")
    assert run_cli("judge", "--kernel-log", str(log)).stdout == ""
    assert '"code":"79"' in run_cli("judge", "--kernel-log", str(log), "--accept-userspace").stdout


@pytest.mark.parametrize("name", ["nothing-here", "."])
def test_an_unreadable_file_is_66_and_named(tmp_path: Path, name: str) -> None:
    result = run_cli("judge", "--kernel-log", str(tmp_path / name))
    assert (result.returncode, result.stdout) == (ExitCode.NO_INPUT, "")
    assert result.stderr.startswith(f"fleetmend: {tmp_path / name} cannot be read: ") and result.stderr.count("\n") == 1


def test_a_compressed_log_that_is_damaged_is_65_and_named(tmp_path: Path) -> None:
    log = tmp_path / "kern.log.gz"
    log.write_bytes(gzip.compress(LOG.encode())[:-20])
    result = run_cli("judge", "--kernel-log", str(log))
    assert result.returncode == ExitCode.BAD_DATA
    assert "kern.log.gz is compressed and damaged: Compressed file ended before" in result.stderr
