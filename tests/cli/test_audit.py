"""`fleetmend audit`: export and verify as a user runs them."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from cli.exit_codes import ExitCode
from controller import keys
from controller.sealing import FILE, Sealing
from controller.settings import load
from controller.store.signing import signer_of
from controller.store.sqlite import SqliteLog
from tests.cli.conftest import run_cli
from tests.support.policy import PolicyRun, xid


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A controller's configuration, with a log in which something happened and that was signed."""
    path = tmp_path / "controller.toml"
    path.write_text(f'state = "{tmp_path / "state"}"\ncell = "hall-2"\n')
    keys.load_or_make(tmp_path / "state" / "signing-key.pem")
    run = PolicyRun().nodes("n1", "n2")
    run.raise_on("n1", xid("79"))
    with closing(SqliteLog(tmp_path / "state" / "events.sqlite")) as log:
        log._commit(run.log, {})
        asyncio.run(Sealing(log, signer_of(load(path)), tmp_path / "state" / FILE, lambda: 1.79e9).seal())
    return path


def tamper(config: Path, statement: str) -> None:
    with closing(sqlite3.connect(config.parent / "state" / "events.sqlite", isolation_level=None)) as database:
        database.execute(statement)


def test_a_log_that_nobody_touched_is_as_it_was_written(config: Path) -> None:
    told = run_cli("audit", "verify", "--config", str(config))
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout == (
        "as it was written: 7 entries up to 7, 0 deleted under a signature; "
        "signed up to entry 7, last at 2026-09-21T14:13:20Z; heads that agree: 1\n"
    )


@pytest.mark.parametrize(
    ("statement", "flaw"),
    [
        ("UPDATE events SET node = 'n2' WHERE event_id = 5", "WRONG: entry 5 is not the one that was written behind"),
        ("DELETE FROM events WHERE event_id = 3", "WRONG: entry 4 is not the one that was written behind entry 2"),
        ("DELETE FROM events WHERE event_id = 7", "is of an entry that is not there: the last one before it is 6"),
    ],
)
def test_a_log_that_was_touched_is_not(config: Path, statement: str, flaw: str) -> None:
    tamper(config, statement)
    told = run_cli("audit", "verify", "--config", str(config))
    assert told.returncode == ExitCode.NO
    assert flaw in told.stdout and "not as it was written" in told.stdout
    assert told.stderr == "fleetmend: this is not the log that was written\n"


def test_an_end_cut_off_with_its_heads_is_found_by_the_head_in_the_state_directory(config: Path) -> None:
    tamper(config, "DELETE FROM heads")
    tamper(config, "DELETE FROM events WHERE event_id > 5")
    told = run_cli("audit", "verify", "--config", str(config))
    assert told.returncode == ExitCode.NO
    assert "the head of entry 7" in told.stdout


def test_exports_are_verified_anywhere_with_the_public_key(config: Path, tmp_path: Path) -> None:
    first, second, key = tmp_path / "1.jsonl", tmp_path / "2.jsonl", tmp_path / "keys"
    first.write_text(run_cli("audit", "export", "--config", str(config)).stdout)
    second.write_text(run_cli("audit", "export", "--config", str(config), "--after", "7").stdout)
    private = keys.load(tmp_path / "state" / "signing-key.pem")
    key.write_text(f"{keys.key_id(private)} {keys.public_text(private)}\n")
    told = run_cli("audit", "verify", str(first), str(second), "--key", str(key), "--config", "/nowhere")
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.startswith("as it was written: 7 entries up to 7")
    first.write_text(first.read_text().replace('"n1"', '"n2"', 1))
    told = run_cli("audit", "verify", str(first), "--key", str(key))
    assert told.returncode == ExitCode.NO
    assert "the lines before it are not the 9 that were signed: at least one was changed" in told.stdout
    first.write_text("".join(first.read_text().splitlines(keepends=True)[:-1]))
    told = run_cli("audit", "verify", str(first), "--key", str(key))
    assert "it is cut off: the last line is not the one that is signed" in told.stdout


def test_every_failure_is_a_sentence_and_a_code(config: Path, tmp_path: Path) -> None:
    junk = tmp_path / "junk"
    junk.write_text("hello world\n")
    for arguments, code, why in (
        (("verify", str(tmp_path / "none")), ExitCode.NO_INPUT, "none: No such file"),
        (("verify", str(junk), "--key", str(junk)), ExitCode.BAD_DATA, "junk: "),
        (("verify", "--key", str(tmp_path / "none")), ExitCode.NO_INPUT, "none: No such file"),
        (("export", "--after", "-1"), ExitCode.USAGE, "--after"),
    ):
        told = run_cli("audit", *arguments, "--config", str(config))
        assert (told.returncode, told.stdout) == (code, ""), told.stderr
        assert why in told.stderr and "Traceback" not in told.stderr
    (tmp_path / "state" / "signing-key.pem").unlink()
    told = run_cli("audit", "verify", "--config", str(config))
    assert (told.returncode, "signing-key.pem is not there" in told.stderr) == (ExitCode.CONFIG, True)
