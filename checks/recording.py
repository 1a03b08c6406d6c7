"""Recordings: what the sources of a host read, so that it can be judged again anywhere, by any version.

A recording is text, one JSON object a line. The first line says what it is and where it comes from; every other line
is what one source took at one moment: a reading, a kernel-log record (or its line as it was captured), or why nothing
could be read; or it says that the agent started or reset a device. Values that are at their default may be left out,
and fields that a version does not know mean nothing to it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from checks.errors import CannotJudge
from checks.readings import READINGS, KernelLogState, KernelRecord, Reading
from checks.readings.site import FAMILY, ID, site_reading

FORMAT: Final = 1
MAX_LINE_BYTES: Final = 16 << 20
"""A longer line is refused: the reading of a host with 16 GPUs takes some 100 KiB."""

UNOBSERVED: Final = "unobserved"
"""Code of the unknown of a source that could not be read."""

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
    """Any other line. Exactly one of the last six is given.

    Attributes:
        at: Unix time at which the reading began, 0.0 when it is not known.
        source: name of the source; `kernel_log` is understood where a line or a record is given.
        code: with `cannot_observe`, under which the agent says it of the checks that this source feeds.
        reading: what a polled source read.
        record: a kernel-log record as the agent took it.
        line: a line of the kernel log as it was captured, in any form that `fleetmend judge --kernel-log` takes.
        cannot_observe: why nothing could be read.
        boot_id: the agent starts here, in this boot of the host.
        device_reset: UUID or PCI address of what the agent reset at this moment.
    """

    at: float = 0.0
    source: str = ""
    code: str = UNOBSERVED
    reading: msgspec.Raw = msgspec.Raw()
    record: KernelRecord | None = None
    line: str | None = None
    cannot_observe: str = ""
    boot_id: str = ""
    device_reset: str = ""


@dataclass(frozen=True, slots=True)
class Unobserved:
    """Why nothing could be read, and under which code the agent says it."""

    because: str
    code: str = UNOBSERVED


@dataclass(frozen=True, slots=True)
class Started:
    """The agent started, in this boot of the host."""

    boot_id: str


@dataclass(frozen=True, slots=True)
class Reset:
    """The agent reset a device."""

    device: str


What = Reading | KernelRecord | bytes | Unobserved | Started | Reset
"""What a line holds; a line of a kernel log as it was captured is its bytes."""


@dataclass(frozen=True, slots=True)
class Taken:
    """One entry, decoded; `number` is its line in the recording, from 1."""

    number: int
    at: float
    source: str
    what: What


def encode(line: Header | Entry) -> bytes:
    """Return one line of a recording, with its newline."""
    return msgspec.json.encode(line) + b"\n"


def entry_of(what: What, *, at: float, source: str = "") -> Entry:
    """Return the line that holds something. Only what could not be read needs its source named."""
    match what:
        case KernelRecord():
            return Entry(at=at, record=what)
        case bytes():
            return Entry(at=at, line=what.decode("utf-8", "replace"))
        case Unobserved():
            return Entry(at=at, source=source, cannot_observe=what.because, code=what.code)
        case Started():
            return Entry(at=at, boot_id=what.boot_id)
        case Reset():
            return Entry(at=at, device_reset=what.device)
        case _:
            return _entry_of_reading(what, at)


def _entry_of_reading(reading: Reading, at: float) -> Entry:
    """Return the line that holds a reading. Names of a host that are no UTF-8 have a mark where they are not."""
    try:
        raw = msgspec.json.encode(reading)
    except UnicodeEncodeError:
        raw = json.dumps(msgspec.to_builtins(reading), ensure_ascii=False).encode("utf-8", "replace")
    return Entry(at=at, source=type(reading).SOURCE, reading=msgspec.Raw(raw))


def read(lines: Iterable[bytes], *, name: str) -> tuple[Header, Iterator[Taken]]:
    """Return what a recording is, and what it holds, decoded as it is iterated.

    Args:
        name: of the file, for errors.

    Raises:
        CannotJudge: with file, line and the byte at which the line begins, when this is no recording; also while
            iterating.
    """
    placed = _placed(lines, name)
    _, where, first = next(placed, (1, Place(f"{name}:1", 0), b""))
    header = _decode(first, Header, where)
    if header.fleetmend_recording != FORMAT:
        version = header.fleetmend_recording
        raise where.error(f"recording format {version}, this version of fleetmend reads {FORMAT}")
    return header, (_take(number, line, where) for number, where, line in placed if line.strip())


@dataclass(frozen=True, slots=True)
class Place:
    """Where a line is. `byte` counts from the beginning of the recording, from 0."""

    line: str
    byte: int

    def error(self, because: object) -> CannotJudge:
        """Return the error that says so."""
        return CannotJudge(f"{self.line}: {because} (the line begins at byte {self.byte})")


def _placed(lines: Iterable[bytes], name: str) -> Iterator[tuple[int, Place, bytes]]:
    byte = 0
    for number, line in enumerate(lines, 1):
        yield number, Place(f"{name}:{number}", byte), line
        byte += len(line)


def _take(number: int, line: bytes, where: Place) -> Taken:
    entry = _decode(line, Entry, where)
    if entry.boot_id:
        return Taken(number, entry.at, "", Started(entry.boot_id))
    if entry.device_reset:
        return Taken(number, entry.at, "", Reset(entry.device_reset))
    if entry.line is not None:
        return Taken(number, entry.at, KernelLogState.SOURCE, entry.line.encode("utf-8", "surrogatepass"))
    if entry.record is not None:
        return Taken(number, entry.at, KernelLogState.SOURCE, entry.record)
    kind = site_reading(entry.source) if ID.fullmatch(entry.source) else BY_SOURCE.get(entry.source)
    if kind is None:
        there_are = f"{', '.join(BY_SOURCE)} and the site's own, {FAMILY}.*"
        raise where.error(f"source {entry.source!r} is not known; there are {there_are}")
    if entry.cannot_observe:
        return Taken(number, entry.at, entry.source, Unobserved(entry.cannot_observe, entry.code))
    reading = _decode(bytes(entry.reading), kind, replace(where, line=f"{where.line}: reading"))
    return Taken(number, entry.at, entry.source, reading)


def _decode(line: bytes, kind: type[Any], where: Place) -> Any:
    if len(line) > MAX_LINE_BYTES:
        raise where.error(f"longer than {MAX_LINE_BYTES >> 20} MiB")
    try:
        return msgspec.json.decode(line, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise where.error(error) from error
