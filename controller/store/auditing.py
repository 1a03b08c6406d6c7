"""Whether a log is the one that was written: walks along its chain, and says what is wrong where.

It goes on behind a flaw with what is stored there, so that one change is one flaw and not thousands. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from heapq import merge
from typing import Final

from controller.store.chain import BEGINNING, Gap, Head, LinkedRow, Place, link
from controller.store.log import EventLog
from controller.store.seals import KnownKeys

MAX_FLAWS: Final = 100
"""So many are told; the rest is counted. Source: our choice."""

Piece = LinkedRow | Gap | Head


@dataclass(slots=True)
class Audit:
    """Walks along a chain.

    Attributes:
        place: how far it came.
        entries, deleted: how many entries are there, and how many ids signed gaps stand for.
        heads: how many signed heads agree with what is there.
        signed_through, signed_at: the last entry that a head vouches for, and when it was signed.
        flaws: what is wrong; empty when the log is the one that was written.
        notes: what a person should know and is no proof of anything.
    """

    known: KnownKeys
    place: Place = BEGINNING
    entries: int = 0
    deleted: int = 0
    heads: int = 0
    signed_through: int = 0
    signed_at: float = 0.0
    flaws: list[str] = field(default_factory=list)
    more_flaws: int = 0
    notes: list[str] = field(default_factory=list)
    _holes: list[tuple[int, str]] = field(default_factory=list)

    def take(self, piece: Piece) -> None:
        """Go one piece further."""
        match piece:
            case LinkedRow():
                self._entry(piece)
            case Gap():
                self._gap(piece)
            case Head():
                self._head(piece)

    def wrong(self, flaw: str) -> None:
        """Note a flaw."""
        if len(self.flaws) < MAX_FLAWS:
            self.flaws.append(flaw)
        else:
            self.more_flaws += 1

    def finish(self) -> None:
        """End the walk: entries that are missing must have been missing when somebody signed."""
        for event_id, hole in self._holes:
            if event_id <= self.signed_through:
                self.notes.append(f"{hole}: that was so before the log was chained")
            else:
                self.wrong(hole)

    def _entry(self, entry: LinkedRow) -> None:
        event_id = entry.row[0]
        if event_id <= self.place.event_id:
            self.wrong(f"entry {event_id} comes after entry {self.place.event_id}")
            return
        if link(self.place.link, entry.row) != entry.link:
            self.wrong(
                f"entry {event_id} is not the one that was written behind entry {self.place.event_id}: "
                "it was changed, or what was between them is missing"
            )
        elif event_id != self.place.event_id + 1:
            self._holes.append((event_id, f"there is nothing between entries {self.place.event_id} and {event_id}"))
        if entry.row[2] == "log.restored":
            self.notes.append(f"entry {event_id} says that the log was restored from a backup at {_time(entry.row[1])}")
        self.entries += 1
        self.place = Place(event_id, entry.link)

    def _gap(self, gap: Gap) -> None:
        what = f"the gap of entries {gap.first_id} to {gap.last_id}"
        if because := self.known.why_no_gap(gap):
            self.wrong(f"{what} is nobody's: {because}")
        if gap.first_id <= self.place.event_id or gap.last_id < gap.first_id:
            self.wrong(f"{what} comes after entry {self.place.event_id}")
            return
        if gap.before != self.place.link:
            self.wrong(
                f"{what} does not follow entry {self.place.event_id}: what was before it was changed or is missing"
            )
        self.deleted += gap.last_id - gap.first_id + 1
        self.place = Place(gap.last_id, gap.after)

    def _head(self, head: Head) -> None:
        what = f"the head of entry {head.event_id}, signed at {_time(head.at)}"
        if because := self.known.why_no_head(head):
            self.wrong(f"{what}, is nobody's: {because}")
        elif head.event_id > self.place.event_id:
            self.wrong(f"{what}, is of an entry that is not there: the last one before it is {self.place.event_id}")
        elif head.event_id < self.place.event_id:
            return
        elif head.link != self.place.link:
            self.wrong(f"{what}, is of another log: what came up to it was changed")
        else:
            self.heads += 1
            self.signed_through, self.signed_at = head.event_id, head.at


def pieces_of(event_log: EventLog, *, after: int = 0, witnesses: Iterable[Head] = ()) -> Iterator[Piece]:
    """Yield what a log holds behind a place of its chain, in order.

    Args:
        witnesses: heads that were kept elsewhere; one that is there twice is the same.
    """
    heads = {(head.event_id, head.link, head.signature): head for head in (*event_log.heads(), *witnesses)}
    entries: Iterable[Piece] = event_log.linked(after=after)
    gaps: Iterable[Piece] = (gap for gap in event_log.gaps() if gap.last_id > after)
    signed: list[Piece] = [head for head in heads.values() if head.event_id > after]
    yield from merge(entries, gaps, sorted(signed, key=_order), key=_order)


def audit(event_log: EventLog, known: KnownKeys, *, witnesses: Iterable[Head] = ()) -> Audit:
    """Return what is to be said of a whole log.

    Raises:
        StoreError: it cannot be read.
    """
    walk = Audit(known)
    with event_log.frozen():
        for piece in pieces_of(event_log, witnesses=witnesses):
            walk.take(piece)
    walk.finish()
    return walk


def _order(piece: Piece) -> tuple[int, int]:
    """A head comes behind the entry, or the gap, that it is about."""
    match piece:
        case LinkedRow():
            return piece.row[0], 0
        case Gap():
            return piece.first_id, 0
        case Head():
            return piece.event_id, 1


def _time(at: float) -> str:
    try:
        return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return f"{at!r} s"
