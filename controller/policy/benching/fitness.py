"""Whether a node may be benchmarked at all: idle as the scheduler says, or held out by us and empty. Pure."""

from __future__ import annotations

from controller.policy.belief import Belief
from controller.policy.benching.book import BenchRun, Turn
from controller.policy.node_belief import NodeBelief


def unfit(belief: Belief, run: BenchRun, turn: Turn, _now: float) -> str:
    """Return why this turn is skipped, empty when nothing speaks against it. Anything unknown speaks against it."""
    for name in turn.nodes:
        node = belief.nodes.get(name)
        because = _unfit(node, run) if node is not None else "no such node is known"
        if because:
            return f"{name}: {because}."
    return ""


def _unfit(node: NodeBelief, run: BenchRun) -> str:
    if node.presence != "online":
        return f"its agent is {node.presence}"
    if not node.schedule_observed_at:
        return "the scheduler did not say whether it is idle"
    if node.jobs_unknown:
        return f"nobody can tell whether it is idle: {node.jobs_unknown}"
    if node.jobs:
        return f"it has work: {', '.join(node.jobs)}"
    if node.foreign_reason:
        return f"somebody else holds it ({node.foreign_reason})"
    held = bool(node.hold_id)
    if not held and not node.schedulable:
        return "the scheduler keeps it out, and fleetmend does not"
    if run.tier >= 3 and not held:
        return "a benchmark of tier 3 runs on a cordoned node alone"
    return ""
