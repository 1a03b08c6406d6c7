"""What the deletion of old entries does to the chain: which entries go, and which gaps are left. Pure.

Entries are held to their links before they go: who changed one must not have compaction clear it away and sign for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from controller.store.chain import Gap, LinkedRow, Place, link
from controller.store.log import StoreError
from controller.store.seals import Seals


@dataclass(frozen=True, slots=True)
class Deletion:
    """What a batch comes to.

    Attributes:
        last_id: the last entry that was looked at.
        gone: the entries that go.
        gaps: what they leave; one with the `first_id` of a gap that is there takes its place.
    """

    last_id: int
    gone: list[int]
    gaps: list[Gap]


def old_enough(rows: Iterable[LinkedRow], before: float) -> list[LinkedRow]:
    """Return the rows in front of the first one that is too young: the log's clock may have been set back."""
    found = []
    for entry in rows:
        if entry.row[1] >= before:
            break
        found.append(entry)
    return found


@dataclass(frozen=True, slots=True)
class Deleter:
    """Deletes entries of one log.

    Attributes:
        name: of the log, for people.
        now: Unix seconds.
    """

    name: str
    keep_incidents: frozenset[str]
    seals: Seals
    now: float

    def deletion(self, rows: list[LinkedRow], place: Place, last_gap: Gap | None) -> Deletion:
        """Return what deleting these entries, which follow a place, comes to.

        Args:
            last_gap: the gap that ends at the place, `None` when an entry is there.

        Raises:
            StoreError: one of them is not the entry that was written.
        """
        joined = last_gap if last_gap is not None and not self.seals.why_no_gap(last_gap) else None
        gone: list[int] = []
        gaps = [joined] if joined is not None else []
        before, is_in_gap = place.link, joined is not None
        for entry in rows:
            self._check(before, entry)
            if entry.row[4] in self.keep_incidents:
                is_in_gap = False
            else:
                gone.append(entry.row[0])
                is_in_gap = self._widen(gaps, entry, before, is_in_gap=is_in_gap)
            before = entry.link
        changed = [gap for gap in gaps if gap is not joined]
        return Deletion(rows[-1].row[0], gone, [self.seals.sealed_gap(gap) for gap in changed])

    def _widen(self, gaps: list[Gap], entry: LinkedRow, before: bytes, *, is_in_gap: bool) -> bool:
        """Have the last gap reach this entry, or begin another one with it; return that a gap is open."""
        event_id = entry.row[0]
        if is_in_gap:
            gaps[-1] = msgspec.structs.replace(gaps[-1], last_id=event_id, at=self.now, after=entry.link)
        else:
            gaps.append(Gap(event_id, event_id, self.now, before, entry.link))
        return True

    def _check(self, before: bytes, entry: LinkedRow) -> None:
        if link(before, entry.row) != entry.link:
            raise StoreError(
                f"{self.name}: entry {entry.row[0]} is not the one that was written, or others before it are missing: "
                "nothing from there on is deleted; `fleetmend audit verify` says more"
            )
