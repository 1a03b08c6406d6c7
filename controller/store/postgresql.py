"""The event log on PostgreSQL: for a cell with several controllers, or one whose log outgrew a file.

Every commit names its term, and the database itself refuses one whose term is over. Commits are queued by the cell, so
that one transaction, in one round trip, serves all that came meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import psycopg

from controller.events import Logged
from controller.store import postgresql_chain
from controller.store.chain import Gap, Head, LinkedRow, Place, Row, links
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
from controller.store.postgresql_connection import Server, told
from controller.store.seals import Seals
from controller.store.taken import Taken

TERM_IS_OVER = "FM001"
"""SQLSTATE of our own function `check_term`; classes from I to Z are free for use. Source: SQL:2016, 24.1."""

ROWS_A_FETCH = 5_000
ANY_FENCE = -1
"""The term of who has begun none: no commit is ever taken under it."""

INSERT_EVENTS = """
    INSERT INTO events (event_id, at, kind, node, incident_id, body, link)
    SELECT * FROM unnest(%b::bigint[], %b::float8[], %b::text[], %b::text[], %b::text[], %b::text[], %b::bytea[])
"""
"""Binary, because the driver quotes each text of an array slowly: it is three times as fast at a thousand entries."""

UPSERT_TAKEN = """
    INSERT INTO taken (node, boot_id, numbers, heard_at)
    SELECT node, boot_id, numbers, %b FROM unnest(%b::text[], %b::text[], %b::text[]) AS t (node, boot_id, numbers)
    ON CONFLICT (node, boot_id) DO UPDATE SET numbers = excluded.numbers, heard_at = excluded.heard_at
"""

Answer = TypeVar("Answer")


_ABOUT_NODE = """((node = %s AND node <> '') OR (node = '' AND incident_id <> '' AND incident_id IN (
    SELECT incident_id FROM events WHERE node = %s AND node <> '' AND incident_id <> '')))"""
"""As in SQLite: what a step came to names its incident alone."""


class PostgresqlLog:
    """The append-only log of one cell, in one schema of one database."""

    def __init__(self, server: Server) -> None:
        """Connect, making or migrating the schema as needed.

        Raises:
            StoreError: it cannot be reached, or its schema is newer.
        """
        self.server = server
        self.name = server.name
        self.taken: dict[tuple[str, str], Taken] = {}
        self.term = ANY_FENCE
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="event-log")
        self._readers = ThreadPoolExecutor(max_workers=1, thread_name_prefix="event-log-reader")
        self._connection = server.connect()
        self._reading: psycopg.Connection[Any] | None = None
        self._tip: Place | None = None
        """The last place of the chain while nobody else can have written."""
        with self._told("prepare"):
            self._migrate()

    @contextlib.contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            if error.sqlstate == TERM_IS_OVER:
                raise Fenced(f"{self.name}: {told(error)}, another controller leads") from error
            raise StoreError(f"cannot {what} the event log {self.name}: {told(error)}") from error

    def _migrate(self) -> None:
        with self._connection.transaction():
            self._take_time()
            self._connection.execute("SELECT pg_advisory_xact_lock(hashtext('fleetmend schema'))")
            version = self._version()
            if version > SCHEMA_VERSION:
                raise StoreError(f"{self.name} has schema {version}, this version knows {SCHEMA_VERSION}: {GO_ON}")
            for migration in pending(version):
                with self._connection.transaction():
                    self._take_step(migration)

    def _version(self) -> int:
        if self._one("SELECT to_regclass('facts')") is None:
            return 0
        return int(self._one("SELECT value FROM facts WHERE name = 'schema'") or 0)

    def _take_step(self, migration: Migration) -> None:
        for statement in migration.postgresql:
            self._connection.execute(statement.encode())
        if migration.chains:
            postgresql_chain.chain_all(self._connection)
        self._connection.execute(
            "INSERT INTO facts VALUES ('schema', %s) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (str(migration.number),),
        )

    def _one(self, query: str, values: tuple[object, ...] = ()) -> Any:
        row = self._connection.execute(query.encode(), values).fetchone()
        return row[0] if row else None

    def begin_term(self, holder: str = "", url: str = "") -> int:
        """Return the fencing token of this controller's term: one more than any before it (I8)."""
        with self._told("begin a term in"), self._connection.transaction():
            row = self._connection.execute(NEXT_TERM).fetchone()
            assert row is not None
            self._connection.execute(NAME_LEADER, {"holder": holder, "url": url})
        self.term, self._tip = int(row[0]), None
        return self.term

    def begin_writing(self, term: int) -> None:
        """Write under a term that was begun on another session, on a connection that is surely fresh."""
        self._connection.close()
        self._connection = self.server.connect()
        self.term, self._tip = term, None

    def read(self, *, after: int = 0) -> Iterator[Logged]:
        """Yield the entries after an id, in order.

        Raises:
            StoreError: an entry cannot be understood, named by its id, or the connection broke.
        """
        query = "SELECT event_id, at, body FROM events WHERE event_id > %s ORDER BY 1"
        for event_id, at, body in self._stream(query, (after,)):
            yield logged_of(self.name, event_id, at, body)

    def _stream(self, query: str, values: tuple[object, ...]) -> Iterator[Any]:
        connection = self._connection
        with (
            self._told("read"),
            connection.transaction(),
            psycopg.ServerCursor(connection, "log") as cursor,
        ):
            cursor.itersize = ROWS_A_FETCH
            cursor.execute(query.encode(), values, binary=True)
            yield from cursor

    def recall_taken(self) -> dict[tuple[str, str], Taken]:
        """Read which messages were taken in, and return `taken`."""
        self.taken.clear()
        for node, boot_id, numbers, heard_at in self._stream("SELECT node, boot_id, numbers, heard_at FROM taken", ()):
            self.taken[node, boot_id] = Taken.parse(numbers, heard_at=heard_at)
        return self.taken

    async def append(self, entries: list[Logged], receipts: list[Receipt]) -> None:
        """Commit entries and receipts together.

        Raises:
            Fenced: a later term has begun; nothing of it is in the log.
            StoreError: it is unknown whether it is in the log when the connection broke; otherwise nothing of it is.
        """
        changes = changes_of(self.taken, receipts)
        await self._in_thread(self._commit, entries, changes)
        self.taken.update(changes)

    async def _in_thread(self, work: Callable[..., Answer], *arguments: Any) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    def _commit(self, entries: list[Logged], changes: dict[tuple[str, str], Taken]) -> None:
        now = time.time()
        for taken in changes.values():
            taken.heard_at = now
        columns, tip = self._chained([row_of(entry) for entry in entries])
        with self._told("write to"), self._connection.pipeline(), self._connection.transaction():
            self._connection.execute("SELECT check_term(%s)", (self.term,))
            if columns:
                self._connection.execute(INSERT_EVENTS, columns)
            if changes:
                nodes, boot_ids = zip(*changes, strict=True)
                numbers = [str(taken) for taken in changes.values()]
                self._connection.execute(UPSERT_TAKEN, (now, list(nodes), list(boot_ids), numbers))
        self._tip = tip

    def _chained(self, rows: list[Row]) -> tuple[list[list[Any]], Place]:
        """Return the columns of entries behind the last one, and the place to which the chain comes by them.

        What is read here holds until the commit, or else that is refused: it is of another term.
        """
        tip = self._last_place()
        if not rows:
            return [], tip
        found = links(tip.link, rows)
        columns: list[list[Any]] = [list(column) for column in zip(*rows, strict=True)]
        columns[-1] = [body.decode() for body in columns[-1]]
        return [*columns, found], Place(rows[-1][0], found[-1])

    async def timeline(self, *, node: str = "", incident_id: str = "", limit: int = 500) -> list[Logged]:
        """Return the newest entries about a node, an incident, or everything; newest last.

        It is read beside the writer, on a connection of its own: a page that is looked at delays no decision.
        """
        where, values = "", []
        if incident_id:
            where, values = "WHERE incident_id = %s AND incident_id <> ''", [incident_id]
        elif node:
            where, values = f"WHERE {_ABOUT_NODE}", [node, node]
        query = f"SELECT event_id, at, body FROM events {where} ORDER BY event_id DESC LIMIT %s"  # noqa: S608
        rows = await self._beside(query, (*values, limit))
        return [logged_of(self.name, *row) for row in reversed(rows)]

    async def follow(self, *, after: int, limit: int = 5_000) -> list[Logged]:
        """Return the next entries after an id, beside whoever writes; empty when there are none yet.

        Raises:
            StoreError: the log cannot be read now; a later call tries anew.
        """
        query = "SELECT event_id, at, body FROM events WHERE event_id > %s ORDER BY 1 LIMIT %s"
        return [logged_of(self.name, *row) for row in await self._beside(query, (after, limit))]

    async def back(self, *, before: int, after: int, kinds: Sequence[str]) -> list[Logged]:
        """Return the entries of these kinds between two ids, neither of them included, newest first.

        Raises:
            StoreError: the log cannot be read now; a later call tries anew.
        """
        query = (
            "SELECT event_id, at, body FROM events WHERE event_id < %s AND event_id > %s AND kind = ANY(%s) "
            "ORDER BY event_id DESC"
        )
        return [logged_of(self.name, *row) for row in await self._beside(query, (before, after, list(kinds)))]

    async def of_node(self, node: str, *, kinds: Sequence[str], limit: int) -> list[Logged]:
        """Return the newest entries of these kinds that name a node, newest last.

        Raises:
            StoreError: the log cannot be read now; a later call tries anew.
        """
        query = (
            "SELECT event_id, at, body FROM events WHERE node <> '' AND node = %s AND kind = ANY(%s) "
            "ORDER BY event_id DESC LIMIT %s"
        )
        rows = await self._beside(query, (node, list(kinds), limit))
        return [logged_of(self.name, *row) for row in reversed(rows)]

    async def size(self) -> StoreSize:
        """Return how large the log is."""
        rows = await self._beside(SIZE, ())
        return StoreSize(*rows[0])

    async def _beside(self, query: str, values: tuple[object, ...]) -> list[Any]:
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read_beside, query, values)

    def _read_beside(self, query: str, values: tuple[object, ...]) -> list[Any]:
        """Read on the second connection; one that broke is made anew, once, because reading again harms nothing."""
        because = ""
        for _ in range(2):
            if self._reading is None:
                self._reading = self.server.connect()
            try:
                return self._reading.execute(query.encode(), values).fetchall()
            except psycopg.Error as error:
                because = told(error)
                self._reading.close()
                self._reading = None
        raise StoreError(f"cannot read the event log {self.name}: {because}")

    async def forget_boots(self, boots: list[tuple[str, str]]) -> None:
        """Forget which messages of these (node, boot id) were taken in; none of them may ever come again."""
        await self._in_thread(self._forget, boots)
        for boot in boots:
            self.taken.pop(boot, None)

    def _forget(self, boots: list[tuple[str, str]]) -> None:
        with self._told("forget old boots in"), self._connection.transaction():
            self._connection.execute("SELECT check_term(%s)", (self.term,))
            self._connection.cursor().executemany("DELETE FROM taken WHERE node = %s AND boot_id = %s", boots)

    def deleted_through(self) -> int:
        """Return the last id up to which entries may be gone, 0 when the whole log is there."""
        with self._told("read"):
            return int(self._one("SELECT value FROM facts WHERE name = 'deleted_through'") or 0)

    def snapshots(self) -> list[Snapshot]:
        """Return the snapshots that are whole, newest first."""
        with self._told("read"):
            if self._connection.closed:
                self._connection = self.server.connect()
            rows = self._connection.execute("SELECT event_id, at, version, parts FROM snapshots ORDER BY 1 DESC")
            return [Snapshot(*row) for row in rows]

    def snapshot_parts(self, snapshot: Snapshot) -> Iterator[bytes]:
        """Yield the pieces of a snapshot in order."""
        for part in range(snapshot.parts):
            query = "SELECT body FROM snapshot_parts WHERE event_id = %s AND part = %s"
            with self._told("read"):
                row = self._connection.execute(query, (snapshot.event_id, part), binary=True).fetchone()
            if row is not None:
                yield bytes(row[0])

    def put_part(self, event_id: int, part: int, body: bytes) -> None:
        """Store a piece of a snapshot that is being written."""
        query = """
            INSERT INTO snapshot_parts (event_id, part, body) VALUES (%s, %s, %b)
            ON CONFLICT (event_id, part) DO UPDATE SET body = excluded.body
        """
        with self._told("write a snapshot to"):
            self._connection.execute(query, (event_id, part, body))

    def finish_snapshot(self, snapshot: Snapshot) -> None:
        """Make a snapshot count: all its pieces are stored."""
        query = "INSERT INTO snapshots (event_id, at, version, parts) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING"
        with self._told("finish a snapshot in"):
            self._connection.execute(query, (snapshot.event_id, snapshot.at, snapshot.version, snapshot.parts))

    def drop_parts_before(self, event_id: int, limit: int) -> int:
        """Drop pieces of older snapshots, at most `limit`; return how many."""
        older = """
            DELETE FROM snapshot_parts WHERE (event_id, part) IN
            (SELECT event_id, part FROM snapshot_parts WHERE event_id < %s ORDER BY 1, 2 LIMIT %s)
        """
        with self._told("drop old snapshots of"), self._connection.transaction():
            self._connection.execute("DELETE FROM snapshots WHERE event_id < %s", (event_id,))
            return self._connection.execute(older, (event_id, limit)).rowcount

    def delete_events(
        self, *, through: int, before: float, keep_incidents: frozenset[str], limit: int, seals: Seals = UNSEALED
    ) -> int:
        """Delete a batch of entries and return the last id looked at, 0 when there is nothing to delete any more."""
        after = self.deleted_through()
        with self._told("delete old entries of"), self._connection.transaction():
            rows = self._connection.execute(OLD_ENTRIES, (after, through, limit)).fetchall()
            if not (looked_at := old_enough(map(postgresql_chain.linked_of, rows), before)):
                return 0
            place = postgresql_chain.place(self._connection, after)
            last_gap = postgresql_chain.gap_ending_at(self._connection, place.event_id)
            deletion = Deleter(self.name, keep_incidents, seals, time.time()).deletion(looked_at, place, last_gap)
            postgresql_chain.put_gaps(self._connection, deletion.gaps)
            self._connection.execute("DELETE FROM events WHERE event_id = ANY(%s)", (deletion.gone,))
            self._connection.execute(NOTE_DELETED, {"last": str(deletion.last_id)})
        return deletion.last_id

    def place(self, *, at_most: int = LAST_ID) -> Place:
        """Return the last place of the chain that is not after an id."""
        with self._told("read"):
            return postgresql_chain.place(self._connection, at_most)

    def linked(self, *, after: int = 0) -> Iterator[LinkedRow]:
        """Yield the entries after an id as they are stored, in order; none of them need be understood."""
        yield from map(postgresql_chain.linked_of, self._stream(postgresql_chain.ENTRIES, (after, LAST_ID)))

    def gaps(self) -> list[Gap]:
        """Return the gaps that deleted entries left, in order."""
        with self._told("read"):
            return postgresql_chain.gaps(self._connection)

    def heads(self) -> list[Head]:
        """Return the heads that were kept, in order."""
        with self._told("read"):
            return postgresql_chain.heads(self._connection)

    async def last_place(self) -> Place:
        """Return the last place of the chain, between two commits."""
        return await self._in_thread(self._last_place)

    def _last_place(self) -> Place:
        """Return what this log wrote last itself, where it did: that is not what others made of it since."""
        return self._tip or self.place()

    async def keep_head(self, head: Head) -> None:
        """Keep a head, and forget those of entries that are deleted."""
        await self._in_thread(self._keep_head, head)

    def _keep_head(self, head: Head) -> None:
        with self._told("keep a head of"), self._connection.transaction():
            self._connection.execute("SELECT check_term(%s)", (self.term,))
            postgresql_chain.put_head(self._connection, head)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Have everything that is read inside be of one moment, while others write on."""
        with self._told("read"), self._connection.transaction():
            self._connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            self._take_time()
            yield

    def _take_time(self) -> None:
        """Lift this transaction's limits: it moves all that there is."""
        self._connection.execute("SET LOCAL statement_timeout = 0")
        self._connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")

    def dump(self, table: str) -> Iterator[tuple[object, ...]]:
        """Yield the rows of a table, in the order and with the types of SQLite's columns."""
        for row in self._stream(f"SELECT {COLUMNS[table]} FROM {table}", ()):  # noqa: S608 - names of our own
            yield (*row[:-1], row[-1].encode()) if table == "events" else row

    def load(self, tables: Iterable[tuple[str, Iterable[tuple[object, ...]]]]) -> None:
        """Fill tables of an empty log with rows as `dump` yields them, in one transaction."""
        with self._told("fill"), self._connection.transaction():
            self._take_time()
            for table, rows in tables:
                if table == "facts":
                    self._connection.cursor().executemany(PUT_FACT, rows)
                else:
                    self._copy_in(table, rows)

    def _copy_in(self, table: str, rows: Iterable[tuple[object, ...]]) -> None:
        statement = f"COPY {table} ({COLUMNS[table]}) FROM STDIN"
        with self._connection.cursor() as cursor, cursor.copy(statement.encode()) as copy:
            for row in rows:
                copy.write_row((*row[:-1], row[-1].decode()) if table == "events" else row)  # type: ignore[attr-defined]

    def raise_term(self, least: int) -> None:
        """Have the next term be above `least`."""
        with self._told("raise the term of"):
            self._connection.execute(RAISE_TERM, (least,))

    def close(self) -> None:
        """Finish what is being written and disconnect."""
        self._thread.shutdown(wait=True)
        self._readers.shutdown(wait=True)
        if self._reading is not None:
            self._reading.close()
        self._connection.close()


def open_log(url: str, password: str) -> PostgresqlLog:
    """Return the log at this address."""
    return PostgresqlLog(Server(url, password))


NEXT_TERM = "UPDATE facts SET value = (value::bigint + 1)::text WHERE name = 'term' RETURNING value"
RAISE_TERM = "UPDATE facts SET value = greatest(value::bigint, %s)::text WHERE name = 'term'"
PUT_FACT = "INSERT INTO facts VALUES (%s, %s) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
NAME_LEADER = """
    INSERT INTO facts VALUES ('holder', %(holder)s), ('url', %(url)s)
    ON CONFLICT (name) DO UPDATE SET value = excluded.value
"""
NOTE_DELETED = """
    INSERT INTO facts VALUES ('deleted_through', %(last)s) ON CONFLICT (name) DO UPDATE SET value = excluded.value
"""
OLD_ENTRIES = f"{postgresql_chain.ENTRIES} LIMIT %s".encode()
SIZE = """
    SELECT (pg_total_relation_size('events') + pg_total_relation_size('taken')
            + pg_total_relation_size('snapshot_parts'))::bigint,
        greatest(coalesce((SELECT max(event_id) FROM events), 0) - deleted, 0), deleted,
        coalesce((SELECT max(event_id) FROM snapshots), 0), coalesce((SELECT max(at) FROM snapshots), 0)
    FROM (SELECT coalesce((SELECT value::bigint FROM facts WHERE name = 'deleted_through'), 0) AS deleted) AS facts
"""
