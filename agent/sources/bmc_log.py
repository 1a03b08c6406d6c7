"""What is news in an event log that is read and never cleared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from checks.readings.bmc import BmcEvent

DAY_S: Final = 86_400.0
"""For so long an event is told. Source: our choice: whoever has to look at it works within a day."""

MOST_KEPT: Final = 200


@dataclass(frozen=True, slots=True)
class Kept:
    """What is remembered of a log: its newest number, and the last day's events with when they were seen."""

    last_record: int
    events: tuple[tuple[float, BmcEvent], ...] = ()

    @property
    def told(self) -> tuple[BmcEvent, ...]:
        """The last day's events, oldest first."""
        return tuple(event for _, event in self.events)


def kept_of(saved: Mapping[str, Any]) -> Kept | None:
    """Return what was saved, `None` when that is nothing that can be used."""
    try:
        return msgspec.convert(saved, type=Kept)
    except msgspec.ValidationError:
        return None


def with_news(kept: Kept | None, found: Iterable[BmcEvent], at_s: float) -> Kept:
    """Return the events of the last day, those included that earlier looks saw and the log no longer holds.

    What the log held at the first look is no news, nor is what it holds after somebody cleared it: numbers begin
    anew then. An event of the boot before counts as one of now, for nobody can say how long the boot took.

    Args:
        kept: from the look before, `None` at the first.
        found: what the log holds now, oldest first.
    """
    held = tuple(found)
    newest = max((event.record for event in held), default=0)
    news = () if kept is None else [e for e in held if e.record > kept.last_record or newest < kept.last_record]
    earlier = () if kept is None else [(min(seen_at_s, at_s), event) for seen_at_s, event in kept.events]
    recent = [*earlier, *((at_s, event) for event in news)][-MOST_KEPT:]
    return Kept(newest, tuple((seen_at_s, event) for seen_at_s, event in recent if at_s - seen_at_s < DAY_S))
