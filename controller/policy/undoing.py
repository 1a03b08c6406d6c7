"""Compensation: what a plan takes back when it ends early.

Only a cordon leaves something that can be taken back (controller/policy/verb_effects.py). One that may have happened is
lifted; one that was confirmed stands until the node is verified, because a fault condemned it (I6).
"""

from __future__ import annotations

from controller import events
from controller.events import Reason
from controller.policy.belief import Belief
from controller.policy.incident import Incident, Phase
from controller.policy.opening import standing
from controller.policy.playbook import Verb

_SPEAKS_OF_THE_FAULT = frozenset({Verb.VERIFY, Verb.PROBATION, Verb.UNCORDON})
"""Steps whose failure says that the node cannot go back: they were the way back."""


def undo(incident: Incident, because: str, *, ends_as: str) -> events.IncidentReleasing | None:
    """Return the lifting of a hold that was never confirmed, `None` when there is none.

    Args:
        because: why the plan is over.
        ends_as: how the incident closes then.
    """
    if not incident.holding or incident.cordoned:
        return None
    reason = Reason(
        f"{because} What may be left of the cordon of {incident.node} is undone: {incident.last_failure}",
        {"undone": Verb.CORDON, "by": Verb.UNCORDON},
        "the cordon had been confirmed, or refused",
    )
    return events.IncidentReleasing(incident.id, reason, ends_as=ends_as)


def given_back(belief: Belief, incident: Incident) -> events.IncidentReturning | None:
    """Return the way back of a node with which nothing is wrong any more and in which nothing was changed.

    `None` when something speaks against it; then people have it.
    """
    way_back = incident.phase is not Phase.AUTOMATIC or incident.ended_by in _SPEAKS_OF_THE_FAULT
    if way_back or not incident.cordoned or incident.repair_begun:
        return None
    if not incident.condemned_by or standing(belief, incident):
        return None
    reason = Reason(
        f"The plan ended before any repair, and every finding has cleared: {incident.node} is verified, and given back "
        f"if it passes. {incident.last_failure}",
        {"ended_by": incident.ended_by, "playbook": incident.playbook.name},
        "a finding still stood, or a repair had begun",
    )
    return events.IncidentReturning(incident.id, reason)
