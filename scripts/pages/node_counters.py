"""The page of the counters that a node tells all the time."""

from __future__ import annotations

from checks.node_counters import NODE_COUNTERS, Kind
from controller import counter_ring
from controller.counters import MOST_NODES
from scripts.pages.markdown import code, page, table

_KINDS = {Kind.LEVEL: "level", Kind.TOTAL: "total, drawn as what was added"}


def node_counters_page() -> str:
    """Return the counters that a node's page draws."""
    intro = (
        "Numbers of a node over time, each of all its devices together. Every agent tells them with its level, once a "
        f"minute; the controller keeps each minute of the last {counter_ring.MINUTES // 60} hours and each "
        f"{counter_ring.QUARTER_MINUTES} minutes of the last {int(counter_ring.KEPT_S / 3600)} hours, in memory, for "
        f"{MOST_NODES:,} nodes at the most. No decision depends on them. See "
        "[how history decides](../explanation/history.md#counters-of-a-node)."
    )
    rows = [
        (
            code(counter.name),
            counter.summary,
            counter.unit or "–",
            _KINDS[counter.kind],
            ", ".join(code(reading.SOURCE) for reading in counter.takes),
        )
        for counter in NODE_COUNTERS
    ]
    return page("Counters of a node", intro, table(("counter", "what it is", "unit", "kind", "sources"), rows))
