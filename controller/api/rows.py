"""Belief as the API shows it. Pure: every function turns what is believed into a shape and looks nothing up."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable

import msgspec

from checks.finding import Finding, Verdict
from controller.api.moments import iso, iso_or_none
from controller.api.shapes import (
    CanaryShown,
    CellStatus,
    CheckRow,
    Counts,
    FailureRate,
    FindingDetail,
    FindingRow,
    IncidentRow,
    NodeFactsShown,
    NodeRow,
    Overview,
    RolloutShown,
)
from controller.policy.belief import Belief
from controller.policy.history import DAY_S
from controller.policy.incident import Incident
from controller.policy.lemon import WINDOW_S, Score
from controller.policy.node_belief import NodeBelief, Raised, by_health, health
from controller.policy.places import places_of
from controller.policy.rules import Rules
from wire.messages import NodeFacts

_DIGITS = re.compile(r"(\d+)")


def natural(name: str) -> list[tuple[int, int, str]]:
    """Return a sort key by which n2 comes before n10."""
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in _DIGITS.split(name) if part]


def finding_row(finding: Finding) -> FindingRow:
    """Return a finding for a list."""
    return FindingRow(finding.check, finding.device, finding.code, finding.verdict, finding.action, finding.because)


def finding_detail(finding: Finding, *, raised: Raised | None) -> FindingDetail:
    """Return a finding with all that is known; `raised` is `None` when it no longer stands."""
    return FindingDetail(
        finding.check,
        finding.device,
        finding.code,
        finding.verdict,
        finding.action,
        finding.because,
        finding.pci,
        finding.serial,
        dict(finding.evidence),
        since=iso(raised.since) if raised else None,
        standing=raised is not None,
        incident_id=(raised.incident_id or None) if raised else None,
    )


def node_row(node: NodeBelief, *, last_seen_s: float | None) -> NodeRow:
    """Return a node for a list."""
    return NodeRow(
        node.name,
        health(node),
        node.schedulable,
        bool(node.hold_id),
        [finding_row(raised.finding) for raised in node.findings.values()],
        last_seen_s,
        places_shown(node),
    )


def places_shown(node: NodeBelief) -> dict[str, list[str]]:
    """Return where a node stands."""
    return {kind: list(names) for kind, names in places_of(node).items()}


def seconds_since(last_seen: float, now: float) -> float | None:
    """Return how long ago a node was heard, `None` for never."""
    return round(max(0.0, now - last_seen), 1) if last_seen else None


def check_rows(node: NodeBelief) -> list[CheckRow]:
    """Return how every check of a node stands, by name."""
    return [
        CheckRow(name, level.verdict, iso_or_none(level.judged_at), level.because)
        for name, level in sorted(node.checks.items())
    ]


def facts_shown(facts: NodeFacts) -> NodeFactsShown:
    """Return a node's facts."""
    return msgspec.convert(msgspec.to_builtins(facts), NodeFactsShown)


def failure_rate(score: Score) -> FailureRate:
    """Return how often a node failed beside the fleet."""
    return FailureRate(
        lemon_score=round(score.lemon, 4),
        rate_ratio=round(score.ratio, 2),
        rate_ratio_low=round(score.low, 2),
        rate_ratio_high=round(score.high, 2),
        failures=score.failures,
        expected=round(score.expected, 3),
        window_days=WINDOW_S / DAY_S,
    )


def incident_row(incident: Incident) -> IncidentRow:
    """Return an incident for a list."""
    return IncidentRow(
        incident.id,
        incident.node,
        incident.device,
        incident.fault_class,
        incident.playbook.name,
        incident.state,
        incident.outcome or None,
        iso(incident.opened_at),
        iso_or_none(incident.closed_at),
        incident.because,
        incident.acknowledged_by,
    )


def cell_status(overview: Overview, belief: Belief, now: float) -> CellStatus:
    """Return the cell at a glance."""
    return CellStatus(
        iso(now),
        overview.cell,
        overview.uptime_s,
        overview.budget,
        overview.broker_connected,
        overview.paused,
        overview.pauses,
        overview.frozen,
        overview.scheduler,
        overview.scheduler_error,
        overview.topology_errors,
        overview.rejected_messages,
        overview.lag_s,
        overview.term,
        overview.role,
        overview.leader_url,
        overview.store,
        counts(belief.nodes.values(), belief.open_incidents.values()),
        overview.notice_errors,
        overview.traces,
        overview.settings_error,
        overview.certificate,
    )


def counts(nodes: Collection[NodeBelief], open_incidents: Iterable[Incident]) -> Counts:
    """Return how many nodes and open incidents are in which state."""
    healths = by_health(nodes)
    states = Counter(incident.state for incident in open_incidents)
    return Counts(
        len(nodes),
        len(healths[Verdict.OK]),
        len(healths[Verdict.DEGRADED]),
        len(healths[Verdict.FAILED]),
        len(healths[Verdict.UNKNOWN]),
        sum(1 for node in nodes if node.hold_id),
        sum(1 for node in nodes if not node.schedulable),
        states.total(),
        states["waiting"],
        states["handed_over"] + states["aborted"],
    )


def rollout_shown(belief: Belief, rules: Rules, name: str) -> RolloutShown:
    """Return a changed playbook that is tried."""
    rollout = belief.rollouts.by_name[name]
    assert rollout.candidate is not None
    canaries = [
        CanaryShown(incident_id, canary.verdict or None, canary.because)
        for incident_id, canary in rollout.canaries.items()
    ]
    trusted = rollout.trusted.digest if rollout.trusted is not None else None
    wanted = rules.rollout.canaries
    return RolloutShown(name, trusted, rollout.candidate.digest, wanted, canaries, rollout.stopped)
