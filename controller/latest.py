"""What each node said last, so that older words that come after it change nothing.

A broker gives again what was not acknowledged, and a clustered one gives it after words that are newer: the Last Will
of a connection that has a successor, a level that another one replaced.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from wire.messages import Envelope, Presence, Status

LATE_S: Final = 600.0
"""A level that seems older by more than this comes from a node whose clock was set back. Source: our choice, far above
what a broker takes to give a message again."""


@dataclass(slots=True)
class Latest:
    """The node's own times of its newest words. Forgotten with the process: then everything is news once."""

    _online_at: dict[str, float] = field(default_factory=dict)
    _lost_at: dict[str, float] = field(default_factory=dict)
    """When the connection began whose Last Will was the newest."""
    _level_at: dict[str, tuple[str, float]] = field(default_factory=dict)

    def is_late(self, envelope: Envelope) -> bool:
        """Return whether newer words were heard before, and remember these if not."""
        match envelope.body:
            case Presence() as presence:
                return self._presence_is_late(envelope.node, presence)
            case Status() as level:
                return self._level_is_late(envelope, level)
            case _:
                return False

    def is_back(self, node: str, level: Status) -> bool:
        """Return whether the level was said on a later connection than the one whose end was heard of.

        A broker may keep a Last Will that came late, so that whoever starts afterwards hears nothing newer than it.
        """
        return node in self._lost_at and level.connected_at > self._lost_at[node]

    def _presence_is_late(self, node: str, presence: Presence) -> bool:
        """The end of a connection is late when the beginning of a later one was heard."""
        if presence.state == "online":
            self._online_at[node] = presence.observed_at
            return False
        if presence.observed_at < self._online_at.get(node, 0.0):
            return True
        if presence.state == "lost":
            self._lost_at[node] = presence.observed_at
        return False

    def _level_is_late(self, envelope: Envelope, level: Status) -> bool:
        boot_id, newest_at = self._level_at.get(envelope.node, ("", 0.0))
        if boot_id == envelope.boot_id and 0.0 < newest_at - envelope.sent_at < LATE_S:
            return True
        self._level_at[envelope.node] = envelope.boot_id, envelope.sent_at
        if level.connected_at:
            self._online_at[envelope.node] = level.connected_at
        return False
