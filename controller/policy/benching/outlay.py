"""What benchmarks that began by themselves cost, held against the operator's budget at every instant. A fold."""

from __future__ import annotations

from dataclasses import dataclass, field

HOUR_S = 3_600.0
DAY_S = 86_400.0

VAIN_S = 3_600.0
LONGEST_S = 7 * DAY_S
"""A node on which nothing could be measured is tried again after an hour, then after twice as long each time, and at
least once a week. Source: our choice; a job that came in between is over by then, or a library is missing."""


@dataclass(slots=True)
class Cost:
    """Of one run, in GPU-minutes.

    Attributes:
        reserved: what it may cost at the most; `used`: what its leases came to.
        ended_at: 0 while it is open.
    """

    reserved: float
    used: float = 0.0
    ended_at: float = 0.0

    @property
    def gpu_minutes(self) -> float:
        """What it counts for: all that it may cost, until it is known what it did."""
        return min(self.used, self.reserved) if self.ended_at else self.reserved


@dataclass(frozen=True, slots=True)
class Tried:
    """When a node was last tried, and how often in a row that was in vain."""

    at: float
    vain: int

    @property
    def again_at(self) -> float:
        """When it may be tried again."""
        return self.at + (min(VAIN_S * 2.0 ** min(self.vain - 1, 32), LONGEST_S) if self.vain else 0.0)


@dataclass(slots=True)
class Outlay:
    """All of a day.

    Attributes:
        costs: run → what it costs, in order of asking.
        tried: nodes on which nothing passed since.
    """

    costs: dict[str, Cost] = field(default_factory=dict)
    tried: dict[str, Tried] = field(default_factory=dict)

    def reserve(self, run_id: str, gpu_minutes: float) -> None:
        """A run was asked for that a budget limits."""
        self.costs[run_id] = Cost(gpu_minutes)

    def use(self, run_id: str, gpu_minutes: float) -> None:
        """A lease of a run ended."""
        if run_id in self.costs:
            self.costs[run_id].used += gpu_minutes

    def end(self, run_id: str, at: float) -> bool:
        """A run ended; return whether it was one that a budget limits. What is older than a day counts no more."""
        cost = self.costs.get(run_id)
        if cost is None or cost.ended_at:
            return False
        cost.ended_at = at
        self.costs = {each: one for each, one in self.costs.items() if not one.ended_at or one.ended_at > at - DAY_S}
        return True

    def spent(self, window_s: float, now: float) -> float:
        """Return the GPU-minutes of every run that is open, or ended within the window."""
        counted = (cost for cost in self.costs.values() if not cost.ended_at or cost.ended_at > now - window_s)
        return sum(cost.gpu_minutes for cost in counted)

    @property
    def open(self) -> int:
        """How many runs are open."""
        return sum(not cost.ended_at for cost in self.costs.values())
