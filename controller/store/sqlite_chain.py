"""The chain of a log on SQLite, on a connection that its caller has."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator

from controller.store.chain import BEGINNING, Gap, Head, LinkedRow, Place, link
from controller.store.log import COLUMNS, LAST_ID

ROWS_A_STEP = 5_000
_ENTRIES = f"SELECT {COLUMNS['events']} FROM events WHERE event_id > ? ORDER BY 1"  # noqa: S608 - names of our own


def place(connection: sqlite3.Connection, at_most: int = LAST_ID) -> Place:
    """Return the last place of the chain that is not after an id."""
    entry = "SELECT event_id, link FROM events WHERE event_id <= ? ORDER BY 1 DESC LIMIT 1"
    gap = "SELECT last_id, after FROM gaps WHERE last_id <= ? ORDER BY first_id DESC LIMIT 1"
    found = [connection.execute(query, (at_most,)).fetchone() for query in (entry, gap)]
    return max((Place(*row) for row in found if row), default=BEGINNING, key=lambda each: each.event_id)


def linked(connection: sqlite3.Connection, after: int, through: int = LAST_ID) -> Iterator[LinkedRow]:
    """Yield the entries after an id, in order."""
    for *facts, entry_link, body in connection.execute(_ENTRIES, (after,)):
        if facts[0] > through:
            return
        yield LinkedRow((*facts, body), entry_link)


def gaps(connection: sqlite3.Connection) -> list[Gap]:
    """Return the gaps that deleted entries left, in order."""
    return [Gap(*row) for row in connection.execute(f"SELECT {COLUMNS['gaps']} FROM gaps ORDER BY 1")]  # noqa: S608


def gap_ending_at(connection: sqlite3.Connection, event_id: int) -> Gap | None:
    """Return the gap whose last entry this was."""
    query = f"SELECT {COLUMNS['gaps']} FROM gaps WHERE last_id = ? ORDER BY first_id DESC LIMIT 1"  # noqa: S608
    row = connection.execute(query, (event_id,)).fetchone()
    return Gap(*row) if row else None


def put_gaps(connection: sqlite3.Connection, left: Iterable[Gap]) -> None:
    """Write gaps, in place of those with the same first entry."""
    rows = [(gap.first_id, gap.last_id, gap.at, gap.before, gap.after, gap.key_id, gap.signature) for gap in left]
    connection.executemany("INSERT OR REPLACE INTO gaps VALUES (?, ?, ?, ?, ?, ?, ?)", rows)


def heads(connection: sqlite3.Connection) -> list[Head]:
    """Return the heads that were kept, in order."""
    return [Head(*row) for row in connection.execute(f"SELECT {COLUMNS['heads']} FROM heads ORDER BY 1")]  # noqa: S608


def put_head(connection: sqlite3.Connection, head: Head, deleted_through: int) -> None:
    """Write a head, and drop those of entries that are deleted."""
    row = (head.event_id, head.at, head.link, head.key_id, head.signature)
    connection.execute("INSERT OR REPLACE INTO heads VALUES (?, ?, ?, ?, ?)", row)
    connection.execute("DELETE FROM heads WHERE event_id <= ? AND event_id < ?", (deleted_through, head.event_id))


def chain_all(connection: sqlite3.Connection) -> None:
    """Give every entry its link, as if those that are there had followed each other."""
    last, before = 0, BEGINNING.link
    query = "SELECT event_id, at, kind, node, incident_id, body FROM events WHERE event_id > ? ORDER BY 1 LIMIT ?"
    while rows := connection.execute(query, (last, ROWS_A_STEP)).fetchall():
        linked_ids = []
        for row in rows:
            before = link(before, row)
            linked_ids.append((before, row[0]))
        connection.executemany("UPDATE events SET link = ? WHERE event_id = ?", linked_ids)
        last = rows[-1][0]
