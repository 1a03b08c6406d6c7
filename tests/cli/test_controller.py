"""`fleetmend controller`: backup, restore and export as a user runs them."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from cli.exit_codes import ExitCode
from controller import events
from controller.service import lock_state
from controller.store.migrations import SCHEMA_VERSION
from controller.store.sqlite import SqliteLog
from tests.cli.conftest import environment, run_cli
from tests.support.policy import PolicyRun, xid


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A controller's configuration, with a log in which something happened."""
    run = PolicyRun().nodes("n1", "n2")
    run.raise_on("n1", xid("79"))
    with closing(SqliteLog(tmp_path / "state" / "events.sqlite")) as log:
        log._commit(run.log, {})
    return settings(tmp_path, "state")


def settings(tmp_path: Path, state: str) -> Path:
    path = tmp_path / f"{state}.toml"
    path.write_text(f'state = "{tmp_path / state}"\ncell = "hall-2"\n')
    return path


def test_a_folder_of_backups_keeps_the_newest(config: Path, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    others = ["fleetmend-hall-2-20200101T000000Z.backup", "fleetmend-hall-2-20210101T000000Z.backup"]
    foreign = ["fleetmend-hall-2-2-20200101T000000Z.backup", "fleetmend-hall-20200101T000000Z.backup", "notes"]
    for name in (*others, *foreign, f"{others[0]}.partial"):
        (folder / name).touch()
    told = run_cli("controller", "backup", str(folder), "--keep", "2", "--config", str(config))
    assert (told.returncode, told.stderr) == (0, "")
    (made,) = {path.name for path in folder.iterdir()} - {*others, *foreign}
    assert re.fullmatch(r"fleetmend-hall-2-\d{8}T\d{6}Z\.backup", made)
    assert sorted(path.name for path in folder.iterdir()) == sorted([made, others[1], *foreign])
    assert f"deleted {folder / others[0]}" in told.stdout
    (folder / made).rename(folder / "fleetmend-hall-2-20990101T000000Z.backup")
    # The newest stays, and be its name the oldest, for a clock that was wrong.
    run_cli("controller", "backup", str(folder), "--keep", "1", "--config", str(config))
    (kept,) = {path.name for path in folder.iterdir()} - {*foreign}
    assert kept not in {*others, "fleetmend-hall-2-20990101T000000Z.backup"}


def test_a_backup_is_restored_elsewhere(config: Path, tmp_path: Path) -> None:
    file = str(tmp_path / "backup")
    told = run_cli("controller", "backup", file, "--config", str(config))
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout == f"backed up to {file}: 7 entries up to 7; nodes: 2, incidents: 1\n"
    other = str(settings(tmp_path, "other"))
    told = run_cli("controller", "restore", file, "--config", other)
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.endswith("events.sqlite: 7 entries up to 7; nodes: 2, incidents: 1\n")
    again = run_cli("controller", "restore", file, "--config", other)
    assert again.returncode == ExitCode.REFUSED_NOW
    assert "is not empty; a backup goes into an empty log only" in again.stderr


def test_the_way_back_from_a_newer_schema_is_the_backup_of_before(config: Path, tmp_path: Path) -> None:
    """As docs/how-to/upgrade.md says."""
    log, before = tmp_path / "state" / "events.sqlite", str(tmp_path / "before")
    assert run_cli("controller", "backup", before, "--config", str(config)).returncode == 0
    with closing(sqlite3.connect(log)) as newer:
        newer.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    started = subprocess.run(
        [sys.executable, "-m", "controller.main", "--config", config], capture_output=True, text=True, check=False
    )
    sentence = f"has schema {SCHEMA_VERSION + 1}, this version knows {SCHEMA_VERSION}: upgrade, or restore a backup"
    assert (started.returncode, sentence in started.stderr) == (74, True), started.stderr
    (tmp_path / "newer").mkdir()
    for file in log.parent.glob("events.sqlite*"):
        file.rename(tmp_path / "newer" / file.name)
    told = run_cli("controller", "restore", before, "--config", str(config))
    assert (told.returncode, told.stderr) == (0, "")
    with closing(SqliteLog(log)) as older:
        assert [type(entry.event) for entry in older.read()][-1] is events.LogRestored


def test_every_failure_is_a_sentence_and_a_code(config: Path, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("hello")
    empty = str(settings(tmp_path, "empty"))
    for arguments, code, why in (
        (("backup", str(text), "--config", str(config)), ExitCode.NO_OUTPUT, "text is there already"),
        (("restore", str(text), "--config", empty), ExitCode.BAD_DATA, "text is no backup"),
        (("restore", str(tmp_path / "none"), "--config", empty), ExitCode.NO_INPUT, "none cannot be read: No such"),
        (("export", "--config", str(text)), ExitCode.CONFIG, "text: not TOML"),
        (("export", "--config", str(tmp_path / "no.toml")), ExitCode.CONFIG, "no.toml: cannot be read"),
    ):
        told = run_cli("controller", *arguments)
        assert (told.returncode, told.stdout) == (code, ""), told.stderr
        assert why in told.stderr and "Traceback" not in told.stderr


def test_nothing_is_restored_under_a_running_controller(config: Path, tmp_path: Path) -> None:
    run_cli("controller", "backup", str(tmp_path / "backup"), "--config", str(config))
    other = settings(tmp_path, "other")
    lock_state(tmp_path / "other")
    told = run_cli("controller", "restore", str(tmp_path / "backup"), "--config", str(other))
    assert told.returncode == ExitCode.REFUSED_NOW
    assert "another controller is running on" in told.stderr


def test_a_store_that_does_not_answer_is_named_without_its_password(tmp_path: Path) -> None:
    path = tmp_path / "controller.toml"
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    secret.write_text("hunter2")
    url = "postgresql://fleetmend@127.0.0.1:9/cell"
    path.write_text(f'state = "{tmp_path}"\n[store]\nurl = "{url}"\npassword_file = "{secret}"\n')
    told = run_cli("controller", "export", "--config", str(path))
    assert told.returncode == ExitCode.UNREACHABLE
    assert "cannot reach the event log at postgresql://127.0.0.1:9/cell" in told.stderr
    assert "hunter2" not in told.stderr


def test_the_log_is_exported_as_cloud_events(config: Path) -> None:
    told = run_cli("controller", "export", "--config", str(config), "--after", "4")
    assert told.returncode == 0
    lines = [json.loads(line) for line in told.stdout.splitlines()]
    assert [line["id"] for line in lines] == ["5", "6", "7"]
    found, opened, _ = lines
    assert opened == {
        "specversion": "1.0",
        "id": "6",
        "source": "/fleetmend/hall-2",
        "type": "fleetmend.incident.opened",
        "time": "1970-01-12T13:46:40.000000Z",
        "datacontenttype": "application/json",
        "subject": "inc-000001",
        "node": "n1",
        "incident": "inc-000001",
        "data": opened["data"],
    }
    assert (found["subject"], found["data"]["finding"]["check"]) == ("n1", "gpu.xid")
    assert "incident" not in found


def test_an_export_that_follows_prints_what_comes(config: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "controller", "export", "--follow", "--after", "6", "--config", str(config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        text=True,
    )
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["id"] == "7"
    with closing(SqliteLog(tmp_path / "state" / "events.sqlite")) as log:
        log._commit([events.Logged(8, 8.0, events.PresenceChanged("n1", "lost", "so"))], {})
    assert json.loads(process.stdout.readline())["data"]["state"] == "lost"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err.strip()) == (ExitCode.INTERRUPTED, "", "")
