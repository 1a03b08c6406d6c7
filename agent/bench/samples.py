"""Many timings of one thing as one number of a benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median, pstdev

from checks.bench_result import BenchNumber

ONE_IN_A_HUNDRED = 0.99


def number_of(metric: str, amount: float, times_s: Sequence[float], *, device: str = "", way: str = "") -> BenchNumber:
    """Return how much was done in a second at the median, and how far the samples lie apart.

    Args:
        amount: what was done in each of the times, in the metric's unit times a second.
        times_s: one for each sample; none at all gives a number without a value.
    """
    if not times_s or median(times_s) <= 0.0:
        return BenchNumber(metric, None, device, way=way)
    ordered = sorted(times_s)
    middle, mean = median(ordered), fmean(ordered)
    return BenchNumber(
        metric,
        amount / middle,
        device,
        way=way,
        p50_s=middle,
        p99_s=ordered[min(len(ordered) - 1, int(ONE_IN_A_HUNDRED * len(ordered)))],
        variation=pstdev(ordered) / mean,
        samples=len(ordered),
    )
