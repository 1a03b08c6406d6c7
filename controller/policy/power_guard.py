"""Whether a node's power may be cut or given now: only when nothing is left to lose on it, and nobody works on it.

Asked right before the BMC is, each time: what was true when the step was planned may have changed since.
"""

from __future__ import annotations

from controller.policy.belief import Belief
from controller.policy.incident import Incident
from controller.policy.node_belief import NodeBelief
from controller.policy.opening import OPERATOR_CORDON, standing
from controller.policy.playbook import Verb
from controller.policy.presence import NODE_LOST


def why_not_cycled(belief: Belief, incident: Incident) -> str:
    """Return why the power of the incident's node must not be touched, empty when it may be."""
    node = belief.nodes[incident.node]
    if incident.condemned_by and not standing(belief, incident):
        return f"Nothing is left to mend on {node.name}: every finding of this incident has cleared."
    if theirs := _whose(belief, node, incident):
        return f"The power of {node.name} is left alone: {theirs}, and may have their hands in it."
    if NODE_LOST in node.findings:
        return ""
    return _why_not_empty(node, incident)


def _whose(belief: Belief, node: NodeBelief, incident: Incident) -> str:
    """Return which people have the node, empty when nobody does.

    A host that is off while people have it is off because they switched it off: to swap a part, say.
    """
    if node.foreign_reason:
        return f"somebody else holds it ({node.foreign_reason})"
    for other in belief.open_on(node.name):
        if other.playbook.name == OPERATOR_CORDON.name:
            return f"a person took it out ({other.id})"
        if other.id != incident.id and other.outcome:
            return f"people have it for {other.id}"
    return ""


def _why_not_empty(node: NodeBelief, incident: Incident) -> str:
    begin = f"The power of {node.name} is not cut: it is not confirmed lost, and"
    if any(rung.verb == Verb.REBOOT and rung.outcome == "refused" for rung in incident.rungs[-1:]):
        return f"{begin} it refused to be rebooted: {incident.last_failure}"
    if not node.held_since:
        return f"{begin} it is not held out, so work may be placed on it at any time."
    if node.jobs:
        return f"{begin} the scheduler still has {_counted(node.jobs)} on it."
    if not incident.drained and node.jobs_unknown:
        return f"{begin} nobody can tell what works on it: {node.jobs_unknown}."
    if not incident.drained and node.schedule_observed_at <= node.held_since:
        return f"{begin} nobody has said since it is held out that no job is left on it."
    return ""


def _counted(jobs: tuple[str, ...]) -> str:
    named = ", ".join(jobs[:5]) + (f" and {len(jobs) - 5} more" if len(jobs) > 5 else "")
    return f"{'job' if len(jobs) == 1 else 'jobs'} {named}"
