"""Nobody changes the log unseen: entries are chained to each other, and the controller signs how far they came."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from controller import events, keys
from controller.store.auditing import Audit, audit
from controller.store.chain import START, Gap, Head, Place, link, links
from controller.store.compaction import compact
from controller.store.log import EventLog, StoreError, row_of
from controller.store.postgresql import PostgresqlLog
from controller.store.seals import KnownKeys, Signer
from controller.store.sqlite import SqliteLog
from controller.store.transfer import back_up, put_back
from tests.controller.store.conftest import Opener

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
SIGNER = Signer(keys.key_id(KEY), KEY, KnownKeys("main", keys.public_half(KEY)))


def entry(event_id: int, node: str = "n1") -> events.Logged:
    return events.Logged(event_id, 100.0 + event_id, events.PresenceChanged(node, "online", f"so {event_id} – ü"))


def waiting(event_id: int, incident_id: str) -> events.Logged:
    return events.Logged(event_id, 1.0, events.IncidentWaiting(incident_id, "budget", events.Reason("so")))


async def filled(log: EventLog, *ids: int) -> None:
    await log.append([entry(event_id) for event_id in ids], [])


async def signed(log: EventLog) -> Head:
    place = await log.last_place()
    head = SIGNER.sealed_head(Head(place.event_id, 500.0, place.link))
    await log.keep_head(head)
    return head


def audited(log: EventLog, *witnesses: Head) -> Audit:
    return audit(log, SIGNER.known, witnesses=witnesses)


def execute(log: EventLog, statement: str, *values: object) -> None:
    """Do to the database what an intruder does."""
    assert isinstance(log, SqliteLog | PostgresqlLog)
    marked = statement if isinstance(log, SqliteLog) else statement.replace("?", "%s")
    connection: Any = log._connection
    connection.execute(marked, values)


async def test_every_entry_carries_the_hash_of_the_one_before_it(open_log: Opener) -> None:
    log = open_log()
    log.begin_term()
    await filled(log, 1, 2)
    await filled(log, 3)
    again = open_log()
    again.begin_term()
    await filled(again, 4)
    rows = [row_of(entry(event_id)) for event_id in (1, 2, 3, 4)]
    assert links(START, rows) == [each.link for each in again.linked()]
    assert rows == [each.row for each in again.linked()]
    assert again.place() == Place(4, links(START, rows)[-1]) == await again.last_place()
    assert again.place(at_most=2) == Place(2, links(START, rows)[1])


async def test_the_chain_of_a_history_is_the_same_in_every_store(log: EventLog) -> None:
    """I12: written down once, so that no version may compute it otherwise."""
    await filled(log, 1, 2, 3)
    assert log.place().link.hex() == "19ee1b824f736867d956f3f4d8463317ab5f12a68a3005086d1917d00d5680f3"


async def test_a_log_that_nobody_touched_is_what_was_written(log: EventLog) -> None:
    assert (audited(log).flaws, audited(log).entries) == ([], 0)
    await filled(log, 1, 2, 3)
    await signed(log)
    await filled(log, 4)
    found = audited(log)
    assert (found.flaws, found.entries, found.signed_through, found.heads) == ([], 4, 3, 1)


CHANGES = {
    "its time": "UPDATE events SET at = at + 1 WHERE event_id = 2",
    "its kind": "UPDATE events SET kind = 'node.seen' WHERE event_id = 2",
    "its node": "UPDATE events SET node = 'n2' WHERE event_id = 2",
    "its incident": "UPDATE events SET incident_id = 'inc-1' WHERE event_id = 2",
    "its body": "UPDATE events SET body = (SELECT body FROM events WHERE event_id = 3) WHERE event_id = 2",
    "its link": "UPDATE events SET link = (SELECT link FROM events WHERE event_id = 3) WHERE event_id = 2",
    "its number": "UPDATE events SET event_id = 9 WHERE event_id = 2",
    "that it is there": "DELETE FROM events WHERE event_id = 2",
    "that the first is there": "DELETE FROM events WHERE event_id = 1",
    "that the last is there": "DELETE FROM events WHERE event_id = 4",
    "the head": "UPDATE heads SET event_id = 3 WHERE event_id = 4",
    "the head's link": "UPDATE heads SET link = (SELECT link FROM events WHERE event_id = 3)",
    "the head's time": "UPDATE heads SET at = at + 1",
    "who signed": "UPDATE heads SET key_id = 'another'",
}


@pytest.mark.parametrize("statement", CHANGES.values(), ids=CHANGES)
async def test_any_change_in_the_database_is_found(log: EventLog, statement: str) -> None:
    await filled(log, 1, 2, 3, 4)
    await signed(log)
    assert audited(log).flaws == []
    execute(log, statement)
    assert audited(log).flaws != []


async def test_two_entries_that_changed_places_are_found(log: EventLog) -> None:
    await filled(log, 1, 2, 3, 4)
    for before, after in ((2, 99), (3, 2), (99, 3)):
        execute(log, "UPDATE events SET event_id = ? WHERE event_id = ?", after, before)
    assert audited(log).flaws != []


def rewritten(log: EventLog, change: Callable[[list[tuple[Any, ...]]], None]) -> None:
    """Change entries and compute every link anew, as who has the database and no key can."""
    rows: list[Any] = [each.row for each in log.linked()]
    change(rows)
    execute(log, "DELETE FROM events")
    for row, new in zip(rows, links(START, rows), strict=True):
        text = row[-1] if isinstance(log, SqliteLog) else row[-1].decode()
        execute(
            log,
            "INSERT INTO events (event_id, at, kind, node, incident_id, body, link) VALUES (?, ?, ?, ?, ?, ?, ?)",
            *(*row[:-1], text, new),
        )


async def test_a_log_that_was_written_anew_does_not_match_what_was_signed(log: EventLog) -> None:
    await filled(log, 1, 2, 3)
    await signed(log)

    def blame_another(rows: list[tuple[Any, ...]]) -> None:
        rows[1] = (*rows[1][:3], "n9", *rows[1][4:])

    rewritten(log, blame_another)
    (flaw,) = audited(log).flaws
    assert flaw.startswith("the head of entry 3, signed at 1970-01-01T00:08:20Z, is of another log")


async def test_an_end_that_was_cut_off_with_its_heads_is_found_by_the_head_kept_elsewhere(log: EventLog) -> None:
    await filled(log, 1, 2)
    await signed(log)
    await filled(log, 3)
    kept_elsewhere = await signed(log)
    execute(log, "DELETE FROM events WHERE event_id = 3")
    execute(log, "DELETE FROM heads WHERE event_id = 3")
    assert audited(log).flaws == []
    (flaw,) = audited(log, kept_elsewhere).flaws
    assert "the head of entry 3" in flaw and "is not there: the last one before it is 2" in flaw


async def test_a_controller_signs_what_it_wrote_and_not_what_others_made_of_it(log: EventLog) -> None:
    await filled(log, 1, 2)
    rewritten(log, lambda rows: rows.__setitem__(1, (*rows[1][:3], "n9", *rows[1][4:])))
    await signed(log)
    assert any("is of another log" in flaw for flaw in audited(log).flaws)


def delete(log: EventLog, through: int, *, keep: Iterable[str] = (), limit: int = 2) -> None:
    while log.delete_events(through=through, before=1e9, keep_incidents=frozenset(keep), limit=limit, seals=SIGNER):
        pass


async def test_what_compaction_deletes_leaves_one_signed_gap(log: EventLog) -> None:
    await filled(log, *range(1, 10))
    head = await signed(log)
    delete(log, 5)
    delete(log, 7)
    (gap,) = log.gaps()
    assert (gap.first_id, gap.last_id, gap.before) == (1, 7, START)
    found = audited(log, head)
    assert (found.flaws, found.entries, found.deleted) == ([], 2, 7)
    await filled(log, 10)
    assert audited(log).flaws == []


async def test_entries_of_open_incidents_stay_in_the_chain_between_gaps(log: EventLog) -> None:
    await log.append([entry(1), waiting(2, "inc-1"), entry(3), entry(4), waiting(5, "inc-1"), waiting(6, "inc-2")], [])
    delete(log, 6, keep={"inc-1"})
    assert [(gap.first_id, gap.last_id) for gap in log.gaps()] == [(1, 1), (3, 4), (6, 6)]
    assert audited(log).flaws == []


async def test_a_log_of_which_everything_was_deleted_goes_on(open_log: Opener) -> None:
    log = open_log()
    log.begin_term()
    await filled(log, 1, 2, 3)
    delete(log, 3)
    again = open_log()
    again.begin_term()
    await filled(again, 4)
    found = audited(again)
    assert (found.flaws, found.entries, found.deleted) == ([], 1, 3)


async def test_compaction_deletes_nothing_that_was_changed(log: EventLog) -> None:
    await filled(log, *range(1, 7))
    execute(log, "UPDATE events SET node = 'n2' WHERE event_id = 4")
    with pytest.raises(StoreError, match="entry 4 is not the one that was written"):
        delete(log, 6)
    assert (log.deleted_through(), [3, 4, 5, 6]) == (2, [each.row[0] for each in log.linked()])


GAPS = {
    "another end": "UPDATE gaps SET last_id = 4, after = (SELECT link FROM events WHERE event_id = 4)",
    "none": "DELETE FROM gaps",
    "another beginning": "UPDATE gaps SET first_id = 2",
    "another time": "UPDATE gaps SET at = at + 1",
    "another key": "UPDATE gaps SET key_id = 'another'",
}


@pytest.mark.parametrize("statement", GAPS.values(), ids=GAPS)
async def test_a_gap_that_nobody_signed_is_found(log: EventLog, statement: str) -> None:
    await filled(log, *range(1, 7))
    delete(log, 3)
    execute(log, statement)
    assert audited(log).flaws != []


async def test_compaction_signs_no_gap_of_somebody_else(log: EventLog) -> None:
    """Who deletes entries and leaves a gap of their own does not get it signed by having it joined to a later one."""
    await filled(log, *range(1, 9))
    second = log.place(at_most=2)
    forged = Gap(1, 2, 1.0, START, second.link)
    execute(log, "DELETE FROM events WHERE event_id <= 2")
    execute(
        log,
        "INSERT INTO gaps (first_id, last_id, at, before, after, key_id, signature) VALUES (?, ?, ?, ?, ?, ?, ?)",
        *(forged.first_id, forged.last_id, forged.at, forged.before, forged.after, "", b""),
    )
    execute(log, "INSERT INTO facts VALUES ('deleted_through', '2')")
    delete(log, 5)
    assert [(gap.first_id, gap.last_id) for gap in log.gaps()] == [(1, 2), (3, 5)]
    (flaw,) = audited(log).flaws
    assert flaw == "the gap of entries 1 to 2 is nobody's: it is not signed"


async def test_heads_of_deleted_entries_go_with_them(log: EventLog) -> None:
    for event_id in range(1, 6):
        await filled(log, event_id)
        await signed(log)
    delete(log, 3)
    await signed(log)
    assert [head.event_id for head in log.heads()] == [4, 5]


async def test_the_chain_goes_through_a_backup(open_log: Opener, tmp_path: Any) -> None:
    with_gaps = SqliteLog(tmp_path / "origin.sqlite")
    with_gaps.begin_term()
    await filled(with_gaps, *range(1, 8))
    await signed(with_gaps)
    compact(with_gaps, snapshot_every=1, keep_s=1_000.0, now=1_104.0, seals=SIGNER)
    back_up(with_gaps, tmp_path / "backup")
    with_gaps.close()
    log = open_log()
    put_back(tmp_path / "backup", log)
    log.begin_term()
    await filled(log, 9)
    found = audited(log)
    assert (found.flaws, found.entries, found.deleted, found.signed_through) == ([], 6, 3, 7)
    assert [note for note in found.notes if "entry 8 says that the log was restored from a backup" in note]


async def test_a_log_of_before_is_chained_as_it_is_found(open_log: Opener) -> None:
    """Entries that were deleted before there was a chain are told, once somebody signed, and are no flaw."""
    log = open_log()
    log.begin_term()
    await filled(log, *range(1, 8))
    execute(log, "DELETE FROM events WHERE event_id IN (1, 2, 4)")
    unchain(log)
    log.close()
    again = open_log()
    again.begin_term()
    assert links(START, [each.row for each in again.linked()]) == [each.link for each in again.linked()]
    await filled(again, 8)
    await signed(again)
    found = audited(again)
    assert (found.flaws, found.entries) == ([], 5)
    assert found.notes == [
        "there is nothing between entries 0 and 3: that was so before the log was chained",
        "there is nothing between entries 3 and 5: that was so before the log was chained",
    ]
    delete(again, 5)
    assert [(gap.first_id, gap.last_id) for gap in again.gaps()] == [(3, 5)]
    assert audited(again).flaws == []


def unchain(log: EventLog) -> None:
    """Take the schema back to what it was before the chain."""
    execute(log, "DROP TABLE gaps")
    execute(log, "DROP TABLE heads")
    execute(log, "ALTER TABLE events DROP COLUMN link")
    if isinstance(log, SqliteLog):
        execute(log, "PRAGMA user_version=2")
    else:
        execute(log, "UPDATE facts SET value = '2' WHERE name = 'schema'")


async def test_a_commit_that_failed_leaves_the_chain_where_it_was(log: EventLog) -> None:
    await filled(log, 1)
    with pytest.raises(StoreError):
        await log.append([entry(2), entry(1)], [])
    await filled(log, 2)
    assert (audited(log).flaws, audited(log).entries) == ([], 2)


def test_no_two_entries_have_the_same_link() -> None:
    """Nor can a word move from one column into the next."""
    rows = [
        (1, 1.0, "a", "b", "c", b"{}"),
        (1, 1.0, "ab", "", "c", b"{}"),
        (1, 1.0, "a", "", "bc", b"{}"),
        (1, 1.0, "a", "b", "", b"c{}"),
        (1, 2.0, "a", "b", "c", b"{}"),
        (2, 1.0, "a", "b", "c", b"{}"),
    ]
    for one, other in itertools.combinations(rows, 2):
        assert link(START, one) != link(START, other)
