"""Growth of counters, with the ways in which hardware counters lie."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise


def growth(values: Iterable[int | None]) -> int:
    """Return by how much a counter grew over its readings, oldest first; readings without a value are left out.

    A counter that goes down was reset: its new value is the baseline from there on, and nothing is counted for it.
    """
    known = [value for value in values if value is not None]
    return sum(max(0, later - earlier) for earlier, later in pairwise(known))


def rate_per_min(samples: Iterable[tuple[float, int | None]], *, over_s: float) -> float | None:
    """Return how fast a counter grew, `None` while its readings span less than `over_s` seconds.

    Args:
        samples: when and what, oldest first.
    """
    known = [(at_s, value) for at_s, value in samples if value is not None]
    if not known or known[-1][0] - known[0][0] < over_s:
        return None
    return growth(value for _, value in known) * 60.0 / (known[-1][0] - known[0][0])


def since_reset(values: Iterable[int | None]) -> list[int]:
    """Return the known readings from the one on at which the counter last went down: a reset ends what was before."""
    since: list[int] = []
    for value in values:
        if value is None:
            continue
        if since and value < since[-1]:
            since = []
        since.append(value)
    return since
