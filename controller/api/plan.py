"""An incident's plan as people read it: what was done, what goes on, what comes next, and what a person may do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from controller import events
from controller.api.moments import duration, iso
from controller.api.phrases import sentence_case, spaced
from controller.api.shapes import PlannedStep
from controller.events import Logged
from controller.policy.approvals import question
from controller.policy.belief import Belief
from controller.policy.incident import Incident, Phase, position_after
from controller.policy.noticing.book import PAGE
from controller.policy.noticing.closings import must_decide, waits_s
from controller.policy.opening import OPERATOR_CORDON
from controller.policy.playbook import (
    BENCH_SHIFT_CLASS,
    BREAKER_CLASS,
    DOMAIN,
    HAND_OVER,
    ROLLOUT,
    SLOW_NETWORK,
    SWEEP_STOPPED,
    Step,
    Verb,
)
from controller.policy.silence import FLEET_SILENCE
from controller.policy.verb_effects import attempts_of

_BEGIN_PHASE: dict[type, Phase] = {
    events.IncidentHandedOver: Phase.HAND_OVER,
    events.IncidentReturning: Phase.RETURNING,
    events.IncidentReleasing: Phase.RELEASING,
    events.IncidentReclassified: Phase.AUTOMATIC,
}


@dataclass(slots=True)
class _History:
    """Steps already taken, in order; a step is named by its key, which no other attempt has."""

    phase: str = Phase.AUTOMATIC
    taken: dict[str, PlannedStep] = field(default_factory=dict)

    def add(self, logged: Logged) -> None:
        event = logged.event
        if type(event) in _BEGIN_PHASE:
            self._abandon()
            self.phase = _BEGIN_PHASE[type(event)]
        elif isinstance(event, events.IncidentAborted | events.IncidentClosed):
            self._abandon()
        elif isinstance(event, events.StepIntended):
            self.taken[event.key] = _begun(event, logged.at)
        elif isinstance(event, events.StepEnded) and event.key in self.taken:
            self.taken[event.key] = msgspec.structs.replace(
                self.taken[event.key], state=event.outcome, because=event.because, ended_at=iso(logged.at)
            )
        elif isinstance(event, events.StepSkipped):
            self.taken[f"skipped/{len(self.taken)}"] = _skipped(event, self.phase)

    def _abandon(self) -> None:
        for key, step in self.taken.items():
            if step.state == "current":
                because = "The plan ended before this step did."
                self.taken[key] = msgspec.structs.replace(step, state="abandoned", because=because)


def _begun(event: events.StepIntended, at: float) -> PlannedStep:
    reason = event.reason
    return PlannedStep(
        event.phase,
        event.step,
        event.verb,
        "current",
        event.attempt,
        event.attempt,
        0.0,
        reason.because,
        "",
        decided=reason.because,
        inputs=dict(reason.inputs),
        unless=reason.unless,
        parameters=dict(event.parameters),
        began_at=iso(at),
    )


def _skipped(event: events.StepSkipped, phase: str) -> PlannedStep:
    return PlannedStep(phase, event.step, event.verb, "skipped", 0, 0, 0.0, event.because, "")


def planned_steps(incident: Incident, log: Iterable[Logged]) -> list[PlannedStep]:
    """Return the steps taken, the one under way, and those that follow if all goes well.

    Args:
        log: the incident's own entries, oldest first.
    """
    history = _History()
    for logged in log:
        history.add(logged)
    if incident.intent is not None:
        history.taken.setdefault(incident.intent.key, _begun(incident.intent, incident.intent_at))
    taken = [_with_limits(step, incident) for step in history.taken.values()]
    return taken + ([] if incident.closed_at else _to_come(incident))


def _with_limits(step: PlannedStep, incident: Incident) -> PlannedStep:
    found = next((s for s in incident.steps() if s.name == step.step and step.phase == incident.phase), None)
    if found is None:
        return step
    ends_by = iso(incident.ends_by) if step.state == "current" and incident.intent is not None else None
    attempts = max(step.attempt, attempts_of(found))
    return msgspec.structs.replace(
        step, attempts=attempts, limit_s=found.limit_s, otherwise=_otherwise(found), ends_by=ends_by
    )


def _otherwise(step: Step) -> str:
    return "hand over to people" if step.on_failure == HAND_OVER else spaced(step.on_failure)


def _to_come(incident: Incident) -> list[PlannedStep]:
    steps = incident.steps()
    following = list(_success_path(steps, incident.position))
    if incident.intent is not None:
        following = following[1:]
    return [_planned(incident, step, is_next=not index) for index, step in enumerate(following)]


def _success_path(steps: tuple[Step, ...], position: int) -> Iterable[Step]:
    while position < len(steps):
        yield steps[position]
        position = position_after(steps, position, steps[position].on_success)


def _planned(incident: Incident, step: Step, *, is_next: bool) -> PlannedStep:
    state = "planned"
    if is_next and incident.intent is None:
        state = "waiting" if incident.waiting_for else "next"
    attempt = incident.attempts.get(step.name, 0) + 1
    return PlannedStep(
        incident.phase,
        step.name,
        step.verb,
        state,
        attempt,
        attempts_of(step),
        step.limit_s,
        "",
        _otherwise(step),
        parameters=dict(step.parameters),
    )


_WAITS = {
    "budget": "Waits until the budget{of} has room for one more node.",
    "breaker": "Waits until the breaker{of} lets one more node go.",
    "approval": "Waits for a person's approval.",
    "pause": "Waits until the pause{of} is lifted.",
    "freeze window": "Waits until the freeze{of} is over.",
    "freeze": "Waits until agents are heard again; nothing is begun meanwhile.",
    "node": "Waits until another incident has repaired this node.",
    "foreign hold": "Waits until whoever holds the node gives it back; it is theirs, not touched.",
}


def _waits(for_what: str) -> str:
    kind, separator, scope = for_what.partition(" of ")
    return _WAITS.get(kind, f"Waits for {for_what}.").format(of=f"{separator}{scope}")


def next_of(incident: Incident, now: float) -> str:
    """Return what happens next, in one sentence."""
    if incident.closed_at:
        return "Nothing more will be done."
    if incident.stop_asked and incident.phase is not Phase.RELEASING:
        return f"The plan is being ended: {incident.stop_asked}."
    if incident.intent is not None:
        return _under_way(incident, now)
    if incident.waiting_for:
        return _waits(incident.waiting_for)
    step = incident.step()
    if step is None and (must_decide(incident) or incident.closed_there_at):
        return must_decide(incident) or _closed_again(incident, now)
    return f"Next: {spaced(step.name)}." if step is not None else _at_rest(incident)


def _closed_again(incident: Incident, now: float) -> str:
    return (
        f"Its ticket was closed again, after {incident.closings - 1} failed verification(s): it is verified in "
        f"{duration(waits_s(incident, now))}, or at once by approve. Opening the ticket again takes that back."
    )


def _under_way(incident: Incident, now: float) -> str:
    assert incident.intent is not None
    intent = incident.intent
    if intent.verb == Verb.APPROVE:
        asks = question(incident)
        return f"Waits for a person's approval, at most {duration(intent.expires_at - now)} more: {asks}"
    left = duration(incident.ends_by - now)
    if intent.verb in {Verb.WAIT, Verb.PROBATION}:
        left = duration(incident.intent_at + float(intent.parameters["for_s"]) - now)
        return f"{sentence_case(intent.step)} goes on for {left} more."
    waits = f" {incident.progress.because}" if incident.progress is not None and incident.progress.because else ""
    return f"{sentence_case(intent.step)} is under way, at most {left} more.{waits}"


def _at_rest(incident: Incident) -> str:
    if incident.fault_class == ROLLOUT:
        return f"It ends when people promote or withdraw the text of {incident.device}, or load another one."
    if incident.fault_class == BREAKER_CLASS:
        return "Half open: the next node that asks goes on as a canary; how that ends decides."
    if incident.playbook.name == DOMAIN:
        return f"No node is taken out for it; it ends when the nodes of {incident.device} are well again."
    if incident.playbook.name == BENCH_SHIFT_CLASS:
        return "No node fails by these numbers until the fleet is back, or a person has the baselines learnt anew."
    if incident.playbook.name in {SLOW_NETWORK, SWEEP_STOPPED}:
        return "No node is taken out for it; it ends when a later sweep finds the nodes well."
    if not incident.node:
        return "Nothing is acted on until agents are heard again."
    if incident.playbook.name == OPERATOR_CORDON.name:
        return f"{incident.node} stays out until a person returns it with uncordon."
    if incident.holding:
        return f"{incident.node} stays out of service: approve verifies it and returns it, uncordon returns it at once."
    return f"{incident.node} stays in service; nothing more is done by itself."


def waits_for_approval(incident: Incident) -> bool:
    """Return whether a person's yes is what the incident needs to go on."""
    intent = incident.intent
    asked = intent is not None and intent.verb == Verb.APPROVE and intent.key not in incident.approvals
    return incident.waiting_for == "approval" or asked


def why_not_approve(incident: Incident) -> str:
    """Return why approving changes nothing now, empty when it does."""
    if incident.closed_at:
        return f"{incident.id} is closed ({incident.outcome})"
    if incident.stop_asked or incident.return_asked or incident.phase in {Phase.RETURNING, Phase.RELEASING}:
        return f"{incident.id} is on its way back into service already"
    if incident.playbook.name == BREAKER_CLASS:
        return f"{incident.id} is an open breaker; abort closes it at once"
    if incident.playbook.name == ROLLOUT:
        return f"{incident.id} is about a playbook; `fleetmend playbook rollout` promotes or withdraws its new text"
    if incident.playbook.name == DOMAIN:
        return f"{incident.id} ends by itself as soon as the nodes of {incident.device} are well again"
    if incident.playbook.name == BENCH_SHIFT_CLASS:
        return f"{incident.id} ends by itself as soon as the fleet is back, or its baselines are learnt anew"
    if incident.playbook.name in {SLOW_NETWORK, SWEEP_STOPPED}:
        return f"{incident.id} ends by itself as soon as a later sweep finds the nodes well"
    if not incident.node:
        return f"{incident.id} ends by itself as soon as agents are heard again"
    if incident.outcome or waits_for_approval(incident):
        return ""
    return f"{incident.id} asks for no approval now"


def why_not_abort(incident: Incident) -> str:
    """Return why there is nothing to abort now, empty when there is."""
    if incident.closed_at:
        return f"{incident.id} is closed ({incident.outcome})"
    if incident.stop_asked or incident.phase is Phase.RELEASING:
        return f"{incident.id} is being ended already"
    if incident.playbook.name == FLEET_SILENCE.name:
        return f"{incident.id} ends by itself as soon as agents are heard again"
    if incident.playbook.name == OPERATOR_CORDON.name:
        return f"{incident.id} is a person's own cordon; uncordon {incident.node} ends it"
    if incident.outcome:
        return f"{incident.id} is in people's hands already; approve or uncordon returns {incident.node}"
    return ""


def why_not_uncordon(incident: Incident, belief: Belief) -> str:
    """Return why there is nothing to undo, empty when the node can be returned at once."""
    if incident.closed_at:
        return f"{incident.id} is closed ({incident.outcome})"
    if not incident.node:
        return f"{incident.id} is about no single node, and none is held out for it"
    if incident.stop_asked:
        return f"{incident.id} is being ended already"
    if belief.nodes[incident.node].hold_id or incident.playbook.name == OPERATOR_CORDON.name:
        return ""
    foreign = belief.nodes[incident.node].foreign_reason
    if foreign:
        return f"{incident.node} is held by somebody else ({foreign}), whom fleetmend never undoes"
    return f"{incident.node} is not held out; nothing was done that could be undone"


def why_not_acknowledge(incident: Incident, belief: Belief) -> str:
    """Return why nobody needs to acknowledge, empty when somebody was paged and nobody has answered."""
    if incident.closed_at:
        return f"{incident.id} is closed ({incident.outcome})"
    if incident.acknowledged_at:
        return f"{incident.acknowledged_by} looks after {incident.id}"
    if not any(thread.kind == PAGE for thread in belief.notices.of(incident.id)):
        return f"nobody was paged for {incident.id}"
    return ""


def refusals(incident: Incident, belief: Belief) -> dict[str, str]:
    """Return what a person might do about the incident → why that is not possible now, empty when it is."""
    return {
        "approve": why_not_approve(incident),
        "abort": why_not_abort(incident),
        "uncordon": why_not_uncordon(incident, belief),
        "acknowledge": why_not_acknowledge(incident, belief),
    }


def possible_acts(incident: Incident, belief: Belief) -> list[str]:
    """Return what a person can do about the incident now: approve, abort, uncordon, acknowledge."""
    return [act for act, why_not in refusals(incident, belief).items() if not why_not]
