"""The event log on SQLite."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from controller import events
from controller.store.sqlite import Receipt, SqliteLog, StoreError
from wire.messages import NodeFacts


def entry(event_id: int, node: str = "n1") -> events.Logged:
    return events.Logged(event_id, float(event_id), events.NodeSeen(node, "boot-1", NodeFacts(gpu_count=event_id)))


async def test_what_is_committed_is_read_back_in_order(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "events.sqlite")
    await log.append([entry(1), entry(2, "n2")], [Receipt("n1", "boot-1", 5)])
    log.close()
    again = SqliteLog(tmp_path / "events.sqlite")
    assert [entry(1), entry(2, "n2")] == list(again.read())
    assert [entry(2, "n2")] == await again.timeline(node="n2")
    assert [Receipt("n1", "boot-1", 5)] == list(again.receipts())
    again.close()


async def test_the_timeline_of_a_node_holds_what_its_incidents_came_to(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "events.sqlite")
    begun = events.StepIntended(
        "inc-1", "automatic", "cordon", "cordon", 1, "k", "n1", "", {}, 9.0, events.Reason("why")
    )
    ended = events.StepEnded("inc-1", "cordon", 1, "done", "n1 is held.", "k")
    other = events.StepEnded("inc-2", "cordon", 1, "done", "n2 is held.", "k2")
    happened: tuple[events.Event, ...] = (begun, other, ended)
    logged = [events.Logged(number, float(number), event) for number, event in enumerate(happened, 1)]
    await log.append([*logged, entry(4, "n2")], [])
    assert [logged[0], logged[2]] == await log.timeline(node="n1")
    assert [entry(4, "n2")] == await log.timeline(node="n2")
    assert logged[2:] == await log.timeline(node="n1", limit=1)
    log.close()


async def test_entries_and_receipts_are_one_transaction(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "events.sqlite")
    await log.append([entry(1)], [])
    with pytest.raises(StoreError, match="cannot write to the event log"):
        await log.append([entry(2), entry(1)], [Receipt("n1", "boot-1", 5)])
    assert ([entry(1)], []) == (list(log.read()), list(log.receipts()))
    log.close()


def test_each_term_has_a_higher_token(tmp_path: Path) -> None:
    tokens = []
    for _ in range(3):
        log = SqliteLog(tmp_path / "events.sqlite")
        tokens.append(log.begin_term())
        log.close()
    assert tokens == [1, 2, 3]


def test_a_log_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "events.sqlite"
    SqliteLog(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version=99")
    with pytest.raises(StoreError, match=r"schema 99, this version knows 1: upgrade"):
        SqliteLog(path)


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "events.sqlite"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(StoreError, match=r"cannot open the event log .*events\.sqlite"):
        SqliteLog(path)


async def test_an_entry_that_cannot_be_understood_is_named_by_its_id(tmp_path: Path) -> None:
    path = tmp_path / "events.sqlite"
    log = SqliteLog(path)
    await log.append([entry(1)], [])
    log.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE events SET body = x'7b7d'")
    again = SqliteLog(path)
    with pytest.raises(StoreError, match="event 1 is no event of this version"):
        list(again.read())
    again.close()
