"""Findings that are raised and cleared, and those that no playbook answers."""

from __future__ import annotations

from dataclasses import replace

from checks.finding import FindingKey, Verdict
from controller import events
from controller.policy.belief import Belief
from controller.policy.folds import nodes, questions
from controller.policy.lemon import LEMON_KEY
from controller.policy.node_belief import Raised, judged_otherwise
from controller.policy.playbook import ADMISSION
from controller.policy.presence import OURS


def raised(belief: Belief, event: events.FindingRaised, at: float) -> None:
    """Take in a finding, unless a newer edge of it is known."""
    node, key = belief.node(event.node), event.finding.key
    if node.edges.get(key, 0.0) > event.observed_at:
        return
    node.edges[key] = event.observed_at
    if event.finding.check in OURS:
        belief.agents_lost[event.node] = None
        nodes.count_silence(belief, event.node)
    elif key == LEMON_KEY:
        belief.lemons.add(event.node)
    before = node.findings.get(key)
    if before is None or judged_otherwise(before.finding, event.finding):
        since = at if before is None else before.since
        _leave_domain(belief, event.node, key, before, at)
        node.findings[key] = Raised(event.finding, since, event.observed_at, event.origin)
        questions.leave_unanswered(belief, event.node, event.finding)
        if event.finding.verdict is Verdict.FAILED:
            belief.outbreaks.fail(event.node, key.check, belief.scopes_of(event.node, []), at)
    else:
        before.finding, before.observed_at = event.finding, event.observed_at
        _name_part(belief, before)


def cleared(belief: Belief, event: events.FindingCleared, at: float) -> None:
    """Take in that a finding is over, unless a newer edge of it is known."""
    node = belief.node(event.node)
    if node.edges.get(event.key, 0.0) > event.observed_at:
        return
    node.edges[event.key] = event.observed_at
    _leave_domain(belief, event.node, event.key, node.findings.pop(event.key, None), at)
    if event.key.check in OURS and OURS.isdisjoint(key.check for key in node.findings):
        belief.agents_lost.pop(event.node, None)
        nodes.count_silence(belief, event.node)
    elif event.key == LEMON_KEY:
        belief.lemons.discard(event.node)
    elif event.key == ADMISSION:
        belief.bench.due.pop(event.node, None)
    questions.forget(belief, event.node, event.key)


def left(belief: Belief, event: events.FindingLeft, _at: float) -> None:
    """Note that no playbook answers a finding."""
    belief.unanswered.pop((event.node, event.key), None)
    belief.left.setdefault(event.node, {})[event.key] = None


def _name_part(belief: Belief, raised: Raised) -> None:
    """Let the incident know its part: an agent may learn the serial number after the fault."""
    incident = belief.open_incidents.get(raised.incident_id)
    known = incident.condemned_by.get(raised.finding.key) if incident is not None else None
    serial = raised.finding.serial
    if incident is None or known is None or known.serial or not serial:
        return
    incident.condemned_by[known.key] = replace(known, serial=serial)
    if incident.part in {f"{incident.node}/{known.device}", known.device}:
        incident.part = serial


def _leave_domain(belief: Belief, node: str, key: FindingKey, raised: Raised | None, at: float) -> None:
    domain = belief.open_incidents.get(raised.incident_id) if raised is not None else None
    if domain is None or node not in domain.members:
        return
    domain.members[node].discard(key)
    if not domain.members[node]:
        del domain.members[node]
        domain.member_left_at = at
