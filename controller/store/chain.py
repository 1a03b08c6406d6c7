"""What makes the log one that nobody can change unseen: every entry carries a hash over itself and the one before it.

Whoever changes, drops or moves an entry has to change every hash after it, and with it the head that the controller
signed (controller/store/seals.py). Entries that compaction deletes leave a signed gap, which joins the two ends. Pure.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable

import msgspec

Row = tuple[int, float, str, str, str, bytes]
"""event_id, at, kind, node, incident_id, body: a row of `events`."""

START = hashlib.sha256(b"fleetmend log 1\n").digest()
"""What the first entry of a log has before it."""

_FIXED = struct.Struct(">qdIII")


class Head(msgspec.Struct, frozen=True):
    """How far the log had come at a moment. `link`: of the entry `event_id`, its last one."""

    event_id: int
    at: float
    link: bytes
    key_id: str = ""
    signature: bytes = b""


class Gap(msgspec.Struct, frozen=True):
    """Entries that compaction deleted.

    Attributes:
        first_id, last_id: the first and the last of them; all between are gone as well.
        before, after: the link of the entry in front of them, and that of the last of them.
    """

    first_id: int
    last_id: int
    at: float
    before: bytes
    after: bytes
    key_id: str = ""
    signature: bytes = b""


class Place(msgspec.Struct, frozen=True):
    """A place in the chain: an entry, or the last one of a gap, and its link."""

    event_id: int
    link: bytes


BEGINNING = Place(0, START)


class LinkedRow(msgspec.Struct, frozen=True):
    """An entry as a store holds it, with the link that is stored beside it."""

    row: Row
    link: bytes


def link(before: bytes, row: Row) -> bytes:
    """Return an entry's link: SHA-256 over the link before it and all that the entry is."""
    event_id, at, kind, node, incident_id, body = row
    fixed = _FIXED.pack(event_id, at, len(kind), len(node), len(incident_id))
    return hashlib.sha256(b"".join((before, fixed, (kind + node + incident_id).encode(), body))).digest()


def links(before: bytes, rows: Iterable[Row]) -> list[bytes]:
    """Return the links of entries that follow each other."""
    found = []
    for row in rows:
        before = link(before, row)
        found.append(before)
    return found


def stored(row: Row, entry_link: bytes) -> tuple[int, float, str, str, str, bytes, bytes]:
    """Return a row in the order of the table's columns: the link, and the body last."""
    return (*row[:-1], entry_link, row[-1])
