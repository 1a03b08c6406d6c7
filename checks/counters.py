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
