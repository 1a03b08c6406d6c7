"""Chance, from one seed: every node and every purpose has a stream of its own.

So the faults of a fleet are the same whatever a policy does; how long its repairs take is drawn as they come.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

from controller.simulation.model import Jobs, Spread


@dataclass(frozen=True, slots=True)
class Draws:
    """Streams of one simulated fleet."""

    seed: int

    def stream(self, *names: object) -> Random:
        """Return the stream of this purpose, at its beginning."""
        return Random(f"{self.seed}/" + "/".join(map(str, names)))  # noqa: S311  # chance that can be had again


def time_s(stream: Random, spread: Spread) -> float:
    """Return a lognormal time."""
    return stream.lognormvariate(math.log(spread.median_s), spread.sigma)


def remaining_s(stream: Random, jobs: Jobs) -> float:
    """Return how long the job of a node still goes on, 0 for a node without one.

    A node is met in a long job more often than in a short one, at any moment of it alike: such jobs are lognormal as
    well, around a median that is exp(sigma²) as long. Source: the inspection paradox of renewal theory.
    """
    if stream.random() >= jobs.busy:
        return 0.0
    length = jobs.length
    met = stream.lognormvariate(math.log(length.median_s) + length.sigma**2, length.sigma)
    return stream.random() * met
