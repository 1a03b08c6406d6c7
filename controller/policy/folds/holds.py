"""Nodes that are taken out, and that are free again."""

from __future__ import annotations

from controller.policy.belief import Belief
from controller.policy.incident import Incident
from controller.policy.playbook import ADMISSION_CLASS, BREAKER_CLASS
from controller.policy.scopes import parse


def take_out(belief: Belief, incident: Incident, at: float) -> None:
    """Count a node as taken out, as the canary of each breaker that is half open."""
    scopes = belief.scopes_of(incident.node, [incident])
    if incident.fault_class != ADMISSION_CLASS:
        belief.ledger.take(scopes, at)
    for breaker in belief.open_on(""):
        half_open = breaker.fault_class == BREAKER_CLASS and breaker.step() is None and not breaker.canary
        if half_open and parse(breaker.device) in scopes:
            breaker.canary = incident.id


def end_canary(belief: Belief, incident: Incident, outcome: str) -> None:
    """A half-open breaker learns how its canary ended; one that could not be taken out was none."""
    if outcome:
        belief.rollouts.end(incident)
    for breaker in belief.open_on(""):
        if breaker.canary == incident.id and outcome:
            breaker.canary_outcome = breaker.canary_outcome or outcome
        elif breaker.canary == incident.id:
            breaker.canary = ""


def let_go(belief: Belief, incident: Incident) -> None:
    """The incident holds its node no more."""
    incident.holding = incident.cordoned = False
    free_if_unheld(belief, incident.node)


def drop_intent(belief: Belief, incident: Incident) -> None:
    """The step that was intended is wanted no more."""
    if incident.intent is not None:
        belief.orders.pop(incident.intent.key, None)
        incident.drop_intent()


def free_if_unheld(belief: Belief, name: str) -> None:
    """A node that no incident holds any more is free."""
    node = belief.nodes.get(name)
    if node is None or any(incident.holding for incident in belief.open_on(name)):
        return
    if node.hold_id:
        node.hold_id, node.held_since, node.schedulable = "", 0.0, not node.foreign_reason


def lose(incident: Incident, foreign_reason: str) -> None:
    """A person changed the scheduler's hold while it was ours: the plan is theirs now (I5)."""
    incident.holding = incident.cordoned = False
    whose = f"it is now held as {foreign_reason!r}" if foreign_reason else "it is schedulable again"
    incident.stop_asked = f"a person changed the node in the scheduler: {whose}"
