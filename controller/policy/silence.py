"""Silence is not death (I1): a lost agent, a lost node, and a whole fleet that fell silent are told apart.

One silent agent becomes a finding that a playbook may answer, never a reason to act on the node. A node is lost when
somebody else who watches it agrees (controller/policy/witnesses.py): the scheduler, its BMC, or nodes beside it. Many
silent at once mean that the broker or a network is gone: the cell freezes, and one page is sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from checks.finding import Action, Finding, FindingKey, Verdict
from controller import events
from controller.policy.belief import Belief
from controller.policy.fleet_incident import opened
from controller.policy.incident import Incident
from controller.policy.node_belief import NodeBelief
from controller.policy.playbook import Playbook, Step, Verb
from controller.policy.presence import AGENT_LOST, NODE_LOST
from controller.policy.rules import Rules
from controller.policy.witnesses import BY, lost_by, what_else, why_alive, why_lost

FLEET_SILENCE = Playbook(
    name="fleet_silence",
    summary="Many agents fell silent together: the broker or a network is gone, not the nodes.",
    fault_class="fleet_silence",
    severity="critical",
    precedence=0,
    answers=(),
    steps=(Step("page", Verb.PAGE, limit_s=300.0, attempts=3, parameters={"severity": "critical"}),),
    hand_over=(),
    drain_needed=False,
)


def silence(belief: Belief, rules: Rules, now: float) -> Iterator[events.Event]:
    """Yield what silence and its end mean."""
    frozen = frozen_by(belief)
    many = is_mass_silence(belief, rules)
    if many and frozen is None:
        yield _freeze(belief, rules)
    if not many and frozen is not None and frozen.step() is None:
        yield _thaw(frozen.id, belief)
    if not many:
        yield from _lost_agents(belief, rules, now)
        yield from _lost_nodes(belief, now)
    yield from _found_agents(belief, now)


def is_mass_silence(belief: Belief, rules: Rules) -> bool:
    """Return whether so many nodes are silent that the cause must be shared."""
    silent = len(belief.silent)
    return silent >= rules.mass_silence_nodes and silent > rules.mass_silence_share * len(belief.nodes)


def frozen_by(belief: Belief) -> Incident | None:
    """Return the incident for which the cell is frozen, `None` when it is not."""
    return next((i for i in belief.open_on("") if i.playbook.name == FLEET_SILENCE.name), None)


def _freeze(belief: Belief, rules: Rules) -> events.Event:
    silent, fleet = sorted(belief.silent), len(belief.nodes)
    reason = events.Reason(
        f"{len(silent)} of {fleet} agents fell silent together, so the broker or a network is suspected; "
        "no node is acted on until they are heard again.",
        {"silent": ", ".join(silent[:20]), "fleet": str(fleet)},
        f"fewer than {rules.mass_silence_nodes} nodes or at most {rules.mass_silence_share:.0%} were silent",
    )
    return opened(belief, "fleet", fault_class=FLEET_SILENCE.fault_class, playbook=FLEET_SILENCE, reason=reason)


def _thaw(incident_id: str, belief: Belief) -> events.Event:
    reason = events.Reason(f"Agents are heard again: {len(belief.silent)} of {len(belief.nodes)} are still silent.")
    return events.IncidentClosed(incident_id, "recovered", reason)


def _lost_agents(belief: Belief, rules: Rules, now: float) -> Iterator[events.Event]:
    for name, since in list(belief.unreported.items()):
        node = belief.nodes[name]
        if now - since >= rules.agent_lost_after_s and not is_rebooting(belief, name):
            finding = _node_lost(node) if lost_by(node) else _agent_lost(node, now - since)
            yield events.FindingRaised(name, node.boot_id, finding, now, origin="controller")


def _agent_lost(node: NodeBelief, silent_s: float) -> Finding:
    begin = f"The agent on {node.name} is {node.presence} for {silent_s:.0f} s"
    because = f"{begin}; {what_else(node)}, but nothing is known of it."
    return _ours(AGENT_LOST, Action.RESTART_SERVICE, because)


def _node_lost(node: NodeBelief) -> Finding:
    because = f"{node.name} is lost: its agent is {node.presence}, and {why_lost(node)}."
    return replace(_ours(NODE_LOST, Action.POWER_CYCLE, because), evidence={BY: lost_by(node)})


def _alive(node: NodeBelief) -> str:
    return why_alive(node, confirmed_by=node.findings[NODE_LOST].finding.evidence.get(BY, ""))


def _ours(key: FindingKey, action: Action, because: str) -> Finding:
    return Finding(key.check, key.device, key.code, Verdict.FAILED, action, because)


def _lost_nodes(belief: Belief, now: float) -> Iterator[events.Event]:
    """Yield when somebody agrees, later, that a silent node is lost, and when somebody says that it lives after all."""
    for name in list(belief.agents_lost):
        node = belief.nodes[name]
        if name not in belief.silent or is_rebooting(belief, name):
            continue
        if lost_by(node) and NODE_LOST not in node.findings:
            yield events.FindingRaised(name, node.boot_id, _node_lost(node), now, origin="controller")
        alive = _alive(node) if NODE_LOST in node.findings else ""
        if alive:
            yield events.FindingRaised(
                name, node.boot_id, _agent_lost(node, now - belief.silent[name]), now, origin="controller"
            )
            yield events.FindingCleared(name, NODE_LOST, alive, now, origin="controller")


def is_rebooting(belief: Belief, name: str) -> bool:
    """A node that was told to reboot is expected to be silent; the step's own time limit watches it."""
    return any(i.intent is not None and i.intent.verb in SILENT_VERBS for i in belief.open_on(name))


SILENT_VERBS = frozenset({Verb.REBOOT, Verb.POWER_CYCLE})


def _found_agents(belief: Belief, now: float) -> Iterator[events.Event]:
    for name in list(belief.agents_lost):
        if name in belief.silent:
            continue
        presence, findings = belief.nodes[name].presence, belief.nodes[name].findings
        for key in (key for key in (AGENT_LOST, NODE_LOST) if key in findings):
            yield events.FindingCleared(name, key, f"The agent is {presence} again.", now, origin="controller")
