"""`fleetmend replay`: an exported log, or the store itself, decided again."""

from __future__ import annotations

import asyncio
import gzip
import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from cli.exit_codes import ExitCode
from controller import events
from controller.assembly import rules_of
from controller.settings import load
from controller.store.cloud_events import cloud_event
from controller.store.sqlite import SqliteLog
from tests.cli.conftest import environment, run_cli
from tests.support.policy import PolicyRun, xid

AT = 1_764_000_000.123457
"""Of microseconds, as a controller's clock is."""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "controller.toml"
    path.write_text(f'state = "{tmp_path}"\n\n[budget]\nnodes = 1\n', encoding="utf-8")
    return path


def history(config: Path) -> list[events.Logged]:
    """Return the log of two faults under a budget of one node, decided by the rules of a configuration."""
    rules = rules_of(load(config))
    run = PolicyRun(rules, now=AT)
    run.say(events.RulesLoaded(rules.digest(), "The controller started."))
    run.nodes("n1", "n2", "n3")
    for node, code in (("n1", "79"), ("n2", "79"), ("n3", "95")):
        run.now += 1.25
        run.say(events.FindingRaised(node, "boot-1", xid(code), run.now))
    for _ in range(5):
        run.now += 3.5
        for intent in run.under_way():
            run.say(events.StepEnded(intent.incident_id, intent.step, 1, "done", "so", intent.key))
    return run.log


def exported(log: list[events.Logged], file: Path) -> Path:
    content = b"".join(cloud_event(entry, "main") + b"\n" for entry in log)
    file.write_bytes(gzip.compress(content) if file.suffix == ".gz" else content)
    return file


@pytest.mark.parametrize("seed", ["1", "2"])
def test_an_exported_log_is_decided_again_to_the_byte_in_any_process(tmp_path: Path, config: Path, seed: str) -> None:
    """I12. What a set is walked in the order of differs from process to process."""
    log = history(config)
    file = exported(log, tmp_path / "log.jsonl.gz")
    command = [sys.executable, "-m", "cli.main", "replay", str(file), "--config", str(config), "--json"]
    environ = environment(PYTHONHASHSEED=seed)
    result = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    told = json.loads(result.stdout)
    assert (told["entries"], told["difference"], told["other_rules"]) == (len(log), None, {})
    assert told["decisions"] > 10
    assert (told["first_at"], told["last_at"]) == (log[0].at, log[-1].at)


def test_the_store_itself_is_read_when_no_file_is_given(tmp_path: Path, config: Path) -> None:
    log = history(config)
    with closing(SqliteLog(tmp_path / "events.sqlite")) as store:
        asyncio.run(store.append(log, []))
    result = run_cli("replay", "--config", str(config))
    assert (result.returncode, result.stderr) == (0, "")
    first, second = result.stdout.splitlines()
    assert first.startswith(f"{len(log)} entries, 2025-11-24T16:00:00.123Z to 2025-11-24T16:00:21.373Z; rules ")
    assert second.endswith("decisions were decided again, and are the same to the byte")


def test_where_log_and_policy_part_is_said_with_both_reasons(tmp_path: Path, config: Path) -> None:
    log = history(config)
    (place,) = [n for n, e in enumerate(log) if isinstance(e.event, events.IncidentOpened) and e.event.node == "n2"]
    log[place] = msgspec.structs.replace(log[place], event=msgspec.structs.replace(log[place].event, device="GPU-7"))
    file = exported(log, tmp_path / "log.jsonl")
    result = run_cli("replay", str(file), "--config", str(config))
    assert (result.returncode, result.stderr) == (ExitCode.NO, "")
    *_, where, recorded, decided = result.stdout.splitlines()
    assert where == f"entry {place + 1}, 2025-11-24T16:00:02.623Z: log and policy part"
    assert recorded.startswith("  the log has       incident.opened: Incident opened: gpu_lost on GPU-7")
    assert decided.startswith("  the policy has    incident.opened: Incident opened: gpu_lost on GPU-0")
    assert "Because: Xid 79" in decided


def test_a_log_of_other_rules_alone_is_no_success(tmp_path: Path, config: Path) -> None:
    file = exported(history(config), tmp_path / "log.jsonl")
    result = run_cli("replay", str(file))
    assert result.returncode == ExitCode.REFUSED_NOW
    assert "from entry 1 on, rules " in result.stdout
    assert "nothing was held to it" in result.stderr


def test_standard_input_is_a_log(tmp_path: Path, config: Path) -> None:
    file = exported(history(config), tmp_path / "log.jsonl")
    result = run_cli("replay", "-", "--config", str(config), stdin=file.read_text("utf-8"))
    assert (result.returncode, result.stderr) == (0, "")


def test_a_gap_a_cut_and_a_missing_log_are_named(tmp_path: Path, config: Path) -> None:
    log = history(config)
    gap = run_cli("replay", str(exported(log[:4] + log[5:], tmp_path / "gap.jsonl")), "--config", str(config))
    assert gap.returncode == ExitCode.BAD_DATA
    assert "gap.jsonl, line 5: entry 5 is missing before it" in gap.stderr
    file = exported(log, tmp_path / "cut.jsonl")
    file.write_bytes(file.read_bytes()[:-40])
    cut = run_cli("replay", str(file), "--config", str(config))
    assert cut.returncode == ExitCode.BAD_DATA
    assert f"line {len(log)}: it is cut off, and the last" in cut.stderr
    none = run_cli("replay", str(tmp_path / "none.jsonl"))
    assert none.returncode == ExitCode.NO_INPUT
    neither = run_cli("replay")
    assert neither.returncode == ExitCode.USAGE
    assert "say which log" in neither.stderr


def test_playbooks_that_are_wrong_are_named(tmp_path: Path, config: Path) -> None:
    (tmp_path / "books").mkdir()
    (tmp_path / "books" / "bad.yaml").write_text("name: 7\n", encoding="utf-8")
    file = exported(history(config), tmp_path / "log.jsonl")
    result = run_cli("replay", str(file), "--playbooks", str(tmp_path / "books"))
    assert result.returncode == ExitCode.CONFIG
    assert "bad.yaml" in result.stderr
