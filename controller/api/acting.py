"""The acting half of the API: what a person asks for becomes an event, and the policy does the rest."""

from __future__ import annotations

from controller.api import plan, shapes
from controller.api.call import Call, known_node, refused
from controller.api.moments import iso
from controller.api.problems import Problem, nearest
from controller.api.proposals import propose
from controller.api.words import plain
from controller.events import OperatorActed
from controller.policy.approvals import RETURN, asked
from controller.policy.belief import Belief
from controller.policy.incident import Incident
from controller.policy.node_belief import NodeBelief
from controller.policy.opening import OPERATOR_CORDON
from controller.policy.scopes import FLEET, FLEET_KIND, KINDS, KINDS_OF_INCIDENTS, NODE_KIND, Scope, parse

DRILL_ANSWER_S = 10.0
"""How long a request waits for the node's word on a drill; a node answers in well under a second."""


async def _record(
    call: Call, verb: str, subject: str, because: str, *, what: str = "", expires_at: float = 0.0
) -> tuple[int, str]:
    reason = plain(because, field="because")
    logged = await call.cell.submit(OperatorActed(verb, subject, call.by, reason, what, expires_at))
    return logged.event_id, iso(logged.at)


async def _proposed(call: Call, verb: str, subject: str, because: str, *, what: str = "") -> shapes.Acted | None:
    """Return what became of an act that takes two people, `None` when one may do it alone."""
    return await propose(call, OperatorActed(verb, subject, call.by, plain(because, field="because"), what))


async def cordon(call: Call) -> shapes.Acted:
    """Take a node out until a person gives it back.

    Raises:
        Problem: 404, no such node.
        Refused: the budget forbids it, or somebody else holds the node.
    """
    node = call.node()
    held_by_person = _operator_incident(call.cell.belief, node.name)
    if held_by_person is not None:
        return _nothing_to_do(call, f"{node.name} is out already: {held_by_person.because}", held_by_person.id)
    call.cell.check_cordon(node.name)
    event_id, at = await _record(call, "cordon", node.name, call.said(shapes.Because).because)
    opened = _operator_incident(call.cell.belief, node.name)
    waits = f" {plan.next_of(opened, call.cell.now())}" if opened is not None and opened.waiting_for else ""
    text = f"{node.name} is being taken out of service.{waits}"
    return shapes.Acted(event_id, at, text, opened.id if opened else None)


def _operator_incident(belief: Belief, node: str) -> Incident | None:
    return next((i for i in belief.open_on(node) if i.playbook.name == OPERATOR_CORDON.name), None)


def _nothing_to_do(call: Call, text: str, incident_id: str | None = None) -> shapes.Acted:
    return shapes.Acted(None, iso(call.cell.now()), text, incident_id)


async def uncordon(call: Call) -> shapes.Acted:
    """Give a node back at once, without verification, and end every plan for it.

    Raises:
        Problem: 404, no such node; 409, somebody else holds it out.
    """
    node = call.node()
    if not call.cell.belief.open_on(node.name):
        return _free_already(call, node)
    event_id, at = await _record(call, "uncordon", node.name, call.said(shapes.Because).because)
    return shapes.Acted(event_id, at, f"{node.name} is being returned to service; every plan for it ends.")


def _free_already(call: Call, node: NodeBelief) -> shapes.Acted:
    if node.foreign_reason:
        raise refused(
            f"{node.name} is held by somebody else ({node.foreign_reason}) and fleetmend never undoes that",
            "whoever holds it gives it back, by the scheduler's own command",
        )
    if not node.schedulable:
        because = "the scheduler keeps it out (its own health check did, or it is down) and no plan of fleetmend does"
        return _nothing_to_do(call, f"{node.name}: {because}; the scheduler's own command gives it back.")
    return _nothing_to_do(call, f"fleetmend does not hold {node.name} and has no plan for it; nothing to do.")


async def pause(call: Call) -> shapes.Acted:
    """Begin nothing disruptive, on a node, in a place or anywhere, until it is resumed. Returns to service go on.

    Raises:
        Problem: 404, no such node or place; 422, no such kind of place.
    """
    return await _set_pause(call, "pause")


async def resume(call: Call) -> shapes.Acted:
    """End a pause.

    Raises:
        Problem: 404, no such node or place; 422, no such kind of place.
    """
    return await _set_pause(call, "resume")


async def _set_pause(call: Call, verb: str) -> shapes.Acted:
    said = call.said(shapes.Scope)
    scope = _known_scope(call, said.scope)
    if verb == "resume" and scope not in call.cell.belief.pauses:
        paused = ", ".join(str(scope) for scope in call.cell.belief.pauses) or "nothing"
        return _nothing_to_do(call, f"{scope.words} is not paused; {paused} is.")
    if (proposed := await _proposed(call, verb, str(scope), said.because)) is not None:
        return proposed
    event_id, at = await _record(call, verb, str(scope), said.because)
    done = "paused: nothing disruptive is begun" if verb == "pause" else "resumed"
    return shapes.Acted(event_id, at, f"{scope.words} is {done}.")


def _known_scope(call: Call, text: str) -> Scope:
    scope = parse(text)
    if scope.kind == NODE_KIND:
        return Scope(NODE_KIND, known_node(call.cell, scope.name).name)
    if scope.kind not in KINDS:
        kinds = ", ".join(f"{kind}=NAME" for kind in KINDS if kind not in {FLEET_KIND, NODE_KIND})
        raise Problem(422, f"{text[:80]!r} is no scope", f"fleet, the name of a node, or one of {kinds}", field="scope")
    standing = scope in call.cell.belief.pauses or (scope.kind, scope.name) in call.cell.belief.residents
    if scope != FLEET and scope.kind not in KINDS_OF_INCIDENTS and not standing:
        raise _no_such_place(call, scope)
    return scope


def _no_such_place(call: Call, scope: Scope) -> Problem:
    known = sorted(name for kind, name in call.cell.belief.residents if kind == scope.kind)
    likely = nearest(scope.name, known) or known[:5]
    hint = f"known: {', '.join(likely)}" if likely else f"no node says in which {scope.kind} it stands"
    return Problem(404, f"no node stands in {scope.words[:80]}", hint, field="scope")


async def approve(call: Call) -> shapes.Acted:
    """Say yes: to a plan or a step that asks, or to the return of a node that people have mended.

    Raises:
        Problem: 404, no such incident; 409, it asks for no approval, or for another one than the person saw.
    """
    incident, said = await call.incident(), call.said(shapes.Approval)
    why_not = plan.why_not_approve(incident)
    if why_not:
        raise refused(why_not, f"`fleetmend incident {incident.id}` says what it does now")
    what = asked(incident)
    if said.what not in {"", what}:
        raise _changed(incident, said.what)
    expires_at = 0.0 if what == RETURN else call.cell.now() + (said.for_s or call.cell.rules.approval_valid_s)
    event_id, at = await _record(call, "approve", incident.id, said.because, what=what, expires_at=expires_at)
    if what == RETURN:
        text = f"{incident.node} is verified now, and returned if it passes."
    elif _was_not_taken(incident, what):
        raise _changed(incident, what)
    else:
        text = f"{incident.id} goes on; steps that begin by {iso(expires_at)} are approved."
    return shapes.Acted(event_id, at, text, incident.id)


def _was_not_taken(incident: Incident, what: str) -> bool:
    """Whether the plan became another one between the person's look and the log."""
    return what != incident.plan and not what.startswith(f"{incident.id}/")


def _changed(incident: Incident, what: str) -> Problem:
    hint = f"`fleetmend incident {incident.id}` says what it asks for"
    return refused(f"{incident.id} asks for {asked(incident)} now, and not for {what[:80]}", hint)


async def promote(call: Call) -> shapes.Acted:
    """Trust a playbook's new text from now on.

    Raises:
        Problem: 404, no such playbook is tried; 409, it has another text than the person saw.
    """
    return await _decide_rollout(call, "promote", "answers every incident of its kind from now on")


async def withdraw(call: Call) -> shapes.Acted:
    """Use a playbook's new text no more; the old one stays.

    Raises:
        Problem: 404, no such playbook is tried; 409, it has another text than the person saw.
    """
    return await _decide_rollout(call, "withdraw", "answers no further incident; its old text stays")


async def _decide_rollout(call: Call, verb: str, done: str) -> shapes.Acted:
    said, name = call.said(shapes.Promotion), call.path["name"]
    rollout = call.cell.belief.rollouts.by_name.get(name)
    if name not in call.cell.belief.rollouts.changed or rollout is None or rollout.candidate is None:
        tried = ", ".join(call.cell.belief.rollouts.changed) or "none is"
        raise Problem(404, f"no new text of {name[:80]!r} is tried", f"playbooks that are tried: {tried}")
    digest = rollout.candidate.digest
    if said.digest and not digest.startswith(said.digest):
        raise refused(f"the new text of {name} is {digest[:12]} now, not {said.digest}", "look at it again")
    if (proposed := await _proposed(call, verb, name, said.because, what=digest)) is not None:
        return proposed
    event_id, at = await _record(call, verb, name, said.because, what=digest)
    return shapes.Acted(event_id, at, f"The new text of {name} ({digest[:12]}) {done}.")


async def acknowledge(call: Call) -> shapes.Acted:
    """Say that you look after it: nobody else is paged for it.

    Raises:
        Problem: 404, no such incident; 409, it is closed.
    """
    incident = await call.incident()
    if incident.closed_at:
        raise refused(f"{incident.id} is closed: nothing is left to look after", "its page says how it ended")
    if incident.acknowledged_at:
        text = f"{incident.acknowledged_by} looks after {incident.id} since {iso(incident.acknowledged_at)}."
        return _nothing_to_do(call, text, incident.id)
    event_id, at = await _record(call, "acknowledge", incident.id, call.said(shapes.Because).because)
    return shapes.Acted(event_id, at, f"{call.by} looks after {incident.id}; nobody else is paged for it.", incident.id)


async def abort(call: Call) -> shapes.Acted:
    """Stop a plan. A node that is out stays out: nothing proves it healthy.

    Raises:
        Problem: 404, no such incident; 409, there is nothing to abort.
    """
    incident = await call.incident()
    why_not = plan.why_not_abort(incident)
    if why_not:
        raise refused(why_not, f"`fleetmend incident {incident.id}` says what it does now")
    held, because = incident.holding, call.said(shapes.Because).because
    if (proposed := await _proposed(call, "abort", incident.id, because)) is not None:
        return proposed
    event_id, at = await _record(call, "abort", incident.id, because)
    stays = f"{incident.node} stays out until a person returns it." if held else f"{incident.node} was not taken out."
    return shapes.Acted(event_id, at, f"{incident.id} is aborted; {stays}", incident.id)


async def drill(call: Call) -> shapes.DrillStartedAnswer:
    """Have a fault injected into a node, and wait for the node's word.

    Raises:
        Problem: 404, no such node; 409, the node refused or failed to inject it.
        Refused: the node is not online or takes no part in drills.
    """
    said = call.said(shapes.Drill)
    known_node(call.cell, said.node)
    parameters = {name: plain(value, field=f"parameters.{name}") for name, value in said.parameters.items()}
    if "fault" in parameters:
        raise Problem(422, "parameters.fault is not a parameter", "name the fault in `fault`", field="parameters.fault")
    started_at = call.cell.now()
    order_id = await call.cell.start_drill(said.node, said.fault, parameters, call.by)
    ended = await call.cell.order_outcome(order_id, DRILL_ANSWER_S)
    if ended is None:
        waiting = f"{said.node} has not answered within {DRILL_ANSWER_S:g} s; the order stands until it expires."
        return shapes.DrillStartedAnswer(order_id, said.node, said.fault, iso(started_at), None, waiting)
    if ended.outcome not in {"done", "accepted"}:
        raise refused(f"{said.node} did not inject {said.fault}: {ended.because}", "put that right and try again")
    return shapes.DrillStartedAnswer(order_id, said.node, said.fault, iso(started_at), ended.outcome, ended.because)
