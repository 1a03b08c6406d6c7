"""Growth of counters, with the ways in which hardware counters lie."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise


def growth(values: Iterable[int | None], *, wraps_at: int = 0) -> int:
    """Return by how much a counter grew over its readings, oldest first; readings without a value are left out.

    A counter that goes down was reset: its new value is the baseline from there on, and nothing is counted for it.

    Args:
        wraps_at: where the counter begins anew (2**32), 0 for one that does not. It is taken to have wrapped when it
            went from the last quarter of its range to the first, else to have been reset.
    """
    known = [value for value in values if value is not None]
    return sum(_step(earlier, later, wraps_at) for earlier, later in pairwise(known))


def _step(earlier: int, later: int, wraps_at: int) -> int:
    if later >= earlier:
        return later - earlier
    has_wrapped = wraps_at and 4 * earlier >= 3 * wraps_at and 4 * later <= wraps_at
    return later + wraps_at - earlier if has_wrapped else 0


def rate_per_s(samples: Sequence[tuple[float, int | None]], *, over_s: float, wraps_at: int = 0) -> float | None:
    """Return how fast a counter grew lately, `None` where that is not known.

    Args:
        samples: time in seconds and total, oldest first.
        over_s: of the samples the shortest newest stretch counts that lasts for at least so long.
        wraps_at: as for `growth`.
    """
    known = [(at_s, value) for at_s, value in samples if value is not None]
    start = next((i for i in reversed(range(len(known))) if known[-1][0] - known[i][0] >= over_s), None)
    if start is None:
        return None
    grown = growth((value for _, value in known[start:]), wraps_at=wraps_at)
    return grown / (known[-1][0] - known[start][0])


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
