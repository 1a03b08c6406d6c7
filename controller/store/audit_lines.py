"""An audited export: the log as lines of CloudEvents 1.0 that prove by themselves that nothing was changed.

Each entry carries its link; heads and gaps have lines of their own; the first line says where it begins, and the last
one is signed over every byte before it. Lines are read back strictly: one that was not written so is named.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, TypeVar

import msgspec

from controller.store.auditing import Audit, Piece, pieces_of
from controller.store.chain import Gap, Head, LinkedRow, Place
from controller.store.exported import AUDIT, MAX_LINE_BYTES
from controller.store.log import EventLog
from controller.store.seals import KnownKeys, Signer

END: Final = b"fleetmend log export 1\n"
BEGUN: Final = AUDIT + "begun"
GAP: Final = AUDIT + "gap"
HEAD: Final = AUDIT + "head"
ENDED: Final = AUDIT + "ended"


class _Attributes(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Source: CloudEvents 1.0.2, JSON event format; names of attributes are lower-case letters and digits."""

    specversion: str
    id: str
    source: str
    type: str
    time: str
    datacontenttype: str


class _Entry(_Attributes, frozen=True, kw_only=True, omit_defaults=True):
    """An entry. `at`: its time in full; `link`: in hexadecimal digits."""

    subject: str = ""
    node: str = ""
    incident: str = ""
    at: str
    link: str
    data: msgspec.Raw


class _Begun(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    after: int
    link: str


class _Ended(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`sha256`: of every byte before this line."""

    through: int
    link: str
    lines: int
    sha256: str
    key_id: str
    signature: str = ""


class _Gap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    first_id: int
    last_id: int
    at: float
    before: str
    after: str
    key_id: str
    signature: str


class _Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    event_id: int
    at: float
    link: str
    key_id: str
    signature: str


Told = _Begun | _Gap | _Head | _Ended
Some = TypeVar("Some")


class _Marked(_Attributes, frozen=True, kw_only=True, omit_defaults=True):
    data: msgspec.Raw


class _Kind(msgspec.Struct, frozen=True):
    type: str
    source: str


_encoder = msgspec.json.Encoder()
_kind_decoder = msgspec.json.Decoder(_Kind)
_entry_decoder = msgspec.json.Decoder(_Entry)
_marked_decoder = msgspec.json.Decoder(_Marked)


class BadPiece(Exception):
    """A line that was not written so; the text says why."""


NOT_WRITTEN_SO: Final = (BadPiece, ValueError, OverflowError, struct.error, msgspec.MsgspecError, RecursionError)
"""What reading a line and writing it again fails by: numbers and times beyond what a log can hold among them."""


# --- writing ---------------------------------------------------------------------------------------------------------


def audit_lines(event_log: EventLog, signer: Signer, *, after: int, now: float) -> Iterator[bytes]:
    """Yield the lines of a log behind an entry, each with its end.

    Args:
        after: where it begins; one that was deleted stands for the last one before it that is there.
        now: Unix seconds.

    Raises:
        StoreError: the log cannot be read.
    """
    digest, count = hashlib.sha256(), 0
    with event_log.frozen():
        begin = event_log.place(at_most=after)
        end = event_log.place()
        for line in _body(event_log, signer.known.cell, begin, now):
            digest.update(line)
            count += 1
            yield line
    yield _ending(signer, end, count, digest.hexdigest(), now)


def _body(event_log: EventLog, cell: str, begin: Place, now: float) -> Iterator[bytes]:
    yield _marked(cell, BEGUN, str(begin.event_id), now, _Begun(begin.event_id, begin.link.hex()))
    for piece in pieces_of(event_log, after=begin.event_id):
        yield _line_of(piece, cell)


def _ending(signer: Signer, end: Place, lines: int, sha256: str, now: float) -> bytes:
    told = _Ended(end.event_id, end.link.hex(), lines, sha256, signer.key_id)
    signature = signer.sign(END, _end_bytes(signer.known.cell, told)).hex()
    ended = msgspec.structs.replace(told, signature=signature)
    return _marked(signer.known.cell, ENDED, str(end.event_id), now, ended)


def _end_bytes(cell: str, told: _Ended) -> bytes:
    return _encoder.encode([cell, told.through, told.link, told.lines, told.sha256, told.key_id])


def _line_of(piece: Piece, cell: str) -> bytes:
    match piece:
        case LinkedRow():
            return _entry_line(piece, cell)
        case Gap():
            told: Told = _Gap(
                *(piece.first_id, piece.last_id, piece.at),
                *(piece.before.hex(), piece.after.hex(), piece.key_id, piece.signature.hex()),
            )
            return _marked(cell, GAP, str(piece.first_id), piece.at, told)
        case Head():
            told = _Head(piece.event_id, piece.at, piece.link.hex(), piece.key_id, piece.signature.hex())
            return _marked(cell, HEAD, str(piece.event_id), piece.at, told)


def _entry_line(entry: LinkedRow, cell: str) -> bytes:
    event_id, at, kind, node, incident_id, body = entry.row
    told = _Entry(
        specversion="1.0",
        id=str(event_id),
        source=_source(cell),
        type=f"fleetmend.{kind}",
        time=_time(at),
        datacontenttype="application/json",
        subject=incident_id or node,
        node=node,
        incident=incident_id,
        at=repr(at),
        link=entry.link.hex(),
        data=msgspec.Raw(body),
    )
    return _encoder.encode(told) + b"\n"


def _marked(cell: str, kind: str, name: str, at: float, data: Told) -> bytes:
    """Return a line that is about the log and not an entry of it."""
    told = _Marked(
        specversion="1.0",
        id=f"{kind.removeprefix(AUDIT)}-{name}",
        source=_source(cell),
        type=kind,
        time=_time(at),
        datacontenttype="application/json",
        data=msgspec.Raw(_encoder.encode(data)),
    )
    return _encoder.encode(told) + b"\n"


def _source(cell: str) -> str:
    return f"/fleetmend/{cell}"


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


# --- reading ---------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class LinesAudit:
    """Walks along the lines of exports that follow each other.

    Attributes:
        cell: whose log it is, empty until the first line said so.
        keys: who may have signed: key id → the 32 bytes of a public key.
    """

    keys: dict[str, bytes]
    cell: str = ""
    audit: Audit = field(init=False)
    _has_begun: bool = False
    _where: str = ""

    def __post_init__(self) -> None:
        self.audit = Audit(KnownKeys(self.cell, self.keys))

    def read(self, lines: Iterable[bytes], name: str) -> None:
        """Walk along one export, from its first line to its last."""
        digest, count, ended = hashlib.sha256(), 0, False
        for count, line in enumerate(lines, 1):
            self._where = f"{name}, line {count}"
            if ended:
                self._wrong("there is more behind the end")
            try:
                ended = self._take(line, is_first=count == 1, before=(count - 1, digest.hexdigest()))
            except NOT_WRITTEN_SO as error:
                self._wrong(str(error))
            digest.update(line)
        if not ended:
            self.audit.wrong(f"{name}: it is cut off: the last line is not the one that is signed")

    def _wrong(self, flaw: str) -> None:
        self.audit.wrong(f"{self._where}: {flaw}")

    def _take(self, line: bytes, *, is_first: bool, before: tuple[int, str]) -> bool:
        """Go one line further; return whether it is the end."""
        if len(line) > MAX_LINE_BYTES:
            raise BadPiece(f"it is longer than {MAX_LINE_BYTES} bytes")
        kind = self._kind(line)
        if is_first != (kind == BEGUN):
            raise BadPiece("an export begins with the line that says where, and has no other such line")
        if not kind.startswith(AUDIT):
            self.audit.take(_entry_of(line, self.cell))
            return False
        return self._take_marked(line, kind, before)

    def _take_marked(self, line: bytes, kind: str, before: tuple[int, str]) -> bool:
        marked = _strictly(line, _marked_decoder)
        match kind:
            case "fleetmend.audit.begun":
                self._begin(_data(marked, _Begun))
            case "fleetmend.audit.gap":
                self._same(line, self._take_gap(_data(marked, _Gap)))
            case "fleetmend.audit.head":
                self._same(line, self._take_head(_data(marked, _Head)))
            case "fleetmend.audit.ended":
                self._end(_data(marked, _Ended), before)
                return True
            case _:
                raise BadPiece(f"{kind[:80]!r} is no line of an audited export")
        return False

    def _take_gap(self, told: _Gap) -> Gap:
        before, after, signature = map(bytes.fromhex, (told.before, told.after, told.signature))
        gap = Gap(told.first_id, told.last_id, told.at, before, after, told.key_id, signature)
        self.audit.take(gap)
        return gap

    def _take_head(self, told: _Head) -> Head:
        head = Head(told.event_id, told.at, bytes.fromhex(told.link), told.key_id, bytes.fromhex(told.signature))
        self.audit.take(head)
        return head

    def _same(self, line: bytes, piece: Piece) -> None:
        if _line_of(piece, self.cell) != line:
            raise BadPiece("it was not written like this")

    def _kind(self, line: bytes) -> str:
        found = _kind_decoder.decode(line)
        cell = found.source.removeprefix("/fleetmend/")
        if not self.cell:
            self.cell = cell
            self.audit.known = KnownKeys(cell, self.keys)
        if found.source != _source(self.cell):
            raise BadPiece(f"it is of {found.source[:80]!r}, the lines before are of {_source(self.cell)!r}")
        return found.type

    def _begin(self, begun: _Begun) -> None:
        begin, place = Place(begun.after, bytes.fromhex(begun.link)), self.audit.place
        if self._has_begun or begin.event_id == 0:
            if begin != place:
                self._wrong(f"it does not follow: it begins behind entry {begin.event_id}, not {place.event_id}")
        else:
            self.audit.notes.append(f"it begins behind entry {begin.event_id}: nothing is said of what came before")
        self._has_begun = True
        self.audit.place = begin

    def _end(self, ended: _Ended, before: tuple[int, str]) -> None:
        known = self.audit.known
        content = _end_bytes(self.cell, ended)
        because = known.why_not(END, content, key_id=ended.key_id, signature=bytes.fromhex(ended.signature))
        if because:
            self._wrong(f"the end is nobody's: {because}")
        elif (ended.lines, ended.sha256) != before:
            self._wrong(f"the lines before it are not the {ended.lines} that were signed: at least one was changed")
        elif Place(ended.through, bytes.fromhex(ended.link)) != self.audit.place:
            self._wrong(f"it ends with entry {self.audit.place.event_id}, and entry {ended.through} was signed")
        else:
            self.audit.signed_through = max(self.audit.signed_through, ended.through)


def _entry_of(line: bytes, cell: str) -> LinkedRow:
    told = _strictly(line, _entry_decoder)
    at = float(told.at)
    if not math.isfinite(at):
        raise BadPiece(f"its time {told.at[:40]!r} is none")
    kind = told.type.removeprefix("fleetmend.")
    entry = LinkedRow((int(told.id), at, kind, told.node, told.incident, bytes(told.data)), bytes.fromhex(told.link))
    if _entry_line(entry, cell) != line:
        raise BadPiece("it was not written like this")
    return entry


def _data(marked: _Marked, kind: type[Some]) -> Some:
    return msgspec.json.decode(marked.data, type=kind)


def _strictly(line: bytes, decoder: msgspec.json.Decoder[Some]) -> Some:
    """Return what a line says that is written as it would be written again, to the byte."""
    told = decoder.decode(line)
    if _encoder.encode(told) + b"\n" != line:
        raise BadPiece("it was not written like this")
    return told
