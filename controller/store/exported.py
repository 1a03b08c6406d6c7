"""Reads an exported log back: lines of CloudEvents 1.0 as cloud_events.py writes them, each held to its place."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import get_args

import msgspec

from controller.events import Event, Logged, LogRestored

MAX_LINE_BYTES = 16 << 20
"""A longer line is no entry. Source: our choice; the largest entry, all playbooks that are trusted, has some hundred
kilobytes."""

AUDIT = "fleetmend.audit."
"""So begin the types of the lines that an audited export has beside its entries (audit_lines.py)."""

PREFIX = "fleetmend."
KINDS = frozenset(str(kind.__struct_config__.tag) for kind in get_args(Event))
"""The kinds of events that this version knows."""

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


def read_exported(lines: Iterable[bytes], name: str, *, whole: bool = False) -> Iterator[Logged]:
    """Yield the entries of an exported log. Ids must grow.

    Args:
        whole: the log must have every entry from the first on; otherwise there may be gaps, where entries were deleted.

    Raises:
        BadLine: a line is cut off, of another version, out of order, given twice, of another cell, or, in a log that
            must be whole, one before which entries are missing.
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
        why = _out_of_place(entry, last_id, whole=whole)
        if why:
            raise BadLine(name, number, why)
        last_id = entry.event_id
        yield entry


def _out_of_place(entry: Logged, last_id: int, *, whole: bool) -> str:
    """Return what is wrong with an entry after the one with this id, empty when it may come there."""
    if entry.event_id == last_id:
        return f"id {last_id} is there twice: drop one of the two lines"
    if entry.event_id < last_id:
        return f"id {entry.event_id} comes after id {last_id}: sort the lines by id, and drop what is there twice"
    missing = entry.event_id - last_id - 1
    if not whole or not missing or isinstance(entry.event, LogRestored):
        return ""
    which = f"entry {last_id + 1} is" if missing == 1 else f"entries {last_id + 1} to {entry.event_id - 1} are"
    return (
        f"{which} missing before it, and nothing after a gap can be decided again: sort the lines by id where they "
        "came out of order, or export the log from its start"
    )


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
        if not line.endswith(b"\n") and line.lstrip().startswith(b"{"):
            return f"it is cut off, and the last: drop it, or export again ({error})"
        return f"it is no entry of an exported log, or is cut off: {error}"
    if kind.removeprefix(PREFIX) in KINDS:
        return f"it is no whole {kind[:80]!r}: {error}"
    return f"{kind[:80]!r} is no event of this version; a newer fleetmend that knows it reads it: {error}"


def _id_of(text: str) -> int:
    if not _ID.fullmatch(text):
        raise ValueError(f"id {text[:40]!r} is no number of an entry")
    return int(text)


def _at_of(text: str) -> float:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"time {text[:40]!r} has no zone")
    return moment.timestamp()
