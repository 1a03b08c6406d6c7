"""The repair ladder as one incident climbs it: rungs that history has spent, the second strike, and who may end it.

A green diagnostic ends nothing that only a person may end: silent data corruption passes every test that it is given.
"""

from __future__ import annotations

from controller import events
from controller.events import Reason
from controller.policy.belief import Belief
from controller.policy.history import DAY_S, STRIKE_S
from controller.policy.incident import Incident, Phase
from controller.policy.opening import standing
from controller.policy.parts import successor
from controller.policy.playbook import HAND_OVER, REPAIRS, Clears, Mode, OnReturn, Step, Verb

WHOLE_NODE = frozenset({"", "node"})
"""Devices of findings that name no part of the node."""


def climb(belief: Belief, incident: Incident, step: Step) -> events.Event | None:
    """Return where an incident goes instead of its next step because of its part's history, `None` when it takes it.

    A fault that came back and went by itself spends no rung: the verification that follows judges it. A second strike
    is one all the same.
    """
    if incident.phase is not Phase.AUTOMATIC:
        return None
    if step.verb is Verb.UNCORDON and needs_person(incident):
        return hand_over(incident)
    if step.verb is Verb.RESET_GPU and incident.device in WHOLE_NODE and step.on_failure != HAND_OVER:
        because = "No single GPU is to blame, so that none is reset."
        return events.StepSkipped(incident.id, step.name, step.verb, because, go_to=step.on_failure)
    before = incident.recurrence
    if step.verb not in REPAIRS:
        return None
    if not before.rma and (step.verb not in before.spent or not standing(belief, incident)):
        return None
    if incident.playbook.mode is Mode.SHADOW:
        because = f"Shadow mode, and not even then: {before.because}"
        return events.StepSkipped(incident.id, step.name, step.verb, because)
    if before.rma:
        return _give_to_people(incident, before.because, rma=before.because)
    if step.on_failure == HAND_OVER:
        return _give_to_people(incident, f"No rung of the ladder is left: {before.because}")
    because = f"{step.verb} is not tried again: {before.because}"
    return events.StepSkipped(incident.id, step.name, step.verb, because, go_to=step.on_failure)


def hand_over(incident: Incident) -> events.IncidentHandedOver:
    """Return the hand-over of an incident whose automatic part is over without success, or may not end by itself."""
    if needs_person(incident) and not incident.gave_up:
        what = f"{incident.playbook.summary} No diagnosis clears this: a person does, or another part."
    else:
        what = incident.last_failure or incident.playbook.summary
    again = " again" if incident.phase is Phase.RETURNING else ""
    return _give_to_people(incident, what, again=again, rma=_struck(incident))


def _give_to_people(incident: Incident, what: str, *, again: str = "", rma: str = "") -> events.IncidentHandedOver:
    return events.IncidentHandedOver(
        incident.id,
        Reason(
            f"Handed to people{again}: {what}",
            {
                "playbook": incident.playbook.name,
                "attempts": ", ".join(f"{step} ×{count}" for step, count in incident.attempts.items()),
                "part": incident.part,
                "strikes": str(incident.recurrence.strikes),
            },
            _unless(incident, rma),
        ),
        rma=rma,
    )


def _unless(incident: Incident, rma: str) -> str:
    if rma:
        return f"the last verified repair of this part were older than {STRIKE_S / DAY_S:.0f} days"
    return "a person had cleared it" if needs_person(incident) else "the last step had succeeded"


def _struck(incident: Incident) -> str:
    """Return why a part goes back whose fault returned under our eyes, in the probation after a verified repair."""
    step = incident.step_given_up()
    returned = incident.phase is Phase.AUTOMATIC and step is not None and step.verb is Verb.PROBATION
    if not returned or incident.playbook.on_return is not OnReturn.RMA:
        return ""
    return f"Second strike: {incident.last_failure}"


def needs_person(incident: Incident) -> bool:
    """Return whether only a person, or another part, ends this incident, and none of the two did yet."""
    return incident.playbook.clears is Clears.PERSON and incident.phase in {Phase.AUTOMATIC, Phase.HAND_OVER}


def replaced(belief: Belief, incident: Incident) -> events.IncidentReturning | None:
    """Return the way back for an incident whose part is gone and has a successor, `None` for any other.

    One try for each successor: when it does not verify, people look.
    """
    if incident.playbook.clears is not Clears.PERSON or incident.outcome != "handed_over" or not incident.condemned_by:
        return None
    first = next(iter(incident.condemned_by.values()))
    by = successor(incident.part, first, belief.nodes[incident.node].facts)
    if by in {"", incident.part, incident.successor}:
        return None
    reason = Reason(
        f"{incident.part} is no longer in {incident.node}, {by} is in its place: verifying before the node returns.",
        {"before": incident.part, "after": by},
        "the part were still there",
    )
    return events.IncidentReturning(incident.id, reason, part=by)
