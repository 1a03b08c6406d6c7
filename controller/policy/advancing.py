"""What an open incident does next: its next step, or what it waits for, or its end.

Cordons, drains and repairs may be held back by pauses, a freeze, the budget or a neighbour's repair. Nothing ever holds
back a verification, an uncordon, an abort, a ticket or a page (I3).
"""

from __future__ import annotations

from collections.abc import Iterable

from controller import events
from controller.events import Reason
from controller.policy.approvals import unapproved
from controller.policy.belief import Belief
from controller.policy.benching.verifying import asks, disproved
from controller.policy.breakers import stopped_by_breaker, tripped
from controller.policy.budget import over_budget
from controller.policy.concluding import conclude
from controller.policy.freezes import frozen_window
from controller.policy.incident import Incident, Phase
from controller.policy.ladder import climb, hand_over, needs_person, replaced
from controller.policy.noticing.closings import believed
from controller.policy.opening import OPERATOR_CORDON, speedup, standing
from controller.policy.pauses import paused
from controller.policy.playbook import (
    ADMISSION_CLASS,
    BENCH_SHIFT_CLASS,
    BREAKER_CLASS,
    DOMAIN,
    OWN_CHECKS,
    QUICK_EFFECTS,
    REPAIRS,
    ROLLOUT,
    SLOW_NETWORK,
    SWEEP_STOPPED,
    Mode,
    Step,
    Verb,
)
from controller.policy.probation import watch_of
from controller.policy.rules import Rules
from controller.policy.scopes import FLEET, Scope
from controller.policy.silence import FLEET_SILENCE, frozen_by
from controller.policy.undoing import given_back, undo
from controller.policy.verb_effects import attempts_of, delay_s, retry_of

DISRUPTIVE = frozenset({Verb.CORDON, Verb.DRAIN}) | REPAIRS
NEVER_TRIPS = frozenset({OPERATOR_CORDON.fault_class, ADMISSION_CLASS})
"""Classes of incidents for which no breaker opens: a person's own wish, and nodes that never were in service."""

RESTING = frozenset(
    {
        OPERATOR_CORDON.name,
        FLEET_SILENCE.name,
        BREAKER_CLASS,
        BENCH_SHIFT_CLASS,
        DOMAIN,
        ROLLOUT,
        SLOW_NETWORK,
        SWEEP_STOPPED,
    }
)
"""Playbooks whose incidents stay open at the end of their steps, until something else ends them."""


def advance(belief: Belief, rules: Rules, incident: Incident, now: float) -> events.Event | None:
    """Return the one next decision about an open incident, `None` when there is nothing to decide yet."""
    if incident.stop_asked and incident.phase is not Phase.RELEASING:
        return _stop(incident)
    if incident.intent is not None:
        return conclude(belief, incident, now) or asks(belief, rules, incident, now)
    if incident.return_asked and incident.phase is not Phase.RELEASING:
        reason = Reason("A person says that it is mended: verifying before the node returns.")
        return events.IncidentReturning(incident.id, reason)
    closed_there = believed(incident, now)
    if closed_there is not None:
        return events.IncidentReturning(incident.id, closed_there)
    step = incident.step()
    if step is None:
        return _past_the_end(belief, incident)
    if _recovered_untouched(belief, incident):
        because = "It was gone before anything was done."
        return undo(incident, because, ends_as="recovered") or events.IncidentClosed(
            incident.id, "recovered", Reason(because)
        )
    climbed = climb(belief, incident, step)
    if climbed is not None:
        return climbed
    return _take(belief, rules, incident, step, now)


def _stop(incident: Incident) -> events.Event | None:
    """A person ended the plan. Short effects under way end first, so that no cordon is left that nobody knows of."""
    if incident.intent is not None and incident.intent.verb in QUICK_EFFECTS:
        return None
    reason = Reason(f"The plan is over: {incident.stop_asked}.")
    if incident.stop_asked.startswith("aborted"):
        if incident.cordoned:
            return events.IncidentAborted(incident.id, reason)
        undone = undo(incident, reason.because, ends_as="aborted")
        return undone or events.IncidentClosed(incident.id, "aborted", reason)
    if incident.holding:
        return events.IncidentReleasing(incident.id, reason)
    return events.IncidentClosed(incident.id, "cancelled", reason)


def _past_the_end(belief: Belief, incident: Incident) -> events.Event | None:
    match incident.phase:
        case Phase.RELEASING:
            return _released(incident)
        case Phase.HAND_OVER:
            return _rest(belief, incident)
        case Phase.AUTOMATIC | Phase.RETURNING if incident.gave_up and not _rests(incident):
            back = None if needs_person(incident) else given_back(belief, incident)
            return back or hand_over(incident)
        case Phase.AUTOMATIC | Phase.RETURNING:
            return _finish(belief, incident)


def _rests(incident: Incident) -> bool:
    """Whether nobody can be handed it: an incident of the fleet goes on, even when nobody could be told of it."""
    return incident.playbook.name in RESTING and not incident.node


def _released(incident: Incident) -> events.Event:
    left = f" Its hold could not be lifted: {incident.last_failure}" if incident.holding else ""
    because = f"The plan is over: {incident.stop_asked}." if incident.stop_asked else incident.because
    return events.IncidentClosed(incident.id, incident.releases_as, Reason(f"{because}{left}"))


def _rest(belief: Belief, incident: Incident) -> events.Event | None:
    """People have it. While the node is held the incident stays open; otherwise it is theirs alone."""
    if incident.cordoned:
        return replaced(belief, incident)
    undone = undo(incident, incident.because, ends_as=incident.outcome)
    return undone or events.IncidentClosed(incident.id, incident.outcome, Reason(incident.because))


def _finish(belief: Belief, incident: Incident) -> events.Event | None:
    if incident.playbook.name in RESTING:
        return None
    if incident.mode is Mode.SHADOW:
        return events.IncidentClosed(
            incident.id, "shadowed", Reason("Shadow mode: decided and recorded, nothing done.")
        )
    if needs_person(incident):
        return hand_over(incident)
    if incident.ever_held:
        others = ", ".join(_other_holders(belief, incident))
        where = f"stays out for {others}" if others else "is back in service"
        reason = Reason(f"{incident.node} {where}; fresh readings pass and probation is over.")
        return events.IncidentClosed(incident.id, "returned", reason)
    still = standing(belief, incident)
    if still:
        return events.IncidentClosed(
            incident.id, "handed_over", Reason(f"The playbook ends; still: {still[0].because}")
        )
    return events.IncidentClosed(incident.id, "recovered", Reason("It is over; no node was taken out for it."))


def _other_holders(belief: Belief, incident: Incident) -> list[str]:
    """Return the other incidents that hold the node; the last one that lets go lifts the hold."""
    return [i.id for i in belief.open_on(incident.node) if i.holding and i.id != incident.id]


def _recovered_untouched(belief: Belief, incident: Incident) -> bool:
    untouched = incident.phase is Phase.AUTOMATIC and not incident.cordoned and incident.node != ""
    return untouched and not needs_person(incident) and bool(incident.condemned_by) and not standing(belief, incident)


def _take(belief: Belief, rules: Rules, incident: Incident, step: Step, now: float) -> events.Event | None:
    if incident.retry_at and now < incident.retry_at + _retry_delay_s(incident, step):
        return None
    skipped = _needless(belief, incident, step)
    if skipped:
        return _skip(incident, step, skipped)
    waiting = _held_back(belief, rules, incident, step, now)
    if waiting is None:
        return _tripped(belief, rules, incident, step, now) or _intend(belief, rules, incident, step, now)
    for_what, reason = waiting
    if incident.waiting_for == for_what:
        return _unanswered(incident, rules, now)
    return events.IncidentWaiting(incident.id, for_what, reason)


def _retry_delay_s(incident: Incident, step: Step) -> float:
    key = f"{incident.id}/{step.name}/{incident.attempts.get(step.name, 0)}"
    return delay_s(retry_of(step), failures=max(1, incident.tries + incident.doubts), key=key)


def _unanswered(incident: Incident, rules: Rules, now: float) -> events.Event | None:
    """A question that nobody answers must not keep a node out for ever; one that costs nothing may wait."""
    if incident.waiting_for != "approval" or not incident.holding:
        return None
    if now < incident.waiting_since + rules.answer_within_s:
        return None
    because = f"nobody approved {incident.plan} within {rules.answer_within_s / 3600:g} h, and {incident.node} is out."
    return events.IncidentHandedOver(
        incident.id, Reason(f"Handed to people: {because}", {"plan": incident.plan}, "somebody had answered")
    )


def _tripped(belief: Belief, rules: Rules, incident: Incident, step: Step, now: float) -> events.Event | None:
    if step.verb is not Verb.CORDON or incident.fault_class in NEVER_TRIPS:
        return None
    return tripped(belief, rules, incident, now)


def _needless(belief: Belief, incident: Incident, step: Step) -> str:
    """Return why a step need not be taken, empty when it must be."""
    if incident.mode is Mode.SHADOW:
        return f"Shadow mode: {step.verb} would have been done now."
    if incident.phase is Phase.HAND_OVER and step.name in incident.told:
        return f"People have the {step.verb} of this incident already; why it did not return stands here."
    over = not standing(belief, incident) and not disproved(belief, incident)
    if step.verb in REPAIRS and incident.phase is Phase.AUTOMATIC and over:
        return "Nothing is left to mend: every finding of this incident has cleared."
    if step.verb is Verb.UNCORDON:
        others = _other_holders(belief, incident)
        if others:
            return f"{incident.node} stays out for {', '.join(others)}."
        if not incident.holding:
            return f"{incident.node} is not held out on this incident's account."
    return ""


def _skip(incident: Incident, step: Step, because: str) -> events.Event:
    return events.StepSkipped(incident.id, step.name, step.verb, because)


Waiting = tuple[str, Reason] | None


def _held_back(belief: Belief, rules: Rules, incident: Incident, step: Step, now: float) -> Waiting:
    missing = unapproved(incident, now, disruptive=step.verb in DISRUPTIVE)
    if missing is not None:
        return "approval", missing
    if step.verb not in DISRUPTIVE:
        return None
    return _stopped_for_all(belief, rules, incident, now) or _stopped_here(belief, rules, incident, step)


def _stopped_for_all(belief: Belief, rules: Rules, incident: Incident, now: float) -> Waiting:
    if incident.playbook.name == OPERATOR_CORDON.name:
        return None
    frozen = frozen_by(belief)
    if frozen is not None:
        return "freeze", Reason(f"Frozen while {frozen.id} is open: {frozen.because}")
    return _scoped("pause", paused(belief, incident)) or _scoped(
        "freeze window", frozen_window(belief, rules, incident, now)
    )


def _scoped(for_what: str, stopped: tuple[Scope, Reason] | None) -> Waiting:
    """Name the scope in what is waited for, so that a wait for another scope is another wait."""
    if stopped is None:
        return None
    scope, reason = stopped
    return (for_what if scope == FLEET else f"{for_what} of {scope.words}"), reason


def _stopped_here(belief: Belief, rules: Rules, incident: Incident, step: Step) -> Waiting:
    node = belief.nodes[incident.node]
    if step.verb is Verb.CORDON:
        if node.foreign_reason:
            reason = Reason(
                f"{node.name} is already held by somebody else ({node.foreign_reason}); it is theirs, not touched.",
                unless="they give the node back",
            )
            return "foreign hold", reason
        return _scoped("breaker", _breaker(belief, incident)) or _scoped(
            "budget", over_budget(belief, rules, node.name, incident)
        )
    if node.foreign_reason:
        reason = Reason(
            f"{node.name} is in somebody else's hands ({node.foreign_reason}): nothing is done to it meanwhile.",
            unless="they give it back",
        )
        return "foreign hold", reason
    if step.verb in REPAIRS:
        return _neighbour_repairs(belief, incident)
    return None


def _breaker(belief: Belief, incident: Incident) -> tuple[Scope, Reason] | None:
    """A person's own cordon is no mistake of the policy: no breaker stops it."""
    return None if incident.playbook.name == OPERATOR_CORDON.name else stopped_by_breaker(belief, incident)


def _neighbour_repairs(belief: Belief, incident: Incident) -> Waiting:
    """Only one incident of a node repairs at a time: a reset under another one's reboot proves nothing."""
    for other in belief.open_on(incident.node):
        if other.id != incident.id and other.repair_begun and not other.outcome:
            return "node", Reason(f"Waiting: {other.id} is repairing the same node.", unless=f"{other.id} ends")
    return None


def _intend(belief: Belief, rules: Rules, incident: Incident, step: Step, now: float) -> events.Event:
    attempt = incident.attempts.get(step.name, 0) + 1
    parameters = dict(step.parameters)
    why = _why_step(incident, step, attempt)
    if "for_s" in parameters:
        faster, span_s = speedup(belief, rules, incident.node), float(parameters["for_s"])
        if step.verb is Verb.PROBATION:
            watch = watch_of(belief, incident, span_s, now, speedup=faster)
            span_s, why = watch.for_s, _with_input(why, "watch", watch.because)
        parameters["for_s"] = f"{span_s / faster:g}"
    if step.verb is Verb.VERIFY:
        parameters["checks"] = ",".join(sorted({key.check for key in incident.condemned_by} - OWN_CHECKS))
    hold_id = belief.nodes[incident.node].hold_id or incident.id if incident.node else ""
    return events.StepIntended(
        incident.id,
        phase=incident.phase,
        step=step.name,
        verb=step.verb,
        attempt=attempt,
        key=f"{incident.id}/{step.name}/{attempt}",
        node=incident.node,
        device=incident.device,
        parameters=parameters,
        expires_at=now + _limit_s(step, parameters),
        reason=why,
        hold_id=hold_id,
    )


def _limit_s(step: Step, parameters: dict[str, str]) -> float:
    return max(step.limit_s, float(parameters.get("for_s", 0.0)) + 60.0) if "for_s" in parameters else step.limit_s


def _why_step(incident: Incident, step: Step, attempt: int) -> Reason:
    which = f"step {incident.position + 1} of {len(incident.steps())} of {incident.playbook.name}"
    tries = f", attempt {incident.tries + 1} of {attempts_of(step)}" if attempts_of(step) > 1 else ""
    asks = {"question": step.parameters["question"]} if "question" in step.parameters else {}
    facts = {"because": incident.because, "phase": incident.phase, "limit_s": f"{step.limit_s:g}"}
    return Reason(
        f"{step.verb} for {incident.fault_class}: {which}{tries}.",
        {**facts, "attempt": str(attempt), **asks},
        _UNLESS.get(step.verb, "a person aborts the incident"),
    )


_UNLESS = {
    Verb.CORDON: "the fault had gone before, or a budget, a breaker, a pause or a freeze had held it back",
    Verb.UNCORDON: "a finding of the incident stood, or somebody else held the node",
    Verb.TICKET: "the fault had been mended before people were needed",
    Verb.PAGE: "the fault had been mended before people were needed",
}
"""What would have to differ for a step that nobody can abort: it is over within seconds."""


def _with_input(reason: Reason, name: str, text: str) -> Reason:
    return Reason(reason.because, {**reason.inputs, name: text}, reason.unless) if text else reason


_SEVERITY = {"critical": 0, "warning": 1, "info": 2}


def by_priority(incidents: Iterable[Incident]) -> list[Incident]:
    """Return incidents in the order in which they get what is scarce: severity, precedence, age."""
    return sorted(
        incidents, key=lambda i: (_SEVERITY.get(i.playbook.severity, 3), i.playbook.precedence, i.opened_at, i.id)
    )
