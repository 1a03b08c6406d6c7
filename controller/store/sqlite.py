"""The event log on SQLite: the embedded default.

One writer thread commits whatever is queued as soon as the previous commit returns, so that one fsync serves every
event that came meanwhile. `synchronous=FULL`: what was acknowledged survives a power cut.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import msgspec

from controller.events import Event, Logged, incident_of, kind_of, node_of

SCHEMA_VERSION = 1
SCHEMA = """
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
"""


class StoreError(Exception):
    """The log cannot be opened or written; nothing may be decided without it."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """The identity of a message that was taken in: it is committed with the events it became."""

    node: str
    boot_id: str
    seq: int


_ABOUT_NODE = """(node != '' AND node = ?) OR (node = '' AND incident_id != '' AND incident_id IN (
    SELECT incident_id FROM events WHERE node != '' AND node = ? AND incident_id != ''))"""
"""What a step came to names its incident alone: without it a node's steps would all begin and none would end. The
inequalities are those of the indexes, which SQLite uses only where it sees them."""


class SqliteLog:
    """The append-only log of one cell."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="event-log")
        self._readers = ThreadPoolExecutor(max_workers=1, thread_name_prefix="event-log-reader")
        self._encoder = msgspec.json.Encoder(order="deterministic")
        self._decoder = msgspec.json.Decoder(Event)
        self._connection = self._open()
        self._reading = sqlite3.connect(path, check_same_thread=False, isolation_level=None)

    def _open(self) -> sqlite3.Connection:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA busy_timeout=5000")
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version > SCHEMA_VERSION:
                raise StoreError(f"{self._path} has schema {version}, this version knows {SCHEMA_VERSION}: upgrade")
            connection.executescript(SCHEMA)
            connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"cannot open the event log {self._path}: {error}") from error
        return connection

    def begin_term(self) -> int:
        """Return the fencing token of this controller's term: one more than any before it (I8)."""
        with self._connection as connection:
            connection.execute("BEGIN IMMEDIATE")
            row = connection.execute("SELECT value FROM facts WHERE name = 'term'").fetchone()
            term = int(row[0]) + 1 if row else 1
            connection.execute("INSERT OR REPLACE INTO facts VALUES ('term', ?)", (str(term),))
        return term

    def read(self, *, after: int = 0) -> Iterator[Logged]:
        """Yield the entries after an id, in order.

        Raises:
            StoreError: an entry cannot be understood, named by its id.
        """
        rows = self._connection.execute("SELECT event_id, at, body FROM events WHERE event_id > ? ORDER BY 1", (after,))
        for event_id, at, body in rows:
            yield self._logged(event_id, at, body)

    def _logged(self, event_id: int, at: float, body: bytes) -> Logged:
        try:
            return Logged(event_id, at, self._decoder.decode(body))
        except msgspec.DecodeError as error:
            raise StoreError(f"{self._path}: event {event_id} is no event of this version: {error}") from error

    def receipts(self) -> Iterator[Receipt]:
        """Yield every message identity that was ever taken in, in order of sequence."""
        for row in self._connection.execute("SELECT node, boot_id, seq FROM receipts ORDER BY node, boot_id, seq"):
            yield Receipt(*row)

    async def append(self, entries: list[Logged], receipts: list[Receipt]) -> None:
        """Commit entries and receipts together.

        Raises:
            StoreError: nothing of it is in the log.
        """
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._commit, entries, receipts)

    def _commit(self, entries: list[Logged], receipts: list[Receipt]) -> None:
        rows = [
            (e.event_id, e.at, kind_of(e.event), node_of(e.event), incident_of(e.event), self._encoder.encode(e.event))
            for e in entries
        ]
        seen = [(receipt.node, receipt.boot_id, receipt.seq) for receipt in receipts]
        try:
            with self._connection as connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", rows)
                connection.executemany("INSERT OR IGNORE INTO receipts VALUES (?, ?, ?)", seen)
        except sqlite3.Error as error:
            raise StoreError(f"cannot write to the event log {self._path}: {error}") from error

    async def timeline(self, *, node: str = "", incident_id: str = "", limit: int = 500) -> list[Logged]:
        """Return the newest entries about a node, an incident, or everything; newest last.

        It is read beside the writer, on a connection of its own: a page that is looked at delays no decision.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, self._timeline, node, incident_id, limit)

    def _timeline(self, node: str, incident_id: str, limit: int) -> list[Logged]:
        where, values = "1 = 1", []
        if incident_id:
            where, values = "incident_id = ?", [incident_id]
        elif node:
            where, values = _ABOUT_NODE, [node, node]
        query = f"SELECT event_id, at, body FROM events WHERE {where} ORDER BY event_id DESC LIMIT ?"  # noqa: S608
        rows = self._reading.execute(query, [*values, limit]).fetchall()
        return [self._logged(*row) for row in reversed(rows)]

    def close(self) -> None:
        """Finish what is being written and close the file."""
        self._thread.shutdown(wait=True)
        self._readers.shutdown(wait=True)
        self._reading.close()
        self._connection.close()
