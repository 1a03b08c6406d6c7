"""Baselines: learnt by themselves the first time that enough healthy peers were measured, and frozen from then. Pure.

A baseline that went on learning would learn a slow decay, so a second one is learnt on a person's word alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from checks.bench_baseline import LEAST_PEERS, Baseline, Fingerprint, learnt
from checks.finding import Verdict
from controller.bench_events import BaselineLearnt
from controller.policy.belief import Belief
from controller.policy.node_belief import NodeBelief

ITSELF = "fleetmend"
_UNWELL = frozenset({Verdict.FAILED, Verdict.DEGRADED})


def first_baselines(belief: Belief, fingerprints: Iterable[Fingerprint]) -> Iterator[BaselineLearnt]:
    """Yield the first baseline of each of these fingerprints that enough peers were measured in by now."""
    for fingerprint in fingerprints:
        if fingerprint in belief.bench.baselines or len(belief.bench.peers.get(fingerprint, ())) < LEAST_PEERS:
            continue
        baseline = learnable(belief, fingerprint)
        if baseline is not None:
            because = (
                f"{baseline.peers} healthy peers were measured, and there was no baseline: it stands from here on."
            )
            yield BaselineLearnt(baseline, ITSELF, because, list(healthy_peers(belief, fingerprint)))


def learnable(belief: Belief, fingerprint: Fingerprint) -> Baseline | None:
    """Return the baseline that could be learnt now, `None` when fewer than eight healthy peers were measured."""
    return learnt(fingerprint, healthy_peers(belief, fingerprint))


def healthy_peers(belief: Belief, fingerprint: Fingerprint) -> dict[str, list[float]]:
    """Return node → its newest values, without nodes that are out of service now or that anything speaks against."""
    samples = belief.bench.samples.get(fingerprint, {})
    peers = belief.bench.peers.get(fingerprint, {})
    return {node: samples[node] for node in peers if node in samples and is_well(belief.nodes.get(node))}


def is_well(node: NodeBelief | None) -> bool:
    """Return whether a node may stand for healthy ones: in service, and nothing was found on it."""
    if node is None or node.hold_id or node.foreign_reason or not node.schedulable:
        return False
    return not any(raised.finding.verdict in _UNWELL for raised in node.findings.values())
