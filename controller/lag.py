"""How far the cell is behind the world: a number that grows for as long as anything stands still.

Three things can be late: what was taken in and is not decided (the cell), what the broker holds back (levels that come
old), and the broker itself (nothing comes at all). The worst of them is the lag.
"""

from __future__ import annotations

import statistics
from collections import deque
from dataclasses import dataclass, field

LEVELS_KEPT = 99
LEVEL_INTERVAL_S = 60.0
"""How often a node says its whole level; silence for this long from a whole fleet is no sign of health."""


@dataclass(slots=True)
class Hearing:
    """When levels came, and how old they were. The median forgives nodes whose clocks are wrong.

    Attributes:
        since: when this controller began to listen, Unix seconds.
    """

    since: float
    _heard_at: float = 0.0
    _ages_s: deque[float] = field(default_factory=lambda: deque(maxlen=LEVELS_KEPT))

    def heard(self, sent_at: float, now: float) -> None:
        """A level came that is no retained one."""
        self._heard_at = now
        self._ages_s.append(max(0.0, now - sent_at))

    def move(self, step_s: float) -> None:
        """The clock was set by so much."""
        self._heard_at += step_s
        self.since += step_s
        self._ages_s.clear()

    def lag_s(self, now: float, *, expected: bool) -> float:
        """Return how old what is heard is.

        Args:
            expected: whether any node should be heard of; without one, silence means nothing.
        """
        old_s = statistics.median(self._ages_s) if self._ages_s else 0.0
        quiet_s = now - max(self._heard_at, self.since) - LEVEL_INTERVAL_S if expected else 0.0
        return max(old_s, quiet_s)
