"""What the newest entries of the log were about, so that who watches the cell is told of that and of nothing else.

It is kept as long as a page may need to come back after its line was cut, and no longer: the log has all of it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from controller.events import ActCarried, Logged, NodePlaced, NodeSeen, OperatorActed, incident_of, node_of
from controller.policy.belief import Belief

ENTRIES_KEPT: Final = 20_000
"""Source: our choice; a storm of 10,000 nodes is about two entries a node, and it takes some 3 MB."""


@dataclass(frozen=True, slots=True)
class Touched:
    """What entries were about.

    Attributes:
        through: the last of them.
        nodes: names, in the order of their newest entry.
        moved: a node may be new or stand elsewhere, or a whole place be paused.
    """

    through: int
    nodes: tuple[str, ...]
    incidents: tuple[str, ...]
    moved: bool


@dataclass(slots=True)
class Changes:
    """The newest entries of one log, told in order by `note`."""

    _kept: deque[tuple[str, str, bool]] = field(default_factory=lambda: deque(maxlen=ENTRIES_KEPT))
    _head: int = -1
    _more: asyncio.Event = field(default_factory=asyncio.Event)

    def note(self, entry: Logged, belief: Belief) -> None:
        """Take an entry that the log has."""
        if entry.event_id <= self._head:
            return
        if entry.event_id != self._head + 1:
            self._kept.clear()
        self._head = entry.event_id
        incident_id = incident_of(entry.event)
        incident = belief.incidents.get(incident_id)
        node = incident.node if incident is not None else node_of(entry.event)
        self._kept.append((node, incident_id, _moves(entry)))
        self._more.set()

    def head(self, belief: Belief) -> int:
        """Return the last entry that is told of."""
        if self._head < 0:
            self._head = belief.last_event_id
        return self._head

    def since(self, event_id: int, belief: Belief) -> Touched | None:
        """Return what came after an entry, `None` when nobody knows: too long ago, or of another log."""
        head = self.head(belief)
        if event_id > belief.last_event_id or head - event_id > len(self._kept):
            return None
        count = max(0, head - event_id)
        newest = list(islice(reversed(self._kept), count))
        return Touched(
            max(head, event_id),
            tuple(dict.fromkeys(node for node, _, _ in newest if node)),
            tuple(dict.fromkeys(incident_id for _, incident_id, _ in newest if incident_id)),
            any(moved for _, _, moved in newest),
        )

    async def more(self) -> None:
        """Wait until an entry came since this was last waited for. One may wait at a time."""
        await self._more.wait()
        self._more.clear()


def _moves(entry: Logged) -> bool:
    event = entry.event
    event = event.act if isinstance(event, ActCarried) else event
    if isinstance(event, OperatorActed):
        return event.verb in {"pause", "resume"} and "=" in event.subject
    return isinstance(event, NodeSeen | NodePlaced)
