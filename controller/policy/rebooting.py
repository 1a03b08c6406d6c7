"""Whether a node that was to be restarted, by order or by its BMC, was: only another boot id says so.

What a BMC or a node answers is a promise. A BMC that answers 204 and does nothing is found out when the agent is heard
again on the boot of before, when the power stays off, or when the step's time is over.
"""

from __future__ import annotations

from controller.policy.belief import Belief
from controller.policy.incident import Incident
from controller.policy.node_belief import NodeBelief
from controller.policy.playbook import Verb

SETTLED_S = 60.0
"""An agent that starts later than this on the same boot was not about to be cut off. Source: our choice; BMCs cut the
power within seconds, emulated ones within 11 s, and the services of a host that shuts down are not started again."""

HEARD_S = 120.0
"""So long an agent must have been heard before its boot id counts as that of before: presence comes first, and the boot
id with the next level. Source: our choice; twice the interval of levels."""

STAYS_OFF_S = 180.0
"""So long after a power cycle was taken up a node may be off. Source: our choice; it is off for some seconds."""

Verdict = tuple[str, str] | None


def restarted(belief: Belief, incident: Incident, now: float) -> Verdict:
    """Return that the node came back with another boot id, or that it was not restarted, `None` while neither shows."""
    node = belief.nodes[incident.node]
    if has_rebooted(node, incident):
        return "done", f"The node came back with another boot id, {node.boot_id[:8]}."
    return _found_out(node, incident, now) if incident.taken_up_at else None


def has_rebooted(node: NodeBelief, incident: Incident) -> bool:
    """Return whether the boot id is another one than when the step began.

    Where none was known then, the node's own word has to do.
    """
    if not incident.boot_before:
        return node.rebooted_at > incident.intent_at
    return node.boot_id not in {"", incident.boot_before} and node.boot_id not in node.past_boots


def same_boot(belief: Belief, incident: Incident) -> str:
    """Return, for a step that ran out of time, that the node is heard on its old boot; empty when that is not known."""
    node = belief.nodes[incident.node]
    if node.presence != "online" or not incident.boot_before or node.boot_id != incident.boot_before:
        return ""
    return f"{node.name} is on the boot of before, {node.boot_id[:8]}: {_promise(incident)}"


def _found_out(node: NodeBelief, incident: Incident, now: float) -> Verdict:
    settled_at = incident.taken_up_at + SETTLED_S
    is_same = bool(incident.boot_before) and node.boot_id == incident.boot_before
    if is_same and node.agent_started_at > settled_at:
        return "failed", f"The agent started again on the boot of before, {node.boot_id[:8]}: {_promise(incident)}"
    is_heard = node.presence == "online" and node.presence_since > settled_at and now >= node.presence_since + HEARD_S
    if is_same and is_heard:
        return "failed", f"The agent is heard again on the boot of before, {node.boot_id[:8]}: {_promise(incident)}"
    if _is_power_cycle(incident) and node.power == "off" and now >= incident.taken_up_at + STAYS_OFF_S:
        return "failed", f"{node.power_because} It stays off: {_promise(incident)}"
    return None


def _is_power_cycle(incident: Incident) -> bool:
    return incident.intent is not None and incident.intent.verb == Verb.POWER_CYCLE


def _promise(incident: Incident) -> str:
    """Return who had taken it up, and that nothing came of it."""
    said = incident.progress.because if incident.progress is not None else ""
    said = said or (incident.order.because if incident.order is not None else "")
    what = "power cycle" if _is_power_cycle(incident) else "reboot"
    return (
        f"the {what} was taken up ({said.rstrip('.')}), and nothing came of it." if said else f"no {what} took place."
    )
