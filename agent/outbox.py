"""What a node has to say, kept on its own disk until the controller has stored it.

One SQLite file holds the events of this boot and of earlier ones, and the small state that the agent must not forget. A
power cut loses nothing that `put` returned for. A full or read-only disk is no reason to fall silent: what cannot be
written is kept in memory, sent all the same, and written once that works again.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from agent.database_file import Damaged, OpenFile, is_damage, set_aside, why_no_file
from wire.messages import EventBody, Unknown, event_of

log = structlog.get_logger()

MAX_ROWS: Final = 100_000
MAX_BYTES: Final = 67_108_864
"""A day of edges is about 2 MB, so that these caps are reached by a flood or a very long absence alone."""

LOG_EVERY_S: Final = 60.0
RETRY_S: Final = 1.0
MAX_IN_MEMORY: Final = 10_000
"""So many events at most while the disk takes nothing."""

MAX_MOMENTS: Final = 256
"""Of so many of the oldest events it is known when they were written. Source: our choice; more than go out at once."""

SCHEMA_VERSION: Final = 1
_SCHEMA: Final = """
PRAGMA user_version = 1;
CREATE TABLE IF NOT EXISTS boots (boot_id TEXT PRIMARY KEY, last_seq INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS events (
    number INTEGER PRIMARY KEY, boot_id TEXT NOT NULL, seq INTEGER NOT NULL, observed_at REAL NOT NULL,
    body BLOB NOT NULL, UNIQUE (boot_id, seq)
);
CREATE TABLE IF NOT EXISTS state (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
"""

_INSERT: Final = "INSERT OR IGNORE INTO events (boot_id, seq, observed_at, body) VALUES (?, ?, ?, ?)"
"""One that is there already is the same: no number is ever given twice."""

_DROPPED: Final = "outbox.dropped"

_encoder = msgspec.json.Encoder()
_state_decoder = msgspec.json.Decoder(dict[str, Any])


@dataclass(frozen=True, slots=True)
class Pending:
    """One event that is not known to be stored. (`boot_id`, `seq`) names it on this node for ever.

    `recorded_at`: Unix time at which it was safe on the disk, 0 when that is not known.
    """

    boot_id: str
    seq: int
    observed_at: float
    body: EventBody | Unknown
    recorded_at: float = 0.0


@dataclass(slots=True)
class _Memory:
    """What the disk did not take yet."""

    events: list[Pending] = field(default_factory=list)
    state: dict[str, bytes] = field(default_factory=dict)
    stored: set[tuple[str, int]] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.events or self.state or self.stored)


class Outbox:
    """The outbox of one node in one boot.

    Attributes:
        dropped: how many events were given up because the caps were reached, or could not be read any more.
        problem: why the disk does not take anything now; empty while it does.
    """

    def __init__(
        self,
        path: Path,
        boot_id: str,
        *,
        max_rows: int = MAX_ROWS,
        max_bytes: int = MAX_BYTES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Open the file, or begin one. A damaged one is set aside; one that cannot be opened is tried again later.

        Args:
            clock: gives Unix seconds.
        """
        self.dropped = 0
        self.problem = ""
        self._path, self._boot_id, self._clock = path, boot_id, clock
        self._max_rows, self._max_bytes = max_rows, max_bytes
        self._connection: sqlite3.Connection | None = None
        self._file = OpenFile(path)
        self._last_seq = 0
        self._rows = self._bytes = 0
        self._memory = _Memory()
        self._recorded_at: dict[tuple[str, int], float] = {}
        self._logged_at: dict[str, float] = {}
        self._tried_at = 0.0
        self.flush()

    def put(self, body: EventBody, observed_at: float) -> int:
        """Keep an event until it is stored, and return its number: larger than every earlier one of this boot.

        It is on disk on return, or in memory while the disk takes nothing (`problem`).
        """
        self.flush()
        event = Pending(self._boot_id, self._last_seq + 1, observed_at, body)
        if self._memory or not self._write(lambda database: self._insert(database, [event])):
            event = self._keep_in_memory(event)
        elif len(self._recorded_at) < MAX_MOMENTS:
            self._recorded_at[self._boot_id, event.seq] = self._clock()
        self._last_seq = max(self._last_seq, event.seq)
        self._enforce_caps()
        return event.seq

    def pending(self, limit: int) -> list[Pending]:
        """Return the oldest events that are not stored yet, at most `limit`, oldest first."""
        self.flush()
        stored = self._memory.stored
        rows = self._rows_of(
            "SELECT boot_id, seq, observed_at, body FROM events ORDER BY number LIMIT ?", (limit + len(stored),)
        )
        events = [self._decoded(row) for row in rows]
        kept = [event for event in events if event is not None and (event.boot_id, event.seq) not in stored]
        return [*kept, *self._memory.events][:limit]

    def stored(self, boot_id: str, seqs: Iterable[int]) -> None:
        """Forget the events that the controller has stored."""
        names = {(boot_id, seq) for seq in seqs}
        self._memory.events = [event for event in self._memory.events if (event.boot_id, event.seq) not in names]
        if not self._write(lambda database: self._delete(database, names)):
            self._memory.stored |= names

    def depth(self) -> int:
        """Return how many events wait."""
        return max(0, self._rows - len(self._memory.stored)) + len(self._memory.events)

    def oldest_at(self) -> float | None:
        """Return when the oldest event that waits was observed, Unix seconds, `None` when none waits."""
        return next((event.observed_at for event in self.pending(1)), None)

    def load(self, key: str) -> dict[str, Any]:
        """Return what was saved under the key, empty when nothing was or it cannot be read any more."""
        rows = self._rows_of("SELECT value FROM state WHERE key = ?", (key,))
        encoded = self._memory.state.get(key) or (rows[0][0] if rows else b"{}")
        try:
            return _state_decoder.decode(encoded)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            log.error("state.lost", key=key, because=str(error))
            return {}

    def save(self, key: str, value: dict[str, Any]) -> None:
        """Keep the value under the key, in place of what was there; see `put` for where."""
        encoded = _encoder.encode(value)
        self.flush()
        self._memory.state.pop(key, None)
        if not self._write(lambda database: _upsert_state(database, {key: encoded})):
            self._memory.state[key] = encoded

    def flush(self) -> bool:
        """Write what is in memory only, and return whether everything is on disk now. A disk that took nothing is asked
        again after RETRY_S."""
        if self._connection is not None and self._file.is_gone():
            self._rescue(self._connection)
        if self._connection is not None and not self._memory:
            return True
        if self.problem and abs(self._clock() - self._tried_at) < RETRY_S:
            return False
        self._tried_at = self._clock()
        return self._write(self._insert_memory)

    def close(self) -> None:
        """Write what can be written and close the file."""
        if self._memory:
            self._write(self._insert_memory)
        self._close()

    def _rescue(self, database: sqlite3.Connection) -> None:
        """Take what an open file still holds that was deleted, replaced or cut short, to write it into another."""
        log.error("outbox.replaced", path=str(self._path), because="its file is another than was opened, or shorter")
        try:
            rows = database.execute("SELECT boot_id, seq, observed_at, body FROM events ORDER BY number").fetchall()
            state = dict(database.execute("SELECT key, value FROM state").fetchall())
        except sqlite3.Error as error:
            self._note_problem(error)
            return
        events = [event for event in map(self._decoded, rows) if event is not None]
        self._memory.events = [*events, *self._memory.events]
        self._memory.state = {**state, **self._memory.state}
        self._close()
        self._rows = self._bytes = 0

    def _keep_in_memory(self, event: Pending) -> Pending:
        """Keep the event under a number that the disk need not know of: were the agent killed now, numbers would go on
        from what the disk has, far below, so that none is ever given twice."""
        event = replace(event, seq=max(event.seq, self._fresh_seq()))
        self._memory.events.append(event)
        return event

    def _fresh_seq(self) -> int:
        """Return a number above all that were ever given: milliseconds run faster than events."""
        return int(self._clock() * 1000)

    def _insert_memory(self, database: sqlite3.Connection) -> None:
        memory = self._memory
        self._insert(database, memory.events)
        _upsert_state(database, memory.state)
        self._delete(database, memory.stored)

    def _insert(self, database: sqlite3.Connection, events: Iterable[Pending]) -> None:
        for event in events:
            body = _encoder.encode(event.body)
            values = (event.boot_id, event.seq, event.observed_at, body)
            added = database.execute(_INSERT, values).rowcount
            database.execute(
                "UPDATE boots SET last_seq = max(last_seq, ?) WHERE boot_id = ?", (event.seq, event.boot_id)
            )
            self._rows, self._bytes = self._rows + added, self._bytes + added * len(body)

    def _delete(self, database: sqlite3.Connection, names: Iterable[tuple[str, int]]) -> None:
        here = "FROM events WHERE boot_id = ? AND seq = ?"
        for name in names:
            self._recorded_at.pop(name, None)
            # In two statements and not by RETURNING, which the SQLite of RHEL 9 (3.34) does not know.
            for (size,) in database.execute(f"SELECT length(body) {here}", name).fetchall():
                database.execute(f"DELETE {here}", name)
                self._rows, self._bytes = self._rows - 1, self._bytes - size

    def _enforce_caps(self) -> None:
        """Give up the oldest events beyond the caps, and count them."""
        rows = self._rows
        if self._is_over() and self._write(self._drop_oldest):
            self._note_dropped(rows - self._rows)
        excess = len(self._memory.events) - MAX_IN_MEMORY
        if excess > 0:
            del self._memory.events[:excess]
            self._note_dropped(excess)

    def _is_over(self) -> bool:
        return self._rows > 1 and (self._rows > self._max_rows or self._bytes > self._max_bytes)

    def _drop_oldest(self, database: sqlite3.Connection) -> None:
        rows = self._rows
        while self._is_over():
            oldest = database.execute("SELECT boot_id, seq FROM events ORDER BY number LIMIT 1").fetchall()
            self._delete(database, oldest)
        _upsert_state(database, {_DROPPED: _encoder.encode({"count": self.dropped + rows - self._rows})})

    def _note_dropped(self, count: int) -> None:
        self.dropped += count
        self._log_sometimes("outbox.overflowed", path=str(self._path), dropped=self.dropped)

    def _decoded(self, row: tuple[str, int, float, bytes]) -> Pending | None:
        """Return the event, as it is where a newer version wrote it; one that is none is given up and counted."""
        boot_id, seq, observed_at, body = row
        try:
            recorded_at = self._recorded_at.get((boot_id, seq), 0.0)
            return Pending(boot_id, seq, observed_at, event_of(body), recorded_at)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            log.error("event.unreadable", boot_id=boot_id, seq=seq, because=str(error))
            self.dropped += 1
            self.stored(boot_id, [seq])
            return None

    def _rows_of(self, query: str, values: tuple[Any, ...]) -> list[Any]:
        """Return what is on disk, nothing when it cannot be read."""
        try:
            return self._opened().execute(query, values).fetchall()
        except (sqlite3.Error, OSError) as error:
            self._note_problem(error)
            return []

    def _write(self, work: Callable[[sqlite3.Connection], None]) -> bool:
        """Do the work, and all that is in memory only, in one transaction; return whether the disk took it."""
        rows, size = self._rows, self._bytes
        try:
            database = self._opened()
            rows, size = self._rows, self._bytes
            with database:
                database.execute("BEGIN IMMEDIATE")
                work(database)
        except (sqlite3.Error, OSError) as error:
            self._rows, self._bytes = rows, size
            self._note_problem(error)
            return False
        if work == self._insert_memory:
            self._memory = _Memory()
        self.problem = ""
        return True

    def _note_problem(self, error: sqlite3.Error | OSError) -> None:
        if is_damage(error):
            self._close()
            with contextlib.suppress(OSError):
                self._set_aside(error)
        self.problem = f"{self._path}: {error}"
        self._log_sometimes("outbox.unwritable", path=str(self._path), because=str(error))

    def _opened(self) -> sqlite3.Connection:
        """Return the connection; a damaged file is set aside once and a new one begun."""
        if self._connection is not None:
            return self._connection
        try:
            self._connection = self._open()
        except sqlite3.Error as error:
            if not is_damage(error):
                raise
            self._set_aside(error)
            self._connection = self._open()
        return self._connection

    def _open(self) -> sqlite3.Connection:
        """Open the file, look whether it is sound, and learn what is in it."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if flaw := why_no_file(self._path):
            raise Damaged(flaw)
        self._file = OpenFile(self._path)
        database = sqlite3.connect(self._path, isolation_level=None, timeout=1.0)
        try:
            _check_sound(database)
            database.executescript(_SCHEMA)
            self._last_seq = max(self._last_seq, self._begin_boot(database))
            self._recall(database)
        except BaseException:
            database.close()
            raise
        return database

    def _begin_boot(self, database: sqlite3.Connection) -> int:
        """Return the last number given in this boot. A new file cannot know what a lost one gave: it begins above."""
        last_seqs = dict(database.execute("SELECT boot_id, last_seq FROM boots").fetchall())
        if self._boot_id not in last_seqs:
            last_seqs[self._boot_id] = 0 if last_seqs else self._fresh_seq()
            database.execute("INSERT INTO boots VALUES (?, ?)", (self._boot_id, last_seqs[self._boot_id]))
            database.execute(
                "DELETE FROM boots WHERE boot_id != ? AND boot_id NOT IN (SELECT boot_id FROM events)", (self._boot_id,)
            )
        return int(last_seqs[self._boot_id])

    def _recall(self, database: sqlite3.Connection) -> None:
        counts = "SELECT count(*), coalesce(sum(length(body)), 0) FROM events"
        self._rows, self._bytes = database.execute(counts).fetchone()
        for (value,) in database.execute("SELECT value FROM state WHERE key = ?", (_DROPPED,)).fetchall():
            self.dropped = max(self.dropped, int(_state_decoder.decode(value)["count"]))

    def _set_aside(self, error: Exception) -> None:
        """Move the damaged file out of the way, with what belongs to it."""
        aside = set_aside(self._path, self._fresh_seq())
        self._rows = self._bytes = 0
        log.error("outbox.damaged", path=str(self._path), set_aside=str(aside), because=str(error))

    def _close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _log_sometimes(self, event: str, **facts: Any) -> None:
        now = self._clock()
        if abs(now - self._logged_at.get(event, -LOG_EVERY_S)) >= LOG_EVERY_S:
            self._logged_at[event] = now
            log.error(event, **facts)


def _check_sound(database: sqlite3.Connection) -> None:
    database.execute("PRAGMA journal_mode = WAL").fetchone()
    database.execute("PRAGMA synchronous = FULL")
    (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise Damaged(verdict)
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version not in (0, SCHEMA_VERSION):
        raise Damaged(f"schema version {version}, this agent writes {SCHEMA_VERSION}")


def _upsert_state(database: sqlite3.Connection, state: Mapping[str, bytes]) -> None:
    database.executemany(
        "INSERT INTO state VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", list(state.items())
    )
