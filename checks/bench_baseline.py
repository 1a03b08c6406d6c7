"""What healthy peers reach: a frozen baseline for each fingerprint, and when all of them moved at once.

A fingerprint is everything that makes two numbers comparable. A baseline is learnt once, from at least eight healthy
peers, and then stands: one that went on learning would learn a slow decay.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median

import msgspec

LEAST_PEERS = 8
"""Fewer tell nothing of a median. Source: the reference of active benchmarks."""

MOST_MOVED = 0.2
"""When more than this share of at least eight peers moved the same way, none of them is bad: that is a fleet event.
Source: the reference of active benchmarks."""

MOVED = 0.035
"""A peer that is so far from the baseline's median has moved. Source: the reference of active benchmarks, where Azure
warns from 3.5 % on."""

LEAST_SPREAD = 0.005
"""Smaller spreads, as a share of the median, are those of too few samples. Source: the reference of active
benchmarks."""

PER_MAD = 0.6745
"""Turns a distance in median absolute deviations into standard deviations. Source: upper quartile of the normal
distribution; Iglewicz and Hoaglin, How to Detect and Handle Outliers (1993)."""


class Fingerprint(msgspec.Struct, frozen=True, order=True):
    """What makes two numbers comparable.

    Attributes:
        topology: digest of what hangs where in the node, or of the way between the nodes of a group.
        size_bytes: of the message.
        nodes: in the group, 1 for a node by itself.
        crosses: whether the group left its leaf switches.
        way: what NCCL was told to use, e.g. `nvls` or `ring`, empty for its own choice.
    """

    metric: str
    sku: str
    driver: str
    nccl: str
    topology: str
    size_bytes: int
    nodes: int = 1
    crosses: bool = False
    way: str = ""


class Baseline(msgspec.Struct, frozen=True):
    """What peers of a fingerprint reached. `deviation`: the median absolute deviation of their medians."""

    fingerprint: Fingerprint
    median: float
    deviation: float
    peers: int

    def deviations_of(self, value: float) -> float:
        """Return how far a value is from the median, in robust standard deviations; negative below it."""
        return PER_MAD * (value - self.median) / max(self.deviation, LEAST_SPREAD * self.median)


class FleetShift(msgspec.Struct, frozen=True):
    """Many peers moved the same way at once. `share`: of the peers; `by`: of the median, negative for slower."""

    peers: int
    share: float
    by: float

    @property
    def because(self) -> str:
        """The sentence about it."""
        way = "slower" if self.by < 0.0 else "faster"
        return (
            f"{self.share:.0%} of {self.peers} peers are {way} at once, by {abs(self.by):.1%} at the median: that is a "
            "change of the fleet (driver, NCCL, fabric, a limit), and not so many bad nodes."
        )


def learnt(fingerprint: Fingerprint, samples: Mapping[str, Sequence[float]]) -> Baseline | None:
    """Return the baseline of these peers, node → results; `None` when they are fewer than eight.

    The caller leaves out nodes that are cordoned, or that warned. Numbers that are none do not count, nor do results of
    0 or less.
    """
    medians = [median(kept) for values in samples.values() if (kept := [v for v in values if _is_result(v)])]
    if len(medians) < LEAST_PEERS:
        return None
    middle = median(medians)
    return Baseline(fingerprint, middle, median(abs(each - middle) for each in medians), len(medians))


def fleet_shift(baseline: Baseline, newest: Mapping[str, float]) -> FleetShift | None:
    """Return how the fleet moved since the baseline was learnt, `None` when it did not, or fewer than eight tell."""
    shares = [value / baseline.median - 1.0 for value in newest.values() if _is_result(value)]
    if len(shares) < LEAST_PEERS:
        return None
    slower, faster = [s for s in shares if s < -MOVED], [s for s in shares if s > MOVED]
    moved = max(slower, faster, key=len)
    if len(moved) <= MOST_MOVED * len(shares):
        return None
    return FleetShift(len(shares), len(moved) / len(shares), median(moved))


def _is_result(value: float) -> bool:
    return math.isfinite(value) and value > 0.0
