"""The event log in a file: its older versions, and files that are none."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from controller import events
from controller.store.log import Receipt, StoreError, row_of
from controller.store.migrations import SCHEMA_VERSION
from controller.store.sqlite import SqliteLog
from wire.messages import NodeFacts

VERSION_1 = """
CREATE TABLE IF NOT EXISTS events (
    event_id INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    kind TEXT NOT NULL,
    node TEXT NOT NULL,
    incident_id TEXT NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS events_by_node ON events (node, event_id) WHERE node != '';
CREATE INDEX IF NOT EXISTS events_by_incident ON events (incident_id, event_id) WHERE incident_id != '';
CREATE TABLE IF NOT EXISTS receipts (
    node TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (node, boot_id, seq)
) WITHOUT ROWID, STRICT;
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
PRAGMA user_version = 1;
"""
"""The schema of fleetmend 0.1.0, as that version wrote it."""

ENTRY = events.Logged(1, 1.5, events.NodeSeen("n1", "boot-1", NodeFacts(gpu_count=8)))


def file_of_version_1(path: Path, *, term: int | None) -> None:
    with sqlite3.connect(path) as connection:
        connection.executescript(VERSION_1)
        connection.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", row_of(ENTRY))
        seen = [("n1", "b1", seq) for seq in (1, 2, 3, 5, 9, 10)] + [("n1", "b2", 7), ("n2", "b1", 1)]
        connection.executemany("INSERT INTO receipts VALUES (?, ?, ?)", seen)
        if term is not None:
            connection.execute("INSERT INTO facts VALUES ('term', ?)", (str(term),))
    connection.close()


@pytest.mark.parametrize(("term", "expected"), [(41, 42), (None, 1)])
def test_a_file_of_version_1_is_migrated(tmp_path: Path, term: int | None, expected: int) -> None:
    path = tmp_path / "events.sqlite"
    file_of_version_1(path, term=term)
    log = SqliteLog(path)
    assert ([ENTRY], expected) == (list(log.read()), log.begin_term())
    taken = {boot: str(numbers) for boot, numbers in log.recall_taken().items()}
    assert taken == {("n1", "b1"): "1-3,5-5,9-10", ("n1", "b2"): "7-7", ("n2", "b1"): "1-1"}
    assert all(numbers.heard_at > 1_700_000_000 for numbers in log.taken.values())
    log.close()
    SqliteLog(path).close()


def test_a_migration_that_is_cut_short_leaves_the_old_version(tmp_path: Path) -> None:
    path = tmp_path / "events.sqlite"
    file_of_version_1(path, term=1)
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE snapshot_parts (in_the_way TEXT)")
    with pytest.raises(StoreError, match="snapshot_parts already exists"):
        SqliteLog(path)
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        assert connection.execute("SELECT count(*) FROM receipts").fetchone() == (8,)
        connection.execute("DROP TABLE snapshot_parts")
    connection.close()
    SqliteLog(path).close()


def test_a_log_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "events.sqlite"
    SqliteLog(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(StoreError, match=rf"schema 99, this version knows {SCHEMA_VERSION}: upgrade, or restore"):
        SqliteLog(path)


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "events.sqlite"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(StoreError, match=r"cannot open the event log .*events\.sqlite"):
        SqliteLog(path)


@pytest.mark.parametrize("body", [b"{}", b'{"type":"\xff\xff"}'])
async def test_an_entry_that_cannot_be_understood_is_named_by_its_id(tmp_path: Path, body: bytes) -> None:
    path = tmp_path / "events.sqlite"
    log = SqliteLog(path)
    await log.append([ENTRY], [])
    log.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE events SET body = ?", (body,))
    connection.close()
    again = SqliteLog(path)
    with pytest.raises(StoreError, match="event 1 is no event of this version"):
        list(again.read())
    again.close()


async def test_i7_a_full_disk_takes_nothing_half(tmp_path: Path) -> None:
    """SQLite's own limit on pages fails as a full disk does."""
    path = tmp_path / "events.sqlite"
    log = SqliteLog(path)
    pages = log._connection.execute("PRAGMA page_count").fetchone()[0]
    log._connection.execute(f"PRAGMA max_page_count={pages + 3}")
    committed = 0
    with pytest.raises(StoreError, match=r"cannot write to the event log .*: database or disk is full"):
        while True:
            number = committed + 1
            fact = events.NodeSeen("n1", "boot-1", NodeFacts(devices={"GPU-0": "x" * 200}))
            await log.append([events.Logged(number, 1.0, fact)], [Receipt("n1", "boot-1", number)])
            committed = number
    assert (committed, [f"1-{committed}"]) == (len(list(log.read())), [str(each) for each in log.taken.values()])
    log._connection.execute(f"PRAGMA max_page_count={pages + 100}")
    await log.append([events.Logged(committed + 1, 1.0, fact)], [Receipt("n1", "boot-1", committed + 1)])
    log.close()
    again = SqliteLog(path)
    assert len(list(again.read())) == committed + 1
    assert str(again.recall_taken()["n1", "boot-1"]) == f"1-{committed + 1}"
    again.close()
