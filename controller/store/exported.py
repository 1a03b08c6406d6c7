"""Reads an exported log back: lines of CloudEvents 1.0 as cloud_events.py writes them, each held to its place."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from datetime import datetime

import msgspec

from controller.events import Event, Logged

MAX_LINE_BYTES = 16 << 20
"""A longer line is no entry. Source: our choice; the largest entry, all playbooks that are trusted, has some hundred
kilobytes."""

AUDIT = "fleetmend.audit."
"""So begin the types of the lines that an audited export has beside its entries (audit_lines.py)."""

_ID = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)


class BadLine(Exception):
    """A line of an exported log that cannot be used. `number` counts from 1."""

    def __init__(self, name: str, number: int, why: str) -> None:
        self.number = number
        super().__init__(f"{name}, line {number}: {why}")


class _Line(msgspec.Struct, frozen=True):
    specversion: str
    id: str
    source: str
    type: str
    time: str
    data: Event


class _Head(msgspec.Struct, frozen=True):
    type: str


_decoder = msgspec.json.Decoder(_Line)
_head_decoder = msgspec.json.Decoder(_Head)


def read_exported(lines: Iterable[bytes], name: str) -> Iterator[Logged]:
    """Yield the entries of an exported log. Ids may have gaps, where entries were deleted, and must grow.

    Raises:
        BadLine: a line is cut off, of another version, out of order, given twice, or of another cell.
    """
    last_id, source = 0, ""
    for number, line in enumerate(lines, 1):
        if not line.strip() or _is_about_the_log(line):
            continue
        try:
            read = _decode(line)
            entry = Logged(_id_of(read.id), _at_of(read.time), read.data)
        except ValueError as error:
            raise BadLine(name, number, str(error)) from error
        source = source or read.source
        if read.source != source:
            raise BadLine(name, number, f"it is of {read.source[:80]!r}, the lines before are of {source[:80]!r}")
        if entry.event_id <= last_id:
            why = f"id {entry.event_id} comes after id {last_id}: sort the lines by id, and drop what is there twice"
            raise BadLine(name, number, why)
        last_id = entry.event_id
        yield entry


def _decode(line: bytes) -> _Line:
    if len(line) > MAX_LINE_BYTES:
        raise ValueError(f"it is longer than {MAX_LINE_BYTES} bytes")
    try:
        read = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(_why(line, error)) from error
    if read.specversion.partition(".")[0] != "1":
        raise ValueError(f"CloudEvents {read.specversion[:20]!r} is not known here, 1.0 is")
    return read


def _is_about_the_log(line: bytes) -> bool:
    if AUDIT.encode() not in line[:500]:
        return False
    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _head_decoder.decode(line).type.startswith(AUDIT)
    return False


def _why(line: bytes, error: Exception) -> str:
    """Say what is wrong with a line, in the words of its own kind where it has one."""
    try:
        kind = _head_decoder.decode(line).type
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return f"it is no entry of an exported log, or is cut off: {error}"
    return f"{kind[:80]!r} is no event of this version: {error}"


def _id_of(text: str) -> int:
    if not _ID.fullmatch(text):
        raise ValueError(f"id {text[:40]!r} is no number of an entry")
    return int(text)


def _at_of(text: str) -> float:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"time {text[:40]!r} has no zone")
    return moment.timestamp()
