"""Backups: of one moment, whole or refused, from any store into any other."""

from __future__ import annotations

import copy
import itertools
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from controller import events
from controller.policy import folding
from controller.policy.belief import Belief
from controller.store.compaction import compact
from controller.store.log import EventLog, Receipt, StoreError
from controller.store.snapshot import restore
from controller.store.sqlite import SqliteLog
from controller.store.taken import Taken
from controller.store.transfer import BackupError, Contents, NotEmpty, back_up, put_back
from tests.controller.store.conftest import Opener
from tests.support.policy import PolicyRun, xid


async def lived_in(log: EventLog) -> PolicyRun:
    """Fill a log: entries, receipts, a snapshot, and entries that were deleted."""
    run = PolicyRun().nodes("n1", "n2", "n3")
    run.raise_on("n1", xid("79"))
    await log.append(run.log, [Receipt("n1", "boot-1", seq) for seq in (1, 2, 3, 7)])
    compact(log, snapshot_every=1, keep_s=1.0, now=run.now + 100)
    before = len(run.log)
    run.raise_on("n2", xid("95"))
    await log.append(run.log[before:], [])
    return run


def restored(run: PolicyRun, log: EventLog) -> Belief:
    """Return what is believed once the run's log was restored: no number of an incident is given again."""
    *_, last = log.read()
    belief = copy.deepcopy(run.belief)
    folding.apply(belief, last)
    assert belief.next_incident_id() == "inc-100001"
    return belief


def names_in(directory: Path, beginning: str) -> list[str]:
    return [path.name for path in directory.iterdir() if path.name.startswith(beginning)]


async def test_a_backup_goes_into_any_store(open_log: Opener, tmp_path: Path) -> None:
    log = open_log()
    log.begin_term()
    run = await lived_in(log)
    file = tmp_path / "backup"
    told = back_up(log, file)
    kept = [entry.event_id for entry in log.read()]
    assert told == Contents(len(run.log), len(kept), 3, 2)
    assert file.stat().st_mode & 0o777 == 0o600
    assert names_in(tmp_path, "backup") == ["backup"]
    with closing(SqliteLog(tmp_path / "elsewhere.sqlite")) as elsewhere:
        assert put_back(file, elsewhere) == told
        assert restore(elsewhere)[0] == restored(run, elsewhere)
        assert list(elsewhere.read())[:-1] == list(log.read())
        assert elsewhere.recall_taken() == log.recall_taken() != {}
        assert elsewhere.deleted_through() == log.deleted_through() > 0


async def test_a_backup_of_a_file_comes_back_into_any_store(open_log: Opener, tmp_path: Path) -> None:
    file = tmp_path / "backup"
    with closing(SqliteLog(tmp_path / "origin.sqlite")) as origin:
        origin.begin_term()
        run = await lived_in(origin)
        told = back_up(origin, file)
    log = open_log()
    assert put_back(file, log) == told
    assert restore(log)[0] == restored(run, log)
    assert {str(taken) for taken in log.recall_taken().values()} == {"1-3,7-7"}
    with pytest.raises(NotEmpty, match="is not empty; a backup goes into an empty log only"):
        put_back(file, log)


async def test_i8_the_term_after_a_restore_is_above_any_that_nodes_have_seen(open_log: Opener, tmp_path: Path) -> None:
    """The backup is older than the last term; nodes refuse orders of an older one."""
    log = open_log()
    log.begin_term()
    await lived_in(log)
    back_up(log, tmp_path / "backup")
    last = [log.begin_term() for _ in range(20)][-1]
    with closing(SqliteLog(tmp_path / "new.sqlite")) as new:
        put_back(tmp_path / "backup", new)
        assert new.begin_term() >= int(time.time()) > last


async def test_a_backup_is_of_one_moment_while_the_controller_writes(open_log: Opener, tmp_path: Path) -> None:
    log, other = open_log(), open_log()
    log.begin_term()
    numbers = itertools.count(1)
    stop = threading.Event()

    def commit(count: int) -> None:
        """Every entry is the one of the message with its own number."""
        new = [next(numbers) for _ in range(count)]
        logged = [events.Logged(n, float(n), events.PresenceChanged(f"n{n}", "online", "so")) for n in new]
        taken = Taken.parse(f"1-{new[-1]}", heard_at=0.0)
        log._commit(logged, {("n1", "boot-1"): taken})  # type: ignore[attr-defined]

    def write() -> None:
        while not stop.is_set():
            commit(20)

    writing = threading.Thread(target=write)
    commit(1)
    writing.start()
    try:
        files = [tmp_path / f"backup{number}" for number in range(5)]
        told = [back_up(other, file) for file in files]
    finally:
        stop.set()
        writing.join()
    assert all(contents.events == contents.last_event_id == contents.nodes for contents in told)
    assert told[-1].events > told[0].events
    for file, contents in zip(files, told, strict=True):
        with closing(SqliteLog(file)) as copy:
            assert [str(taken) for taken in copy.recall_taken().values()] == [f"1-{contents.events}"]


async def test_what_is_no_backup_changes_nothing(open_log: Opener, tmp_path: Path) -> None:
    log = open_log()
    good, bad = tmp_path / "good", tmp_path / "bad"
    with closing(SqliteLog(tmp_path / "origin.sqlite")) as origin:
        origin.begin_term()
        await lived_in(origin)
        back_up(origin, good)
        with pytest.raises(BackupError, match="good is there already; a backup goes into a new file"):
            back_up(origin, good)
        with pytest.raises(BackupError, match=r"/nowhere/backup cannot be written: No such file or directory"):
            back_up(origin, tmp_path / "nowhere" / "backup")
    content = good.read_bytes()
    for damaged, why in (
        (b"hello", "no backup: it is not in SQLite's format"),
        (content[: len(content) // 2], "is damaged|no backup that can be used"),
        (content[:8192] + bytes(4096) + content[12288:], "is damaged|no backup that can be used"),
    ):
        bad.write_bytes(damaged)
        with pytest.raises(BackupError, match=why):
            put_back(bad, log)
    with pytest.raises(BackupError, match="missing cannot be read: No such file"):
        put_back(tmp_path / "missing", log)
    assert list(log.read()) == []
    put_back(good, log)


async def test_a_backup_whose_entries_cannot_be_understood_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "backup"
    with closing(SqliteLog(tmp_path / "origin.sqlite")) as origin:
        await lived_in(origin)
        back_up(origin, file)
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE events SET body = x'7b7d' WHERE event_id = (SELECT max(event_id) FROM events)")
    connection.close()
    with closing(SqliteLog(tmp_path / "new.sqlite")) as new:
        with pytest.raises(BackupError, match=r"backup is no backup that can be used: .* is no event of this version"):
            put_back(file, new)
        assert list(new.read()) == []


def test_a_log_that_is_cut_off_while_filling_stays_empty(open_log: Opener) -> None:
    log = open_log()

    def rows() -> object:
        yield (1, 1.0, "presence.changed", "n1", "", b"", b"{}")
        raise StoreError("the backup's disk broke")

    with pytest.raises(StoreError, match="disk broke"):
        log.load([("events", rows())])  # type: ignore[list-item]
    assert list(log.read()) == []
