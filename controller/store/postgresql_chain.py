"""The chain of a log on PostgreSQL, on a connection that its caller has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import psycopg

from controller.store.chain import BEGINNING, Gap, Head, LinkedRow, Place, link
from controller.store.log import COLUMNS, LAST_ID

Connection = psycopg.Connection[Any]

ROWS_A_STEP = 5_000
ENTRIES = f"SELECT {COLUMNS['events']} FROM events WHERE event_id > %s AND event_id <= %s ORDER BY 1"  # noqa: S608

_LAST_ENTRY = "SELECT event_id, link FROM events WHERE event_id <= %s ORDER BY 1 DESC LIMIT 1"
_LAST_GAP = "SELECT last_id, after FROM gaps WHERE last_id <= %s ORDER BY first_id DESC LIMIT 1"
_PUT_GAP = """
    INSERT INTO gaps (first_id, last_id, at, before, after, key_id, signature) VALUES (%s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (first_id) DO UPDATE SET last_id = excluded.last_id, at = excluded.at, before = excluded.before,
        after = excluded.after, key_id = excluded.key_id, signature = excluded.signature
"""
_PUT_HEAD = """
    INSERT INTO heads (event_id, at, link, key_id, signature) VALUES (%s, %s, %s, %s, %s)
    ON CONFLICT (event_id) DO UPDATE SET at = excluded.at, link = excluded.link, key_id = excluded.key_id,
        signature = excluded.signature
"""
_SET_LINKS = """
    UPDATE events SET link = t.link FROM unnest(%b::bigint[], %b::bytea[]) AS t (event_id, link)
    WHERE events.event_id = t.event_id
"""


def place(connection: Connection, at_most: int = LAST_ID) -> Place:
    """Return the last place of the chain that is not after an id."""
    found = [connection.execute(query, (at_most,)).fetchone() for query in (_LAST_ENTRY, _LAST_GAP)]
    return max((Place(*row) for row in found if row), default=BEGINNING, key=lambda each: each.event_id)


def linked_of(row: Any) -> LinkedRow:
    """Return the entry that a row of `ENTRIES` holds."""
    *facts, entry_link, body = row
    return LinkedRow((*facts, body.encode()), bytes(entry_link))


def gaps(connection: Connection) -> list[Gap]:
    """Return the gaps that deleted entries left, in order."""
    query = f"SELECT {COLUMNS['gaps']} FROM gaps ORDER BY 1"  # noqa: S608 - names of our own
    return [Gap(*row) for row in connection.execute(query.encode())]


def gap_ending_at(connection: Connection, event_id: int) -> Gap | None:
    """Return the gap whose last entry this was."""
    query = f"SELECT {COLUMNS['gaps']} FROM gaps WHERE last_id = %s ORDER BY first_id DESC LIMIT 1"  # noqa: S608
    row = connection.execute(query.encode(), (event_id,)).fetchone()
    return Gap(*row) if row else None


def put_gaps(connection: Connection, left: Iterable[Gap]) -> None:
    """Write gaps, in place of those with the same first entry."""
    rows = [(gap.first_id, gap.last_id, gap.at, gap.before, gap.after, gap.key_id, gap.signature) for gap in left]
    connection.cursor().executemany(_PUT_GAP, rows)


def heads(connection: Connection) -> list[Head]:
    """Return the heads that were kept, in order."""
    query = f"SELECT {COLUMNS['heads']} FROM heads ORDER BY 1"  # noqa: S608 - names of our own
    return [Head(*row) for row in connection.execute(query.encode())]


def put_head(connection: Connection, head: Head) -> None:
    """Write a head, and drop those of entries that are deleted."""
    connection.execute(_PUT_HEAD, (head.event_id, head.at, head.link, head.key_id, head.signature))
    deleted = "(SELECT value::bigint FROM facts WHERE name = 'deleted_through')"
    connection.execute(
        f"DELETE FROM heads WHERE event_id <= {deleted} AND event_id < %s".encode(),  # noqa: S608 - words of our own
        (head.event_id,),
    )


def chain_all(connection: Connection) -> None:
    """Give every entry its link, as if those that are there had followed each other."""
    last, before = 0, BEGINNING.link
    query = "SELECT event_id, at, kind, node, incident_id, body FROM events WHERE event_id > %s ORDER BY 1 LIMIT %s"
    while rows := connection.execute(query, (last, ROWS_A_STEP)).fetchall():
        found = []
        for *facts, body in rows:
            before = link(before, (*facts, body.encode()))
            found.append(before)
        connection.execute(_SET_LINKS, ([row[0] for row in rows], found))
        last = rows[-1][0]
