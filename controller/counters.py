"""What nodes say of their counters, kept for a day and for who looks at a node's page.

They stay outside the log, as measures do (controller/comparison.py): with a level a minute, 10,000 nodes would write 14
million of them a day, and no decision looks at them, so a log replays to the same decisions without them. They are
forgotten with the process: whoever asks is told since when they are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from controller.counter_ring import KEPT_S, CounterRing
from wire.messages import Status

MOST_NODES: Final = 12_000
"""Those of more nodes are not kept. Source: our choice; a controller of 100,000 nodes stays below 2 GiB with them, and
where there are so many there is a Prometheus, too, which keeps the agents' own metrics."""

CLEAR_EVERY_S: Final = 60.0
"""How often room is looked for. Source: our choice; those for whom there is none ask once a minute each."""


@dataclass(slots=True)
class Counters:
    """The counters of every node that tells any.

    Attributes:
        clock: Unix seconds.
        since: when the first was told to this process, 0 while none was.
    """

    clock: Callable[[], float]
    most_nodes: int = MOST_NODES
    since: float = 0.0
    _rings: dict[str, CounterRing] = field(default_factory=dict)
    _cleared_at: float = 0.0

    def heard(self, node: str, level: Status) -> None:
        """Take the counters of a node's level."""
        if not level.counters:
            return
        now = self.clock()
        ring = self._rings.get(node) or self._begin(node, now)
        if ring is not None:
            self.since = self.since or now
            ring.tell(level.counters, told_at=level.observed_at, at=now)

    @property
    def is_full(self) -> bool:
        """Whether there is no room for more nodes."""
        return len(self._rings) >= self.most_nodes

    def of(self, node: str) -> CounterRing | None:
        """Return the counters of a node, `None` where none are kept."""
        return self._rings.get(node)

    def _begin(self, node: str, now: float) -> CounterRing | None:
        """Return a new ring, `None` where there is no room; nodes that said nothing for a day make some."""
        if self.is_full and now - self._cleared_at >= CLEAR_EVERY_S:
            self._cleared_at = now
            self._rings = {name: ring for name, ring in self._rings.items() if ring.heard_at > now - KEPT_S}
        if self.is_full:
            return None
        return self._rings.setdefault(node, CounterRing())
