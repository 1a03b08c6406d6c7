"""Memory that ends with the process, in place of the outbox: for whoever looks at a node beside its agent, or judges
what was recorded elsewhere. Nothing of it is shared with an agent on the same host.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from wire.messages import EventBody


@dataclass(slots=True)
class Scratch:
    """What the desk and the sources need of the outbox. `events` are those put there and not yet taken out."""

    events: list[EventBody] = field(default_factory=list)
    values: dict[str, dict[str, Any]] = field(default_factory=dict)

    def put(self, body: EventBody, observed_at: float) -> int:
        """Keep an event; return its number."""
        assert body.observed_at == observed_at
        self.events.append(body)
        return len(self.events)

    def take_events(self) -> list[EventBody]:
        """Return what was put since the last call."""
        taken, self.events = self.events, []
        return taken

    def depth(self) -> int:
        """Return how many events wait: nobody is waited for."""
        return 0

    def load(self, key: str) -> dict[str, Any]:
        """Return what was saved under the key, empty when nothing was."""
        return self.values.get(key, {})

    def save(self, key: str, value: dict[str, Any]) -> None:
        """Keep the value under the key."""
        self.values[key] = value


@dataclass(frozen=True, slots=True)
class Drawer:
    """One source's place in it."""

    scratch: Scratch
    source: str

    def load(self) -> dict[str, Any]:
        """Return what was saved last."""
        return self.scratch.load(self.source)

    def save(self, value: dict[str, Any]) -> None:
        """Keep a value."""
        self.scratch.save(self.source, value)
