"""What this node says of itself beside its findings: kept first, then part of the level, then sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from agent.desk import Desk, Journal
from wire.messages import EventBody


class OrderJournal(Journal, Protocol):
    """What orders need of the outbox."""

    def depth(self) -> int:
        """Return how many events wait."""
        ...


@dataclass(frozen=True, slots=True)
class Telling:
    """The node's mouth. `notify`: is called when the outbox holds something new."""

    journal: OrderJournal
    desk: Desk
    notify: Callable[[], None]

    def tell(self, event: EventBody) -> None:
        """Put an event into the outbox, from where it goes out."""
        self.desk.note_event(self.journal.put(event, event.observed_at))
        self.notify()
