"""From one store to another: a backup is a log in a SQLite file, whatever it was taken from, and can go anywhere.

A backup is taken while controllers run. It goes into an empty log only, and the term goes up with it: nodes refuse
orders of a term older than one that they have seen, and a backup is always older. One entry is added to what the backup
holds: that the log was restored.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from controller import durable
from controller.events import Logged, LogRestored
from controller.store.chain import link, stored
from controller.store.log import EventLog, StoreError, row_of
from controller.store.snapshot import restore
from controller.store.sqlite import SqliteLog

TABLES = ("events", "gaps", "heads", "taken", "snapshot_parts", "snapshots", "facts")
SUFFIX = ".backup"
KEPT_FACTS = frozenset({"term", "deleted_through"})


class BackupError(Exception):
    """A backup cannot be written or is none; with the file's name and why."""


class NotEmpty(Exception):
    """A backup goes into an empty log only."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a backup holds. `last_event_id` is 0 when nothing has ever happened."""

    last_event_id: int
    events: int
    nodes: int
    incidents: int


def named_by_time(folder: Path, cell: str, at: float) -> Path:
    """Return how a backup of a cell is called in a folder of them; names sort by time."""
    return folder / f"fleetmend-{cell}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(at))}{SUFFIX}"


def forget_older(newest: Path, cell: str, *, keep: int) -> list[Path]:
    """Delete the oldest backups of a cell beside the newest, and what a killed run left; return the backups that went.

    Args:
        keep: so many stay, the newest among them, whatever the clock said meanwhile.

    Raises:
        OSError: one cannot be deleted.
    """
    ours = re.compile(
        rf"fleetmend-{re.escape(cell)}-\d{{8}}T\d{{6}}Z{re.escape(SUFFIX)}(?P<left>\.partial.*)?", re.ASCII
    )
    found = {path: match for path in newest.parent.iterdir() if (match := ours.fullmatch(path.name))}
    others = sorted(path for path, match in found.items() if path != newest and not match["left"])
    gone = others[: max(0, len(others) - (keep - 1))]
    for each in (*gone, *(path for path, match in found.items() if match["left"])):
        each.unlink()
    return gone


def back_up(event_log: EventLog, file: Path) -> Contents:
    """Write all that the log holds at one moment into a new file, read it back, and return what it holds.

    Raises:
        BackupError: the file is there already, or cannot be written.
        StoreError: the log cannot be read.
    """
    if file.exists():
        raise BackupError(f"{file} is there already; a backup goes into a new file")
    partial = file.with_name(file.name + ".partial")
    try:
        partial.unlink(missing_ok=True)
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with closing(SqliteLog(partial)) as copy:
            with event_log.frozen():
                copy.load((table, _rows(event_log, table)) for table in TABLES)
            contents = _contents(copy)
            copy.settle()
        partial.rename(file)
        durable.sync_directory(file.parent)
    except OSError as error:
        raise BackupError(f"{file} cannot be written: {error.strerror or error}") from error
    finally:
        for left in (partial, *(partial.with_name(partial.name + end) for end in ("-wal", "-shm"))):
            left.unlink(missing_ok=True)
    return contents


def _rows(event_log: EventLog, table: str, *, but: str = "") -> Iterator[tuple[object, ...]]:
    facts = KEPT_FACTS - {but}
    for row in event_log.dump(table):
        if table != "facts" or row[0] in facts:
            yield row


def put_back(file: Path, event_log: EventLog) -> Contents:
    """Fill an empty log from a backup, read it back, and return what the backup holds.

    Raises:
        BackupError: the file is no backup of this or an earlier version.
        NotEmpty: something is in the log.
        StoreError: the log cannot be written.
    """
    if next(event_log.read(), None) is not None or event_log.snapshots():
        raise NotEmpty(f"{event_log.name} is not empty; a backup goes into an empty log only")
    with tempfile.TemporaryDirectory(prefix="fleetmend-restore-") as directory:
        copy = Path(directory) / "backup.sqlite"
        try:
            with file.open("rb") as content:
                is_sqlite = content.read(16) == b"SQLite format 3\0"
            shutil.copyfile(file, copy)
        except OSError as error:
            raise BackupError(f"{file} cannot be read: {error.strerror}") from error
        if not is_sqlite:
            raise BackupError(f"{file} is no backup: it is not in SQLite's format")
        try:
            source = SqliteLog(copy)
        except StoreError as error:
            raise BackupError(f"{file} is no backup that can be used: {error.__cause__ or error}") from error
        with closing(source):
            held = _checked(source, file)
            event_log.raise_term(max(int(time.time()), source.term))
            restored = Logged(held.last_event_id + 1, time.time(), LogRestored(held.last_event_id))
            last = _behind(source.place().link, restored)
            event_log.load((table, _with(last, table, _rows(source, table, but="term"))) for table in TABLES)
    found = _contents(event_log)
    if found != replace(held, last_event_id=restored.event_id, events=held.events + 1):
        raise StoreError(f"{event_log.name} holds {found} after restoring, {file} holds {held}")
    return held


def _behind(before: bytes, entry: Logged) -> tuple[object, ...]:
    """Return the row of an entry that follows a link."""
    row = row_of(entry)
    return stored(row, link(before, row))


def _with(last: tuple[object, ...], table: str, rows: Iterator[tuple[object, ...]]) -> Iterator[tuple[object, ...]]:
    yield from rows
    if table == "events":
        yield last


def _checked(source: SqliteLog, file: Path) -> Contents:
    damage = source.damage()
    if damage:
        raise BackupError(f"{file} is damaged: {damage}")
    try:
        return _contents(source)
    except StoreError as error:
        raise BackupError(f"{file} is no backup that can be used: {error}") from error


def _contents(event_log: EventLog) -> Contents:
    """Fold the log as a controller does at its start, and decode every entry."""
    belief, _ = restore(event_log)
    events = sum(1 for _ in event_log.read())
    return Contents(belief.last_event_id, events, len(belief.nodes), len(belief.incidents))
