"""Whether a node may be benchmarked at all: idle as the scheduler says, or held out by us and empty. Pure."""

from __future__ import annotations

from controller.policy.belief import Belief
from controller.policy.benching.book import BenchRun, Turn
from controller.policy.node_belief import NodeBelief
from controller.policy.playbook import REPAIRS
from controller.policy.rules import Rules
from wire.orders import OrderAction

NO_SCHEDULER = "none"
"""Name of the adapter that knows of no work at all."""

DEEPEST_TIER = 3


def unfit(belief: Belief, rules: Rules, run: BenchRun, turn: Turn) -> str:
    """Return why this turn cannot be run now, empty when nothing speaks against it. What is unknown speaks against it.

    A node whose scheduler fell silent is found by the desk, which looks again before it orders anything.
    """
    for name in turn.nodes:
        node = belief.nodes.get(name)
        if node is None:
            return f"{name}: no such node is known."
        because = _away(node) or taken_by(node) or unknown(node, rules) or _busy(belief, node, run) or _deep(node, run)
        if because:
            return f"{name}: {because}."
    return ""


def taken_by(node: NodeBelief) -> str:
    """Return what has the node now, a job or somebody who holds it; empty when nothing has."""
    if node.jobs:
        return f"it has work: {', '.join(node.jobs[:5])}"
    if node.foreign_reason:
        return f"somebody else holds it ({node.foreign_reason})"
    return ""


def _away(node: NodeBelief) -> str:
    if node.presence != "online":
        return f"its agent is {node.presence}"
    if node.facts.orders_allowed and OrderAction.BENCH not in node.facts.orders_allowed:
        return "it takes no order `bench`: that is not among its orders_allowed"
    return ""


def unknown(node: NodeBelief, rules: Rules) -> str:
    """Return why nobody can say that the node has no work, empty when somebody can."""
    if node.jobs_unknown:
        return f"nobody can tell whether it is idle: {node.jobs_unknown}"
    if node.responding is False:
        return "the scheduler's daemon on it does not answer, so nobody can tell whether it is idle"
    if node.hold_id:
        return ""
    if not node.schedulable:
        return "the scheduler keeps it out, and fleetmend does not hold it"
    if not rules.bench.idle_by:
        return "nobody says whether it is idle"
    if rules.bench.idle_by == NO_SCHEDULER and not (rules.bench.trust_nodes or node.facts.simulated):
        return "no scheduler says whether it is idle; cordon it first, or set bench.trust_nodes"
    return ""


def _busy(belief: Belief, node: NodeBelief, run: BenchRun) -> str:
    """Return the repair that goes on here for another incident than the one the run belongs to."""
    for incident in belief.open_on(node.name):
        repairing = incident.intent is not None and incident.intent.verb in REPAIRS
        if incident.id != run.incident_id and repairing and incident.intent is not None:
            return f"{incident.id} repairs it now: {incident.intent.verb}"
    return ""


def _deep(node: NodeBelief, run: BenchRun) -> str:
    if run.tier >= DEEPEST_TIER and not node.held_since:
        return f"a benchmark of tier {run.tier} runs on a cordoned node alone"
    return ""
