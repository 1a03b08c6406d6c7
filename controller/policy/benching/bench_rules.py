"""What an operator sets about active benchmarks: how many at once, for how long, and the site's own limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from checks.bench_limits import BenchLimits, shipped_limits

DEFAULT_AT_ONCE: Mapping[str, int] = {"fleet": 16, "rack": 2, "leaf": 4, "nvlink_domain": 1, "sku": 16}
"""Kind of scope → benchmarks that run in one scope of it at once; a group of nodes is one. Source: our choice; two of
a rack do not load its power and cooling as a job does, and four of a leaf leave its uplinks to the jobs."""

TIER_LIMIT_S = (30.0, 300.0, 9_000.0)
"""How long a benchmark of tier 1, 2 and 3 may take. Source: the reference of active benchmarks; tier 3 has room for
`dcgmi diag -r 4`, 2.5 h."""

LEASE_MARGIN_S = 60.0
"""For the order's way, and for ten seconds of idleness before it begins. Source: our choice."""


@dataclass(frozen=True, slots=True)
class BenchRules:
    """How active benchmarks are run and judged.

    Attributes:
        at_once: kind of scope → how many benchmarks may run in one scope of it at once, a group
            of nodes is one; 0 lets none run.
        tier_limit_s: how long a benchmark of tier 1, 2 and 3 may take.
        limits: floors and bounds, the site's own ones included.
        again_after_s: how long a node rests before a number that was too low is measured again.
        idle_by: who says that nodes have no work, the scheduler's name; empty: nobody.
        trust_nodes: whether a free node of a cell without a scheduler may prove by itself alone that it is idle.
    """

    at_once: Mapping[str, int] = field(default_factory=lambda: dict(DEFAULT_AT_ONCE))
    tier_limit_s: tuple[float, float, float] = TIER_LIMIT_S
    limits: BenchLimits = field(default_factory=shipped_limits)
    again_after_s: float = 60.0
    idle_by: str = ""
    trust_nodes: bool = False

    def lease_s(self, tier: int) -> float:
        """Return how long a lease of this tier is."""
        return self.tier_limit_s[tier - 1] + LEASE_MARGIN_S
