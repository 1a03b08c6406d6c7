"""What the log tells of a node over time: read from the log, a bounded number of its newest entries of each kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from checks.bench_limits import BenchLimits
from controller.api.call import Call
from controller.api.cell_view import CellView
from controller.api.history_shapes import NodeHistory
from controller.api.moments import iso
from controller.api.node_numbers import benchmarks, counters, lanes
from controller.api.node_parts import parts_of
from controller.events import Logged
from controller.policy.belief import Belief
from controller.policy.node_belief import NodeBelief

SEEN: Final = (("node.seen",), 200)
TOLD: Final = (("finding.raised", "checks.changed"), 1_000)
JUDGED: Final = (("bench.judged",), 100)
"""Kinds of entries, and how many of the newest are looked at. Source: our choice; some ten milliseconds for all."""


async def node_history(call: Call) -> NodeHistory:
    """Return what the log tells of a node over time.

    Raises:
        Problem: 404, no such node.
    """
    return await history_of(call.cell, call.node())


async def history_of(cell: CellView, node: NodeBelief) -> NodeHistory:
    """Return what the log tells of a node over time."""
    seen, told, judged = [
        await cell.of_node(node.name, kinds=kinds, limit=limit) for kinds, limit in (SEEN, TOLD, JUDGED)
    ]
    return history_from(cell.belief, node, cell.rules.bench.limits, seen=seen, told=told, judged=judged)


def history_from(
    belief: Belief,
    node: NodeBelief,
    bench_limits: BenchLimits,
    *,
    seen: Sequence[Logged],
    told: Sequence[Logged],
    judged: Sequence[Logged],
) -> NodeHistory:
    """Return what these entries, oldest first, and belief tell of a node."""
    oldest = min((entries[0].at for entries in (seen, told, judged) if entries), default=0.0)
    limits = zip((seen, told, judged), (SEEN, TOLD, JUDGED), strict=True)
    is_cut = any(len(entries) >= limit for entries, (_, limit) in limits)
    return NodeHistory(
        iso(oldest) if oldest else None,
        not is_cut,
        parts_of(belief, node, seen),
        lanes(told),
        counters(told),
        benchmarks(judged, bench_limits),
    )
