"""A node's counters over the last day, as far as this controller heard them."""

from __future__ import annotations

from checks.node_counters import NODE_COUNTERS, NodeCounter
from controller.api.call import Call
from controller.api.cell_view import CellView
from controller.api.counter_shapes import CounterSample, CounterSeries, CountersShown
from controller.api.moments import iso, iso_or_none
from controller.counter_ring import CounterRing
from controller.errors import NotLeading


async def node_counters(call: Call) -> CountersShown:
    """Return a node's counters over the last day.

    Raises:
        Problem: 404, no such node.
    """
    return counters_shown(call.cell, call.node().name)


def counters_shown(cell: CellView, node: str) -> CountersShown:
    """Return a node's counters over the last day."""
    ring, since = cell.counters.of(node) or CounterRing(), cell.counters.since
    told = [_series(counter, ring, cell.now()) for counter in NODE_COUNTERS if counter.name in ring.newest]
    return CountersShown(iso_or_none(since), "" if told else _why_none(cell), told)


def _series(counter: NodeCounter, ring: CounterRing, now: float) -> CounterSeries:
    samples = [
        CounterSample(iso(sample.at), sample.over_s, _rounded(sample.low), _rounded(sample.high))
        for sample in ring.samples(counter.name, now=now)
    ]
    return CounterSeries(
        counter.name, counter.summary, counter.unit, str(counter.kind), ring.newest[counter.name], samples
    )


def _rounded(value: float) -> float:
    """Return the number with the seven digits that single precision keeps of it."""
    return float(f"{value:.7g}")


def _why_none(cell: CellView) -> str:
    try:
        cell.check_leading()
    except NotLeading:
        return "this controller stands by, and nodes tell their counters to the one that leads"
    if cell.counters.is_full:
        return f"this controller keeps those of {cell.counters.most_nodes:,} nodes, and there are more"
    return "it has told none since this controller started"
