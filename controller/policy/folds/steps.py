"""Steps: what was intended, how far it is, how it ended."""

from __future__ import annotations

from controller import events
from controller.policy.belief import Belief
from controller.policy.folds import holds
from controller.policy.incident import Incident
from controller.policy.playbook import RESTARTS, Verb


def intended(belief: Belief, event: events.StepIntended, at: float) -> None:
    """Note the intent before the effect."""
    incident = belief.incidents[event.incident_id]
    incident.intend(event, at)
    incident.boot_before = belief.nodes[event.node].boot_id if event.node in belief.nodes else ""
    if event.verb in RESTARTS:
        incident.restarted_from = incident.boot_before
    belief.orders[event.key] = event.incident_id
    if event.verb == Verb.CORDON:
        node = belief.node(event.node)
        node.hold_id = node.hold_id or event.hold_id
        if event.node not in belief.held:
            holds.take_out(belief, incident, at)


def progressed(belief: Belief, event: events.StepProgressed, at: float) -> None:
    """Note how far a step is."""
    incident = belief.incidents[event.incident_id]
    if incident.intent is not None and incident.intent.key == event.key:
        incident.progress = event
        if event.state == "accepted":
            incident.taken_up_at = at


def ended(belief: Belief, event: events.StepEnded, at: float) -> None:
    """Take in how a step ended."""
    incident = belief.incidents[event.incident_id]
    if incident.intent is None or incident.intent.key != event.key:
        return
    verb = incident.intent.verb
    belief.orders.pop(event.key, None)
    incident.end_step(event, at)
    if verb == Verb.CORDON:
        _cordon_ended(belief, incident, event, at)
    elif verb == Verb.UNCORDON and event.outcome == "done":
        holds.let_go(belief, incident)
        belief.node(incident.node).hold_changed_at = at
    elif verb == Verb.UNCORDON and event.outcome == "refused":
        holds.lose(incident, event.because)
        holds.let_go(belief, incident)


def skipped(belief: Belief, event: events.StepSkipped, _at: float) -> None:
    """Note that a step is passed over."""
    incident = belief.incidents[event.incident_id]
    incident.skip(event.go_to)
    if event.verb == Verb.UNCORDON:
        holds.let_go(belief, incident)


def order_ended(belief: Belief, event: events.OrderEnded, at: float) -> None:
    """Take in how a node says that an order ended."""
    incident = belief.incidents.get(belief.orders.get(event.order_id, ""))
    if incident is not None and incident.intent is not None and incident.intent.key == event.order_id:
        incident.order = event
        incident.taken_up_at = incident.taken_up_at or at
        incident.evidence = {**incident.evidence, **event.evidence}


def _cordon_ended(belief: Belief, incident: Incident, event: events.StepEnded, at: float) -> None:
    """Only a refusal says that nothing was done: after any other failure the node may be out, and counts so."""
    node = belief.node(incident.node)
    if event.outcome == "done":
        incident.cordoned = True
        node.held_since, node.schedulable, node.hold_changed_at = node.held_since or at, False, at
        return
    holds.end_canary(belief, incident, "")
    if event.outcome == "refused":
        holds.let_go(belief, incident)
        node.foreign_reason = event.because
