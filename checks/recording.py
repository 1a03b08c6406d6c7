"""Recordings: what the sources of a host read, so that it can be judged again anywhere, by any version.

A recording is text, one JSON object a line. The first line says what it is and where it comes from; every other line
is what one source took at one moment: a reading, a kernel-log record (or its line as it was captured), or why nothing
could be read. Values that are at their default may be left out, and fields that a version does not know mean nothing
to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from checks.errors import CannotJudge
from checks.readings import READINGS, KernelLogState, KernelRecord, Reading

FORMAT: Final = 1
MAX_LINE_BYTES: Final = 16 << 20
"""A longer line is refused: the reading of a host with 16 GPUs takes some 100 KiB."""

BY_SOURCE: Final[dict[str, type[Reading]]] = {reading.SOURCE: reading for reading in READINGS}


class Header(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The first line.

    Attributes:
        fleetmend_recording: version of this format.
        origin: where it was taken: host and time, or the public report that the text was captured in.
        node, boot_id, agent_version: of the agent that recorded.
        accept_userspace: whether kernel-log records count that any process could have written.
        expected: for a case of the tests: what the check must say of the newest reading, or of each line.
    """

    fleetmend_recording: int
    origin: str
    node: str = ""
    boot_id: str = ""
    agent_version: str = ""
    accept_userspace: bool = False
    expected: Any = None


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """Any other line. Exactly one of the last four is given.

    Attributes:
        at: Unix time at which the reading began, 0.0 when it is not known.
        source: name of the source; `kernel_log` is understood where a line or a record is given.
        reading: what a polled source read.
        record: a kernel-log record as the agent took it.
        line: a line of the kernel log as it was captured, in any form that `fleetmend judge --kernel-log` takes.
        cannot_observe: why nothing could be read.
    """

    at: float = 0.0
    source: str = ""
    reading: msgspec.Raw = msgspec.Raw()
    record: KernelRecord | None = None
    line: str | None = None
    cannot_observe: str = ""


@dataclass(frozen=True, slots=True)
class Taken:
    """One entry, decoded; `number` is its line in the recording, from 1."""

    number: int
    at: float
    source: str
    what: Reading | KernelRecord | bytes | str
    """A reading, a record, the bytes of a captured line, or the sentence why nothing could be read."""


def encode(line: Header | Entry) -> bytes:
    """Return one line of a recording, with its newline."""
    return msgspec.json.encode(line) + b"\n"


def entry_of(reading: Reading, *, at: float) -> Entry:
    """Return the line that holds a reading."""
    return Entry(at, type(reading).SOURCE, msgspec.Raw(msgspec.json.encode(reading)))


def read(lines: Iterable[bytes], *, name: str) -> tuple[Header, Iterator[Taken]]:
    """Return what a recording is, and what it holds, decoded as it is iterated.

    Args:
        name: of the file, for errors.

    Raises:
        CannotJudge: with file, line and byte, when this is no recording; also while iterating.
    """
    numbered = enumerate(lines, 1)
    _, first = next(numbered, (1, b""))
    header = _decode(first, Header, f"{name}:1")
    if header.fleetmend_recording != FORMAT:
        version = header.fleetmend_recording
        raise CannotJudge(f"{name}:1: recording format {version}, this version of fleetmend reads {FORMAT}")
    return header, (_take(number, line, f"{name}:{number}") for number, line in numbered if line.strip())


def _take(number: int, line: bytes, where: str) -> Taken:
    entry = _decode(line, Entry, where)
    if entry.line is not None:
        return Taken(number, entry.at, KernelLogState.SOURCE, entry.line.encode("utf-8", "surrogatepass"))
    if entry.record is not None:
        return Taken(number, entry.at, KernelLogState.SOURCE, entry.record)
    if entry.source not in BY_SOURCE:
        raise CannotJudge(f"{where}: source {entry.source!r} is not known; there are {', '.join(BY_SOURCE)}")
    if entry.cannot_observe:
        return Taken(number, entry.at, entry.source, entry.cannot_observe)
    reading = _decode(bytes(entry.reading), BY_SOURCE[entry.source], f"{where}: reading")
    return Taken(number, entry.at, entry.source, reading)


def _decode(line: bytes, kind: type[Any], where: str) -> Any:
    if len(line) > MAX_LINE_BYTES:
        raise CannotJudge(f"{where}: longer than {MAX_LINE_BYTES >> 20} MiB")
    try:
        return msgspec.json.decode(line, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CannotJudge(f"{where}: {error}") from error
