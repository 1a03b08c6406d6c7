"""The append-only event log as the controller sees it: one protocol, one schema, one file per database.

An entry is a row of `events`, whose body is the event as JSON with keys in a fixed order, so that the same event
is the same bytes in every store (I12).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import LiteralString, Protocol

import msgspec

from controller.events import Event, Logged, incident_of, kind_of, node_of
from controller.store.chain import Gap, Head, LinkedRow, Place, Row
from controller.store.seals import Seals, Unsealed
from controller.store.taken import Taken

UNSEALED = Unsealed()
LAST_ID = (1 << 63) - 1
"""Of any entry, in every database."""


class StoreError(Exception):
    """The log cannot be opened, read or written; nothing may be decided without it."""


class Fenced(StoreError):
    """The log refused a commit because a later term has begun: this controller leads no more (I8)."""


class Receipt(msgspec.Struct, frozen=True):
    """The identity of a message that was taken in: it is committed with the events it became."""

    node: str
    boot_id: str
    seq: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was believed after an entry, as bytes.

    Attributes:
        event_id: the last entry that went in.
        at: when it was written, Unix seconds.
        version: of the encoding; see controller/store/snapshot.py.
        parts: how many pieces it has.
    """

    event_id: int
    at: float
    version: int
    parts: int


@dataclass(frozen=True, slots=True)
class StoreSize:
    """How large the log is and how far back it reaches.

    Attributes:
        used_bytes: on disk, with its indexes and snapshots.
        events: entries that are still there, counted by their ids: those kept for open incidents come on top.
        snapshot_event_id: the last entry that the newest snapshot holds, 0 without one.
    """

    used_bytes: int
    events: int
    deleted_through: int
    snapshot_event_id: int
    snapshot_at: float


class EventLog(Protocol):
    """The log of one cell. Reading before the controller runs blocks; `append` and `timeline` do not.

    Attributes:
        name: kind and place, for people; holds no password.
        taken: (node, boot id) → numbers of the messages taken in. Read once by `recall_taken`, kept up by `append`.
        term: the fencing token that every commit is checked against, by the database, in the same transaction.
    """

    name: str
    taken: dict[tuple[str, str], Taken]
    term: int

    def begin_term(self, holder: str = "", url: str = "") -> int:
        """Return the fencing token of this controller's term: one more than any before it (I8)."""
        ...

    def read(self, *, after: int = 0) -> Iterator[Logged]:
        """Yield the entries after an id, in order.

        Raises:
            StoreError: an entry cannot be understood, named by its id.
        """
        ...

    async def follow(self, *, after: int, limit: int = 5_000) -> list[Logged]:
        """Return the next entries after an id, beside whoever writes; empty when there are none yet.

        Raises:
            StoreError: the log cannot be read now; a later call tries anew.
        """
        ...

    def recall_taken(self) -> dict[tuple[str, str], Taken]:
        """Read which messages were taken in, and return `taken`."""
        ...

    async def append(self, entries: list[Logged], receipts: list[Receipt]) -> None:
        """Commit entries and receipts together.

        Raises:
            Fenced: a later term has begun; nothing of it is in the log.
            StoreError: it is unknown whether it is in the log when the connection broke; otherwise nothing of it is.
        """
        ...

    async def timeline(self, *, node: str = "", incident_id: str = "", limit: int = 500) -> list[Logged]:
        """Return the newest entries about a node, an incident, or everything; newest last.

        It is read beside the writer, on a connection of its own: a page that is looked at delays no decision.
        """
        ...

    async def back(self, *, before: int, after: int, kinds: Sequence[str]) -> list[Logged]:
        """Return the entries of these kinds between two ids, neither of them included, newest first.

        Raises:
            StoreError: the log cannot be read now; a later call tries anew.
        """
        ...

    async def of_node(self, node: str, *, kinds: Sequence[str], limit: int) -> list[Logged]:
        """Return the newest entries of these kinds that name a node, newest last.

        Raises:
            StoreError: the log cannot be read now; a later call tries anew.
        """
        ...

    async def size(self) -> StoreSize:
        """Return how large the log is."""
        ...

    async def forget_boots(self, boots: list[tuple[str, str]]) -> None:
        """Forget which messages of these (node, boot id) were taken in; none of them may ever come again."""
        ...

    def deleted_through(self) -> int:
        """Return the last id up to which entries may be gone, 0 when the whole log is there."""
        ...

    def snapshots(self) -> list[Snapshot]:
        """Return the snapshots that are whole, newest first."""
        ...

    def snapshot_parts(self, snapshot: Snapshot) -> Iterator[bytes]:
        """Yield the pieces of a snapshot in order."""
        ...

    def put_part(self, event_id: int, part: int, body: bytes) -> None:
        """Store a piece of a snapshot that is being written."""
        ...

    def finish_snapshot(self, snapshot: Snapshot) -> None:
        """Make a snapshot count: all its pieces are stored."""
        ...

    def drop_parts_before(self, event_id: int, limit: int) -> int:
        """Drop pieces of older snapshots, at most `limit`; return how many."""
        ...

    def delete_events(
        self, *, through: int, before: float, keep_incidents: frozenset[str], limit: int, seals: Seals = UNSEALED
    ) -> int:
        """Delete a batch of entries and return the last id looked at, 0 when there is nothing to delete any more.

        Args:
            through: the last id that may go.
            before: only entries written before this time, Unix seconds.
            keep_incidents: whose entries stay.
            limit: entries looked at, at most.
            seals: vouches for the gap that is left.

        Raises:
            StoreError: an entry is not the one that was written; nothing of the batch is deleted.
        """
        ...

    def place(self, *, at_most: int = LAST_ID) -> Place:
        """Return the last place of the chain that is not after an id."""
        ...

    def linked(self, *, after: int = 0) -> Iterator[LinkedRow]:
        """Yield the entries after an id as they are stored, in order; none of them need be understood."""
        ...

    def gaps(self) -> list[Gap]:
        """Return the gaps that deleted entries left, in order."""
        ...

    def heads(self) -> list[Head]:
        """Return the heads that were kept, in order."""
        ...

    async def last_place(self) -> Place:
        """Return the last place of the chain, between two commits.

        Raises:
            StoreError: the log cannot be read now; a later call tries anew.
        """
        ...

    async def keep_head(self, head: Head) -> None:
        """Keep a head, and forget those of entries that are deleted.

        Raises:
            StoreError: the log cannot be written now; a later call tries anew.
        """
        ...

    def frozen(self) -> AbstractContextManager[None]:
        """Have everything that is read inside be of one moment, while others write on."""
        ...

    def dump(self, table: str) -> Iterator[tuple[object, ...]]:
        """Yield the rows of a table, in the order and with the types of SQLite's columns."""
        ...

    def load(self, tables: Iterable[tuple[str, Iterable[tuple[object, ...]]]]) -> None:
        """Fill tables of an empty log with rows as `dump` yields them, in one transaction."""
        ...

    def raise_term(self, least: int) -> None:
        """Have the next term be above `least`."""
        ...

    def close(self) -> None:
        """Finish what is being written and close."""
        ...


COLUMNS: dict[str, LiteralString] = {
    "events": "event_id, at, kind, node, incident_id, link, body",
    "gaps": "first_id, last_id, at, before, after, key_id, signature",
    "heads": "event_id, at, link, key_id, signature",
    "taken": "node, boot_id, numbers, heard_at",
    "snapshots": "event_id, at, version, parts",
    "snapshot_parts": "event_id, part, body",
    "facts": "name, value",
}
"""Every table, with its columns in the order of its rows."""

_encoder = msgspec.json.Encoder(order="deterministic")
_decoder = msgspec.json.Decoder(Event)


def row_of(entry: Logged) -> Row:
    """Return the row that holds an entry."""
    event = entry.event
    return entry.event_id, entry.at, kind_of(event), node_of(event), incident_of(event), _encoder.encode(event)


def logged_of(name: str, event_id: int, at: float, body: bytes | str) -> Logged:
    """Return the entry that a row of the log called `name` holds.

    Raises:
        StoreError: it cannot be understood.
    """
    try:
        return Logged(event_id, at, _decoder.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        because = f"{name}: event {event_id} is no event of this version: {error}"
        raise StoreError(
            f"{because}; where a newer one wrote it: docs/how-to/upgrade.md says how to go back"
        ) from error


def changes_of(taken: dict[tuple[str, str], Taken], receipts: list[Receipt]) -> dict[tuple[str, str], Taken]:
    """Return what `taken` will say of the boots that receipts are about; `taken` itself is left as it is."""
    changes: dict[tuple[str, str], Taken] = {}
    for receipt in receipts:
        boot = (receipt.node, receipt.boot_id)
        if boot not in changes:
            changes[boot] = taken[boot].copy() if boot in taken else Taken()
        changes[boot].add(receipt.seq)
    return changes
