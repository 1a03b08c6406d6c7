"""Finds out that somebody set the clock: the wall clock went another way than the one that nobody sets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

STEP_S: Final = 10.0
"""So much more or less than what passed is no drift of the clock, nor a leap second. Source: our choice."""


@dataclass(slots=True)
class ClockSteps:
    """Compares two clocks from look to look.

    Attributes:
        wall: Unix seconds.
        steady: seconds that nobody sets, `None` where `wall` is such itself.
    """

    wall: Callable[[], float]
    steady: Callable[[], float] | None = None
    _before: tuple[float, float] = field(init=False)

    def __post_init__(self) -> None:
        self._before = self._now()

    def look(self) -> float:
        """Return by how many seconds the wall clock was set since the last look, 0 where it was not."""
        before, self._before = self._before, self._now()
        step_s = (self._before[0] - before[0]) - (self._before[1] - before[1])
        return step_s if abs(step_s) >= STEP_S else 0.0

    def _now(self) -> tuple[float, float]:
        now = self.wall()
        return now, now if self.steady is None else self.steady()
