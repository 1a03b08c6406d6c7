"""What an all-reduce is measured at: sizes, repetitions and how much of the sums is looked at, by tier and memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agent.bench.child import Broken

MIB: Final = 1 << 20
GIB: Final = 1 << 30

LEAST_BYTES: Final = MIB
SHARE_OF_MEMORY: Final = 0.75
"""Of a GPU's memory that the two buffers may take. Source: our choice; NCCL's own buffers and the context take some
2 GiB of the rest."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One run.

    Attributes:
        sizes_bytes: in the order they are measured, the largest last.
        repetitions: of each, where the time allows.
        budget_s: how long one size may take.
        checks_all: whether every word of the sums is looked at, and not the ends of their segments alone.
    """

    sizes_bytes: tuple[int, ...]
    repetitions: int
    budget_s: float
    checks_all: bool

    @property
    def largest_bytes(self) -> int:
        """The largest size, which the buffers must hold."""
        return self.sizes_bytes[-1]


PLANS: Final = {
    1: Plan((8 * GIB,), 20, 3.0, checks_all=False),
    2: Plan((*(MIB << shift for shift in range(0, 13, 2)), 8 * GIB), 40, 5.0, checks_all=True),
    3: Plan(tuple(MIB << shift for shift in range(15)), 100, 15.0, checks_all=True),
}
"""Source: the reference of active benchmarks: 8 GiB and more for pass or fail, a curve from 1 MiB on; 20 repetitions as
nccl-tests has them. The budgets are our choice, so that two runs fit into the tier's time."""


def plan_of(tier: int, *, memory_bytes: int) -> Plan:
    """Return what fits into the smallest GPU's memory. Sizes that do not fit are left out.

    Raises:
        Broken: not even the smallest fits.
    """
    plan = PLANS[min(max(tier, 1), 3)]
    most = int(memory_bytes * SHARE_OF_MEMORY) // 2
    if most < LEAST_BYTES:
        raise Broken(f"a GPU with {memory_bytes / MIB:.0f} MiB of memory has no room for two buffers")
    fitting = tuple(size for size in plan.sizes_bytes if size <= most)
    largest = LEAST_BYTES << (most // LEAST_BYTES).bit_length() - 1
    return Plan(fitting or (largest,), plan.repetitions, plan.budget_s, plan.checks_all)
