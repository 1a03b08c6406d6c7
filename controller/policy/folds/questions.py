"""Findings that nobody decided about yet, and those that were left: deciding costs what is open, not what exists."""

from __future__ import annotations

from checks.finding import Finding, FindingKey, Verdict
from controller.policy.belief import Belief
from controller.policy.incident import Incident


def leave_unanswered(belief: Belief, node: str, finding: Finding) -> None:
    """A finding that stands is to be decided about."""
    forget(belief, node, finding.key)
    if finding.verdict in {Verdict.FAILED, Verdict.DEGRADED}:
        belief.unanswered[node, finding.key] = None


def forget(belief: Belief, node: str, key: FindingKey) -> None:
    """A finding was answered, or is over."""
    belief.unanswered.pop((node, key), None)
    left = belief.left.get(node, {})
    left.pop(key, None)
    if not left:
        belief.left.pop(node, None)


def ask_all_again(belief: Belief) -> None:
    """Other playbooks may answer what was left."""
    belief.unanswered.update(((node, key), None) for node, keys in belief.left.items() for key in keys)
    belief.left.clear()


def ask_again(belief: Belief, incident: Incident) -> None:
    """What nobody answers by itself may belong to an incident of the same device."""
    left = belief.left.get(incident.node, {})
    for key in [key for key in left if key.device == incident.device]:
        forget(belief, incident.node, key)
        belief.unanswered[incident.node, key] = None
