"""A node's counters over time, as the API gives them."""

from __future__ import annotations

import msgspec


class CounterSample(msgspec.Struct, frozen=True):
    """What is known of one minute, or of one quarter of an hour.

    Attributes:
        at: its beginning; `over_s`: how many seconds it is long.
        low, high: the least and the most of a level; of a total both are how much it grew meanwhile.
    """

    at: str
    over_s: float
    low: float
    high: float


class CounterSeries(msgspec.Struct, frozen=True):
    """One number of a node.

    Attributes:
        kind: `level`, which goes up and down, or `total`, which grows until it begins anew.
        newest: what the node told last.
        samples: oldest first; times of which nothing is known are not there.
    """

    name: str
    summary: str
    unit: str
    kind: str
    newest: float
    samples: list[CounterSample]


class CountersShown(msgspec.Struct, frozen=True):
    """A node's counters over the last day. They are not in the log, and a controller that starts has none.

    Attributes:
        since: when the first level with counters came to this controller, from whatever node; null while none came.
        because: why there are none of this node, empty when there are some.
        series: every counter that the node tells.
    """

    since: str | None
    because: str
    series: list[CounterSeries]
