"""Incidents that are about no single node: an open breaker, a shared cause, a text that is used no more."""

from __future__ import annotations

from controller import events
from controller.events import Reason
from controller.policy.belief import Belief
from controller.policy.playbook import Playbook


def opened(
    belief: Belief, about: str, *, fault_class: str, playbook: Playbook, reason: Reason
) -> events.IncidentOpened:
    """Return the opening of an incident of the fleet; `about`: a scope or a subject, as `kind=name`."""
    return events.IncidentOpened(
        belief.next_incident_id(),
        node="",
        device=about,
        fault_class=fault_class,
        playbook=playbook,
        findings=[],
        reason=reason,
    )
