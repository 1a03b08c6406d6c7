"""What a healthy simulated machine reaches, and how much two runs differ: those of 8 H100 with an adapter each.

Source, where none is given: our choice, between what the limits of checks/data/bench_limits.json warn at and the best
that is known of healthy machines.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Final

from agent.simulation.states import draw

ALL_REDUCE: Final = 472.0
WITHOUT_NVLS: Final = 366.0
"""Bus bandwidth in GB/s over 8 GPUs, with NVLS and without. Source: ml-engineering 744d01e, network/README.md."""

TWO_NODES: Final = 386.0
"""Bus bandwidth in GB/s of a group of nodes. Source: CoreWeave nccl-tests cb86553, 64 GPUs at 8 GiB."""

RAIL: Final = 48.2
"""Bus bandwidth in GB/s of one GPU a node over one adapter of 400 Gb/s."""

ADAPTER_LOOPBACK: Final = 44.5
"""Bus bandwidth in GB/s of one node whose GPUs reach each other through their adapters alone."""

PEER_COPY: Final = 372.0
HOST_TO_DEVICE: Final = 55.2
DEVICE_TO_HOST: Final = 54.9
MEMORY_COPY: Final = 2_880.0
"""In GB/s, what is read and what is written together. Source: our choice, 86 % of the data sheet's 3.35 TB/s."""

TFLOPS: Final = 769.0
"""Dense, bf16. Source: ai-infrastructure-on-azure a01b073, sku_performance_baseline."""

LINE_RATE_PERCENT: Final = 97.4
WRITE_LATENCY_US: Final = 2.4
SCRATCH_READ: Final = 12.6
"""In GB/s, of one NVMe disk of PCI Express 5.0."""

OWN_SPREAD, RUN_SPREAD, MOST_SIGMA = 0.004, 0.003, 2.5
"""Standard deviations, as shares: of machines from each other, of two runs on one, and where both are cut off. Source:
our choice, within the 1 % that MLSys'26 Guard reports of nodes that were swept."""

HALF_BYTES: Final = 110 * 2**20
STEEPNESS: Final = 0.6
"""Of the bandwidth over the size. Source: our choice of a form, through ml-engineering's points for B200: 76 % at
256 MiB, 85 % at 1 GiB, 88 % at 4 GiB and 99 % at 8 GiB."""

_NORMAL = NormalDist()


def at_size(peak: float, size_bytes: int) -> float:
    """Return the bandwidth at a message's size."""
    return peak * math.pow(size_bytes / (size_bytes + HALF_BYTES), STEEPNESS)


def noise(seed: int, node: str, run: str, *keys: object, size_bytes: int = 0) -> float:
    """Return the factor by which a healthy number differs from its median, the same for the same arguments.

    What makes a machine differ from others it does at every size.
    """
    own = _sigmas(seed, node, *keys) * OWN_SPREAD
    return 1.0 + own + _sigmas(seed, node, run, *keys, size_bytes) * RUN_SPREAD


def variation(seed: int, node: str, run: str, *keys: object) -> float:
    """Return the standard deviation of the iterations of one run, as a share of their mean."""
    return 0.006 + 0.006 * draw(seed, node, run, "variation", *keys)


def _sigmas(*keys: object) -> float:
    return max(-MOST_SIGMA, min(MOST_SIGMA, _NORMAL.inv_cdf(draw("noise", *keys))))


def p99_factor(spread: float) -> float:
    """Return how much longer than the median the slowest of a hundred iterations takes, at this variation."""
    return math.exp(_NORMAL.inv_cdf(0.99) * spread)
