"""What a message of a node means: the events that it tells of, as this version knows them. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from checks.bench_bounds import bounded
from checks.finding import FindingKey, Verdict
from controller import bench_events, events
from controller.policy.node_belief import NodeBelief
from wire import messages

NOT_THE_NODES = frozenset({"controller", "scheduler", "bench"})
"""Origins of findings about which a node's own status says nothing."""

MAX_CLOCK_AHEAD_S = 300.0
"""How far ahead of ours a node's clock may be before its stamps are taken as our own time instead."""

_OUTCOMES: Final = frozenset({"done", "failed", "refused", "accepted"})
_VERDICTS: Final = frozenset(Verdict)


def as_known(status: messages.Status) -> messages.Status:
    """Return a level whose checks stand as this version knows how."""
    if _VERDICTS.issuperset(level.verdict for level in status.checks.values()):
        return status
    checks = {
        name: level if level.verdict in _VERDICTS else msgspec.structs.replace(level, verdict=str(Verdict.UNKNOWN))
        for name, level in status.checks.items()
    }
    return msgspec.structs.replace(status, checks=checks)


def _order_ended(node: str, body: messages.OrderEnded) -> events.OrderEnded:
    """Return how an order ended; what is not known to be a success is none."""
    outcome, because = body.outcome, body.because
    if outcome not in _OUTCOMES:
        outcome = "failed"
        because = f"the agent calls it {body.outcome[:40]!r}, which this controller does not know: {because}"
    return events.OrderEnded(node, body.order_id, outcome, because, body.started_at, body.observed_at, body.evidence)


def event_of(envelope: messages.Envelope, body: messages.Body, now: float) -> events.Event:
    """Return what a message says happened; `now` is our own clock."""
    node, boot_id = envelope.node, envelope.boot_id
    match body:
        case messages.FindingRaised():
            return events.FindingRaised(node, boot_id, body.finding, plausible(body.observed_at, now))
        case messages.FindingCleared():
            return events.FindingCleared(node, body.key, body.because, plausible(body.observed_at, now))
        case messages.AgentStarted():
            return events.AgentStarted(
                node, boot_id, body.previous_boot_id, body.rebooted, body.version, plausible(body.observed_at, now)
            )
        case messages.OrderEnded():
            return _order_ended(node, body)
        case messages.EvidenceEnded():
            return events.EvidenceEnded(
                body.incident_id, node, body.upload, body.outcome, body.because, body.size_bytes, body.sha256
            )
        case messages.BenchEnded():
            return bench_events.BenchEnded(node, body.lease, bounded(body.result), body.started_at, body.observed_at)
        case messages.Unknown():
            return events.AgentToldUnknown(node, boot_id, body.kind, body.text)
        case _:
            raise TypeError(f"no event for {type(body).__name__}")


def plausible(observed_at: float, now: float) -> float:
    """A clock that runs ahead must not make later edges look old for ever."""
    return min(observed_at, now + MAX_CLOCK_AHEAD_S)


def missed_edges(known: NodeBelief, envelope: messages.Envelope, status: messages.Status) -> Iterator[events.Event]:
    """Yield the edges that belief must have missed, given a level that is newer than what it knows."""
    shown: set[FindingKey] = set()
    for finding in status.findings:
        shown.add(finding.key)
        before = known.findings.get(finding.key)
        stale = known.edges.get(finding.key, 0.0) >= status.observed_at
        if stale or (
            before is not None and (before.finding.verdict, before.finding.action) == (finding.verdict, finding.action)
        ):
            continue
        yield events.FindingRaised(known.name, envelope.boot_id, finding, status.observed_at, origin="level")
    for key, raised in known.findings.items():
        if raised.origin in NOT_THE_NODES or key in shown or known.edges.get(key, 0.0) >= status.observed_at:
            continue
        because = "The node's full status no longer shows it."
        yield events.FindingCleared(known.name, key, because, status.observed_at, origin="level")
