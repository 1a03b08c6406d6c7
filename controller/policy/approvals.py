"""A person's yes: for exactly what was asked, from whom, and until when.

In mode `ask` the question is the whole plan, named by its playbook and the hash of its text; an `approve` step asks for
itself, by its key. A yes for anything else, or one that is too old, is not used, and the wait says so (I10).
"""

from __future__ import annotations

from datetime import UTC, datetime

from controller.events import Reason
from controller.policy.incident import Approval, Incident, Phase
from controller.policy.playbook import Mode, Verb

RETURN = "return"
"""What is asked of people who have a node: that it is mended."""


def asked(incident: Incident) -> str:
    """Return what a yes would be for at this moment."""
    if incident.outcome and incident.phase is Phase.HAND_OVER:
        return RETURN
    intent = incident.intent
    return intent.key if intent is not None and intent.verb == Verb.APPROVE else incident.plan


def question(incident: Incident) -> str:
    """Return what a person is asked now, empty when nothing is."""
    intent = incident.intent
    if intent is not None and intent.verb == Verb.APPROVE:
        return intent.parameters.get("question", "May the plan go on?")
    if incident.waiting_for == "approval":
        return f"May {incident.playbook.name} go on with {incident.node}: {incident.playbook.summary}"
    return ""


def approval_for(incident: Incident, what: str, now: float) -> Approval | None:
    """Return the yes that holds for this now, `None` without one."""
    given = incident.approvals.get(what)
    return given if given is not None and not given.expired(now) else None


def unapproved(incident: Incident, now: float, *, disruptive: bool) -> Reason | None:
    """Return why an incident in mode `ask` may not go on, `None` when it may.

    A plan that was begun goes on without a yes where that disturbs nothing (I3).
    """
    if incident.mode is not Mode.ASK or incident.phase is not Phase.AUTOMATIC:
        return None
    if not disruptive and incident.plan_begun == incident.plan:
        return None
    if approval_for(incident, incident.plan, now) is not None:
        return None
    asks = f"The playbook {incident.playbook.name} asks first: approve {incident.id} to go on."
    return Reason(" ".join([*_unused(incident, now), asks]), {"plan": incident.plan})


def _unused(incident: Incident, now: float) -> list[str]:
    """Return what is wrong with each yes that was given."""
    said = []
    for what, given in incident.approvals.items():
        if what != incident.plan and what.startswith(incident.id):
            continue
        if what != incident.plan:
            said.append(f"The yes of {given.by} was for {what}, and the plan is now {incident.plan}.")
        elif given.expired(now):
            said.append(f"The yes of {given.by} expired at {_moment(given.expires_at)}.")
    return said


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
