"""What is believed of nodes, counted in one pass over all of them that lets go of the event loop again and again."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from checks.finding import Verdict
from controller.metrics import catalogue
from controller.policy.belief import Belief
from controller.policy.benching.book import Kept
from controller.policy.node_belief import NodeBelief, health
from controller.policy.places import POOL
from wire.metrics import LabelValues, Values, bounded

NODES_A_TURN = 500
"""So many nodes are counted before everything else gets its turn: a millisecond or two."""


@dataclass(slots=True)
class Census:
    """The nodes counted so far."""

    nodes: Counter[LabelValues] = field(default_factory=Counter)
    gpus: Counter[LabelValues] = field(default_factory=Counter)
    presences: Counter[LabelValues] = field(default_factory=Counter)
    versions: Counter[LabelValues] = field(default_factory=Counter)
    findings: Counter[LabelValues] = field(default_factory=Counter)
    bench: Counter[LabelValues] = field(default_factory=Counter)
    gpus_out: int = 0
    foreign: int = 0

    def count(self, node: NodeBelief, belief: Belief) -> None:
        """Count one node."""
        pools, gpus = node.places.get(POOL, ()), node.facts.gpu_count
        key = (_health(node), pools[0] if pools else "", node.facts.gpu_model)
        self.nodes[key] += 1
        self.gpus[key] += gpus
        self.presences[(node.presence,)] += 1
        self.versions[(node.facts.agent_version,)] += 1
        for finding in node.findings:
            self.findings[finding.check, node.findings[finding].finding.verdict] += 1
        for benchmark, kept in belief.bench.newest.get(node.name, _NOTHING).items():
            self.bench[benchmark, kept.outcome] += 1
        self.foreign += bool(node.foreign_reason)
        if node.name in belief.held:
            self.gpus_out += gpus

    def values(self) -> Values:
        """Return what was counted, within the bounds of its labels."""
        places = {1: catalogue.MOST_POOLS, 2: catalogue.MOST_SKUS}
        return {
            "fleetmend_nodes": bounded(self.nodes, places),
            "fleetmend_gpus": bounded(self.gpus, places),
            "fleetmend_nodes_by_presence": {(each,): self.presences[(each,)] for each in catalogue.PRESENCES},
            "fleetmend_nodes_by_agent_version": bounded(self.versions, {0: catalogue.MOST_VERSIONS}),
            "fleetmend_findings": bounded(self.findings, {0: catalogue.MOST_CHECKS}),
            "fleetmend_bench_nodes": self.bench,
            "fleetmend_gpus_out": {(): self.gpus_out},
        }


_NOTHING: dict[str, Kept] = {}


async def census(belief: Belief) -> Census:
    """Return the nodes counted. What changes meanwhile may be counted as it was or as it is."""
    found = Census()
    for nodes in _turns(list(belief.nodes.values())):
        for node in nodes:
            found.count(node, belief)
        await asyncio.sleep(0)
    return found


def _turns(nodes: list[NodeBelief]) -> Iterable[list[NodeBelief]]:
    return (nodes[first : first + NODES_A_TURN] for first in range(0, len(nodes), NODES_A_TURN))


def _health(node: NodeBelief) -> Verdict:
    """Most nodes are well, so those are told apart without a look."""
    return health(node) if node.findings or node.presence != "online" else Verdict.OK
