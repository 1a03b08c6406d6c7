"""One reader of exported logs: what is wrong with one is named by its line in every command that reads it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.exit_codes import ExitCode
from controller.store.cloud_events import cloud_event
from tests.cli.conftest import run_cli
from tests.support.told_log import ToldLog

COMMANDS = {
    "replay": ("replay", "{log}"),
    "compare": ("replay", "{log}", "--compare"),
    "report": ("report", "--log", "{log}"),
}

Spoil = Callable[[list[bytes]], list[bytes]]


def lines() -> list[bytes]:
    log = ToldLog().node("n1")
    log.repaired("n1", 100)
    return [cloud_event(entry, "main") + b"\n" for entry in log.log]


def newer(content: list[bytes]) -> list[bytes]:
    told = json.loads(content[2])
    spoilt = json.dumps({**told, "type": "fleetmend.node.dreamt", "data": {"type": "node.dreamt"}}).encode() + b"\n"
    return [*content[:2], spoilt, *content[3:]]


SPOILT: dict[str, tuple[Spoil, str]] = {
    "duplicate": (lambda all_: [*all_[:3], *all_[2:]], "line 4: id 3 is there twice: drop one of the two lines"),
    "order": (
        lambda all_: [*all_[:2], all_[3], all_[2], *all_[4:]],
        "line 4: id 3 comes after id 4: sort the lines",
    ),
    "version": (newer, "line 3: 'fleetmend.node.dreamt' is no event of this version"),
    "cut": (lambda all_: [*all_[:5], all_[5][:-30]], "line 6: it is cut off, and the last"),
    "torn": (lambda all_: [*all_[:3], b"\x00\xff\n", *all_[3:]], "line 4: it is no entry of an exported log"),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("how", SPOILT)
def test_a_spoilt_log_is_named_by_its_line(tmp_path: Path, command: str, how: str) -> None:
    spoil, said = SPOILT[how]
    file = tmp_path / "log.jsonl"
    file.write_bytes(b"".join(spoil(lines())))
    result = run_cli(*(argument.format(log=file) for argument in COMMANDS[command]))
    assert (result.returncode, result.stdout) == (ExitCode.BAD_DATA, "")
    if how == "order" and command != "report":
        said = "line 3: entry 3 is missing before it, and nothing after a gap can be decided again: sort the"
    assert result.stderr.startswith(f"fleetmend: {file}, {said}")


@pytest.mark.parametrize("command", ["replay", "compare"])
def test_a_gap_is_named_by_its_line_where_it_matters(tmp_path: Path, command: str) -> None:
    content = lines()
    file = tmp_path / "log.jsonl"
    file.write_bytes(b"".join([*content[:4], *content[6:]]))
    result = run_cli(*(argument.format(log=file) for argument in COMMANDS[command]))
    assert (result.returncode, result.stdout) == (ExitCode.BAD_DATA, "")
    assert result.stderr.startswith(f"fleetmend: {file}, line 5: entries 5 to 6 are missing before it")


def test_a_report_counts_anew_after_a_gap_and_says_so(tmp_path: Path) -> None:
    content = lines()
    file = tmp_path / "log.jsonl"
    file.write_bytes(b"".join([*content[:4], *content[6:]]))
    result = run_cli("report", "--log", str(file), "--json")
    assert (result.returncode, result.stderr) == (0, "")
    assert any("Entries up to 6 are not all in the log" in note for note in json.loads(result.stdout)["notes"])
