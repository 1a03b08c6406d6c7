"""What is believed of a rate, when there are several kinds of nodes: a mixture of gamma distributions.

Rates are multiples of the fleet's mean. A count of failures turns a prior into its posterior in closed form, kind by
kind, and shifts the belief of which kind a node is of.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from controller.policy import gamma

_STEPS: Final = 200
"""Halvings of an interval until two neighbouring numbers are left. Source: a double has 52 bits and 2,046 exponents."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of nodes.

    Attributes:
        share: of all nodes, or how probable it is that a node is of it.
        shape, scale: of the gamma distribution of its rates; their product is the mean.
    """

    share: float
    shape: float
    scale: float

    @property
    def mean(self) -> float:
        """The mean rate of its nodes."""
        return self.shape * self.scale

    def log_evidence(self, weight: float, expected: float) -> float:
        """Return how well it explains failures, as a logarithm, up to what is the same for all kinds."""
        return (
            math.log(self.share)
            + math.lgamma(self.shape + weight)
            - math.lgamma(self.shape)
            - self.shape * math.log(self.scale)
            - (self.shape + weight) * math.log(1.0 / self.scale + expected)
        )


@dataclass(frozen=True, slots=True)
class Rates:
    """A mixture of kinds, whose shares add up to 1."""

    kinds: tuple[Kind, ...]

    def after(self, weight: float, expected: float) -> Rates:
        """Return what is believed of a node once it was watched.

        Args:
            weight: what its failures count together.
            expected: failures that a node of the mean rate has in that time.
        """
        logs = [kind.log_evidence(weight, expected) for kind in self.kinds]
        evidence = [math.exp(each - max(logs)) for each in logs]
        total = math.fsum(evidence)
        return Rates(
            tuple(
                Kind(each / total, kind.shape + weight, 1.0 / (1.0 / kind.scale + expected))
                for kind, each in zip(self.kinds, evidence, strict=True)
            )
        )

    @property
    def mean(self) -> float:
        """The mean rate."""
        return math.fsum(kind.share * kind.mean for kind in self.kinds)

    def below(self, rate: float) -> float:
        """Return the probability that a rate is at most this one."""
        return min(1.0, math.fsum(kind.share * gamma.below(kind.shape, rate / kind.scale) for kind in self.kinds))

    def quantile(self, probability: float) -> float:
        """Return the rate that a node is below with this probability.

        Raises:
            ValueError: the probability is not between 0 and 1.
        """
        if not 0.0 < probability < 1.0:
            raise ValueError(f"{probability} is no probability between 0 and 1")
        low, high = 0.0, self.mean
        while self.below(high) < probability:
            low, high = high, 2.0 * high
        for _ in range(_STEPS):
            middle = (low + high) / 2.0
            if middle in {low, high}:
                break
            low, high = (middle, high) if self.below(middle) < probability else (low, middle)
        return high
