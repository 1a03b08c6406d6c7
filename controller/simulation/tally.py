"""What is counted while a simulation runs, in memory that does not grow with its days."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from controller.policy.reporting.durations import Durations
from controller.policy.reporting.incidents import PARTS
from controller.simulation.truth import DAY_S

RECIDIVISM_DAYS: Final = (7, 30)
"""The same class on the same part again so soon after it was given back was not mended. Source: the fault model."""


@dataclass(slots=True)
class Clocked:
    """How long something is so, added up."""

    total_s: float = 0.0
    since: float = -1.0

    def turn(self, *, on: bool, at: float) -> None:
        """Say how it is from now on."""
        if on and self.since < 0.0:
            self.since = at
        elif not on and self.since >= 0.0:
            self.total_s += at - self.since
            self.since = -1.0


@dataclass(slots=True)
class Parts:
    """What the time of repairs went to. `repairs`: how many there were."""

    repairs: int = 0
    spent_s: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PARTS, 0.0))

    def add(self, spent_s: dict[str, float]) -> None:
        """Take one more in, by its parts."""
        self.repairs += 1
        for part, seconds in spent_s.items():
            self.spent_s[part] += seconds

    def means_s(self) -> dict[str, float] | None:
        """Return the mean of each part, `None` without a repair."""
        return {part: spent / self.repairs for part, spent in self.spent_s.items()} if self.repairs else None


@dataclass(slots=True)
class Tally:
    """What became of the faults of one class.

    Attributes:
        cordons, right: nodes taken out on account of it, and those of them that had a fault of their own.
        stops: how often it stopped a job on a node in service; `stopped_s`: until nothing was placed there any more.
        returns: how often a node was given back after it; `back`: days → how often it was seen again so soon.
    """

    truth: int = 0
    detected: int = 0
    cordons: int = 0
    right: int = 0
    stops: int = 0
    stopped_s: float = 0.0
    returns: int = 0
    back: dict[int, int] = field(default_factory=lambda: dict.fromkeys(RECIDIVISM_DAYS, 0))
    to_find: Durations = field(default_factory=Durations)
    to_isolate: Durations = field(default_factory=Durations)
    to_return: Durations = field(default_factory=Durations)
    parts: Parts = field(default_factory=Parts)


@dataclass(slots=True)
class Returns:
    """When parts were last given back after a class of fault: what comes soon again was not mended."""

    _last: dict[tuple[str, str, str], float] = field(default_factory=dict)

    def give_back(self, name: str, node: str, place: str, at: float) -> None:
        """Note a return; what is too old to matter is forgotten."""
        self._last.pop((name, node, place), None)
        self._last[name, node, place] = at
        while self._last[first := next(iter(self._last))] < at - max(RECIDIVISM_DAYS) * DAY_S:
            del self._last[first]

    def days_since(self, name: str, node: str, place: str, at: float) -> float:
        """Return how long ago that was, infinity for never; it counts once."""
        return (at - self._last.pop((name, node, place), -float("inf"))) / DAY_S
