"""The event log on SQLite: the embedded default.

One writer thread commits whatever is queued as soon as the previous commit returns, so that one fsync serves every
event that came meanwhile. `synchronous=FULL`: what was acknowledged survives a power cut.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from controller.events import Logged
from controller.store import sqlite_chain
from controller.store.chain import Gap, Head, LinkedRow, Place, Row, links, stored
from controller.store.deleting import Deleter, old_enough
from controller.store.log import (
    COLUMNS,
    LAST_ID,
    UNSEALED,
    Fenced,
    Receipt,
    Snapshot,
    StoreError,
    StoreSize,
    changes_of,
    logged_of,
    row_of,
)
from controller.store.migrations import GO_ON, SCHEMA_VERSION, Migration, pending
from controller.store.seals import Seals
from controller.store.taken import Taken

_ABOUT_NODE = """(node != '' AND node = ?) OR (node = '' AND incident_id != '' AND incident_id IN (
    SELECT incident_id FROM events WHERE node != '' AND node = ? AND incident_id != ''))"""
"""What a step came to names its incident alone: without it a node's steps would all begin and none would end. The
inequalities are those of the indexes, which SQLite uses only where it sees them."""
LOCK_LIMIT_MS = 30_000
"""How long a commit waits while another process writes. Compaction holds the lock for milliseconds, but it is niced: on
a machine without a free core it was seen to keep a commit for 1.7 s. Source: our measurement, with room."""

_INSERT = f"INSERT INTO events ({COLUMNS['events']}) VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - names of our own
USED = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"


class SqliteLog:
    """The append-only log of one cell, in one file."""

    def __init__(self, path: Path) -> None:
        """Open the file, making or migrating it as needed.

        Raises:
            StoreError: it cannot be opened, or is of a newer version.
        """
        self.path = path
        self.name = str(path)
        self.taken: dict[tuple[str, str], Taken] = {}
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="event-log")
        self._readers = ThreadPoolExecutor(max_workers=1, thread_name_prefix="event-log-reader")
        self._connection = self._open()
        self._reading = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self.term = self._stored_term()
        self._tip: Place | None = None
        """The last place of the chain while nobody else can have written."""

    def _open(self) -> sqlite3.Connection:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None)
            connection.execute(f"PRAGMA busy_timeout={LOCK_LIMIT_MS}")
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            version = _version(connection)
            if version > SCHEMA_VERSION:
                raise StoreError(f"{self.path} has schema {version}, this version knows {SCHEMA_VERSION}: {GO_ON}")
            for migration in pending(version):
                _migrate(connection, migration)
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"cannot open the event log {self.path}: {error}") from error
        return connection

    def _stored_term(self) -> int:
        return int(self._connection.execute("SELECT value FROM facts WHERE name = 'term'").fetchone()[0])

    def begin_term(self, holder: str = "", url: str = "") -> int:
        """Return the fencing token of this controller's term: one more than any before it (I8)."""
        with self._transaction("begin a term in"):
            self._tip = None
            self.term = self._stored_term() + 1
            for fact, value in (("term", str(self.term)), ("holder", holder), ("url", url)):
                self._connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (fact, value))
        return self.term

    def read(self, *, after: int = 0) -> Iterator[Logged]:
        """Yield the entries after an id, in order.

        Raises:
            StoreError: an entry cannot be understood, named by its id.
        """
        query = "SELECT event_id, at, body FROM events WHERE event_id > ? ORDER BY 1"
        for event_id, at, body in self._connection.execute(query, (after,)):
            yield logged_of(self.name, event_id, at, body)

    def recall_taken(self) -> dict[tuple[str, str], Taken]:
        """Read which messages were taken in, and return `taken`."""
        self.taken.clear()
        for node, boot_id, numbers, heard_at in self._connection.execute("SELECT * FROM taken"):
            self.taken[node, boot_id] = Taken.parse(numbers, heard_at=heard_at)
        return self.taken

    async def append(self, entries: list[Logged], receipts: list[Receipt]) -> None:
        """Commit entries and receipts together.

        Raises:
            Fenced: another controller began a later term.
            StoreError: nothing of it is in the log.
        """
        changes = changes_of(self.taken, receipts)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._commit, entries, changes)
        self.taken.update(changes)

    def _commit(self, entries: list[Logged], changes: dict[tuple[str, str], Taken]) -> None:
        rows = [row_of(entry) for entry in entries]
        now = time.time()
        for taken in changes.values():
            taken.heard_at = now
        seen = [(node, boot_id, str(taken), now) for (node, boot_id), taken in changes.items()]
        with self._transaction("write to"):
            if self._stored_term() != self.term:
                raise Fenced(f"{self.name}: term {self.term} is over, another controller leads")
            tip = self._put_events(rows)
            self._connection.executemany("INSERT OR REPLACE INTO taken VALUES (?, ?, ?, ?)", seen)
        self._tip = tip

    def _put_events(self, rows: list[Row]) -> Place:
        """Write entries behind the last one, and return the place to which the chain comes by that."""
        tip = self._tip or sqlite_chain.place(self._connection)
        if not rows:
            return tip
        found = links(tip.link, rows)
        self._connection.executemany(_INSERT, map(stored, rows, found))
        return Place(rows[-1][0], found[-1])

    @contextlib.contextmanager
    def _transaction(self, what: str) -> Iterator[None]:
        with self._told(what), self._connection as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield

    @contextlib.contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(f"cannot {what} the event log {self.path}: {error}") from error

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
        with self._told("read"):
            rows = self._reading.execute(query, [*values, limit]).fetchall()
        return [logged_of(self.name, *row) for row in reversed(rows)]

    async def follow(self, *, after: int, limit: int = 5_000) -> list[Logged]:
        """Return the next entries after an id, beside whoever writes; empty when there are none yet.

        Raises:
            StoreError: the log cannot be read now; a later call tries anew.
        """
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._follow, after, limit)

    def _follow(self, after: int, limit: int) -> list[Logged]:
        query = "SELECT event_id, at, body FROM events WHERE event_id > ? ORDER BY 1 LIMIT ?"
        with self._told("read"):
            rows = self._reading.execute(query, (after, limit)).fetchall()
        return [logged_of(self.name, *row) for row in rows]

    async def back(self, *, before: int, after: int, kinds: Sequence[str]) -> list[Logged]:
        """Return the entries of these kinds between two ids, neither of them included, newest first.

        Raises:
            StoreError: the log cannot be read now; a later call tries anew.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, self._back, before, after, tuple(kinds))

    def _back(self, before: int, after: int, kinds: tuple[str, ...]) -> list[Logged]:
        places = ", ".join("?" * len(kinds))
        query = (
            "SELECT event_id, at, body FROM events WHERE event_id < ? AND event_id > ? "  # noqa: S608
            f"AND kind IN ({places}) ORDER BY event_id DESC"
        )
        with self._told("read"):
            rows = self._reading.execute(query, (before, after, *kinds)).fetchall()
        return [logged_of(self.name, *row) for row in rows]

    async def of_node(self, node: str, *, kinds: Sequence[str], limit: int) -> list[Logged]:
        """Return the newest entries of these kinds that name a node, newest last.

        Raises:
            StoreError: the log cannot be read now; a later call tries anew.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, self._of_node, node, tuple(kinds), limit)

    def _of_node(self, node: str, kinds: tuple[str, ...], limit: int) -> list[Logged]:
        places = ", ".join("?" * len(kinds))
        query = (
            "SELECT event_id, at, body FROM events WHERE node != '' AND node = ? "  # noqa: S608
            f"AND kind IN ({places}) ORDER BY event_id DESC LIMIT ?"
        )
        with self._told("read"):
            rows = self._reading.execute(query, (node, *kinds, limit)).fetchall()
        return [logged_of(self.name, *row) for row in reversed(rows)]

    async def size(self) -> StoreSize:
        """Return how large the log is."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._size)

    def _size(self) -> StoreSize:
        with self._told("read"):
            used = self._reading.execute(USED).fetchone()[0]
            last = self._reading.execute("SELECT coalesce(max(event_id), 0) FROM events").fetchone()[0]
            deleted = _deleted_through(self._reading)
            newest = next(iter(_snapshots(self._reading)), Snapshot(0, 0.0, 0, 0))
        return StoreSize(used, max(0, last - deleted), deleted, newest.event_id, newest.at)

    async def forget_boots(self, boots: list[tuple[str, str]]) -> None:
        """Forget which messages of these (node, boot id) were taken in; none of them may ever come again."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._forget, boots)
        for boot in boots:
            self.taken.pop(boot, None)

    def _forget(self, boots: list[tuple[str, str]]) -> None:
        with self._transaction("forget old boots in"):
            self._connection.executemany("DELETE FROM taken WHERE node = ? AND boot_id = ?", boots)

    def deleted_through(self) -> int:
        """Return the last id up to which entries may be gone, 0 when the whole log is there."""
        return _deleted_through(self._connection)

    def snapshots(self) -> list[Snapshot]:
        """Return the snapshots that are whole, newest first."""
        return _snapshots(self._connection)

    def snapshot_parts(self, snapshot: Snapshot) -> Iterator[bytes]:
        """Yield the pieces of a snapshot in order."""
        query = "SELECT body FROM snapshot_parts WHERE event_id = ? ORDER BY part"
        for (body,) in self._connection.execute(query, (snapshot.event_id,)):
            yield body

    def put_part(self, event_id: int, part: int, body: bytes) -> None:
        """Store a piece of a snapshot that is being written."""
        with self._transaction("write a snapshot to"):
            self._connection.execute("INSERT OR REPLACE INTO snapshot_parts VALUES (?, ?, ?)", (event_id, part, body))

    def finish_snapshot(self, snapshot: Snapshot) -> None:
        """Make a snapshot count: all its pieces are stored."""
        values = (snapshot.event_id, snapshot.at, snapshot.version, snapshot.parts)
        with self._transaction("finish a snapshot in"):
            self._connection.execute("INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?, ?)", values)

    def drop_parts_before(self, event_id: int, limit: int) -> int:
        """Drop pieces of older snapshots, at most `limit`; return how many."""
        older = "SELECT event_id, part FROM snapshot_parts WHERE event_id < ? ORDER BY event_id, part LIMIT ?"
        with self._transaction("drop old snapshots of"):
            self._connection.execute("DELETE FROM snapshots WHERE event_id < ?", (event_id,))
            rows = self._connection.execute(older, (event_id, limit)).fetchall()
            self._connection.executemany("DELETE FROM snapshot_parts WHERE event_id = ? AND part = ?", rows)
        return len(rows)

    def delete_events(
        self, *, through: int, before: float, keep_incidents: frozenset[str], limit: int, seals: Seals = UNSEALED
    ) -> int:
        """Delete a batch of entries and return the last id looked at, 0 when there is nothing to delete any more."""
        after = self.deleted_through()
        batch = islice(sqlite_chain.linked(self._connection, after, through), limit)
        if not (looked_at := old_enough(batch, before)):
            return 0
        place, last_gap = sqlite_chain.place(self._connection, after), None
        if place.event_id:
            last_gap = sqlite_chain.gap_ending_at(self._connection, place.event_id)
        deletion = Deleter(self.name, keep_incidents, seals, time.time()).deletion(looked_at, place, last_gap)
        with self._transaction("delete old entries of"):
            sqlite_chain.put_gaps(self._connection, deletion.gaps)
            gone = [(event_id,) for event_id in deletion.gone]
            self._connection.executemany("DELETE FROM events WHERE event_id = ?", gone)
            last = str(deletion.last_id)
            self._connection.execute("INSERT OR REPLACE INTO facts VALUES ('deleted_through', ?)", (last,))
        return deletion.last_id

    def place(self, *, at_most: int = LAST_ID) -> Place:
        """Return the last place of the chain that is not after an id."""
        with self._told("read"):
            return sqlite_chain.place(self._connection, at_most)

    def linked(self, *, after: int = 0) -> Iterator[LinkedRow]:
        """Yield the entries after an id as they are stored, in order; none of them need be understood."""
        with self._told("read"):
            yield from sqlite_chain.linked(self._connection, after)

    def gaps(self) -> list[Gap]:
        """Return the gaps that deleted entries left, in order."""
        with self._told("read"):
            return sqlite_chain.gaps(self._connection)

    def heads(self) -> list[Head]:
        """Return the heads that were kept, in order."""
        with self._told("read"):
            return sqlite_chain.heads(self._connection)

    async def last_place(self) -> Place:
        """Return the last place of the chain, between two commits."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._last_place)

    def _last_place(self) -> Place:
        """Return what this log wrote last itself, where it did: that is not what others made of it since."""
        return self._tip or self.place()

    async def keep_head(self, head: Head) -> None:
        """Keep a head, and forget those of entries that are deleted."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._keep_head, head)

    def _keep_head(self, head: Head) -> None:
        with self._transaction("keep a head of"):
            sqlite_chain.put_head(self._connection, head, self.deleted_through())

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Have everything that is read inside be of one moment, while others write on."""
        self._connection.execute("BEGIN")
        try:
            yield
        finally:
            self._connection.execute("COMMIT")

    def dump(self, table: str) -> Iterator[tuple[object, ...]]:
        """Yield the rows of a table."""
        yield from self._connection.execute(f"SELECT {COLUMNS[table]} FROM {table}")  # noqa: S608 - names of our own

    def load(self, tables: Iterable[tuple[str, Iterable[tuple[object, ...]]]]) -> None:
        """Fill tables of an empty log with rows as `dump` yields them, in one transaction."""
        with self._transaction("fill"):
            for table, rows in tables:
                places = ", ".join("?" for _ in COLUMNS[table].split(","))
                statement = f"INSERT OR REPLACE INTO {table} ({COLUMNS[table]}) VALUES ({places})"  # noqa: S608
                self._connection.executemany(statement, rows)

    def raise_term(self, least: int) -> None:
        """Have the next term be above `least`."""
        with self._transaction("raise the term of"):
            term = max(least, self._stored_term())
            self._connection.execute("INSERT OR REPLACE INTO facts VALUES ('term', ?)", (str(term),))

    def settle(self) -> None:
        """Make the file one that needs no other beside it."""
        self._reading.close()
        self._connection.execute("PRAGMA journal_mode=DELETE")

    def damage(self) -> str:
        """Return what is broken in the file, empty when nothing is."""
        found = str(self._connection.execute("PRAGMA integrity_check(1)").fetchone()[0])
        return "" if found == "ok" else found

    def close(self) -> None:
        """Finish what is being written and close the file."""
        self._thread.shutdown(wait=True)
        self._readers.shutdown(wait=True)
        self._reading.close()
        self._connection.close()


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _migrate(connection: sqlite3.Connection, migration: Migration) -> None:
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        if _version(connection) >= migration.number:
            return
        for statement in migration.sqlite:
            connection.execute(statement)
        if migration.chains:
            sqlite_chain.chain_all(connection)
        connection.execute(f"PRAGMA user_version={migration.number}")


def _deleted_through(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT value FROM facts WHERE name = 'deleted_through'").fetchone()
    return int(row[0]) if row else 0


def _snapshots(connection: sqlite3.Connection) -> list[Snapshot]:
    rows = connection.execute("SELECT event_id, at, version, parts FROM snapshots ORDER BY 1 DESC")
    return [Snapshot(*row) for row in rows]
