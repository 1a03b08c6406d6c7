"""Somebody set the controller's clock: what is under way goes on for as long as it was to, and no longer.

Every moment of what is open moves along, and so do those that it is compared with. Without that a clock that is set
forward would have each repair fail at once, end each watch early and forget how many nodes were taken out of late; one
that is set back would keep a person's yes, a lease or a wait good for that much longer. What is over keeps its moments.
"""

from __future__ import annotations

from dataclasses import replace

import msgspec

from controller import events
from controller.policy.belief import Belief
from controller.policy.incident import Incident


def set_by(belief: Belief, event: events.ClockSet, _at: float) -> None:
    """Move every moment of what is open."""
    by = event.step_s
    for node in belief.nodes.values():
        _move(node, by, _OF_NODES)
        for raised in node.findings.values():
            _move(raised, by, ("since",))
    for incident in belief.open_incidents.values():
        _move_incident(incident, by)
    for lease in belief.bench.leases.values():
        _move(lease, by, ("granted_at", "expires_at"))
    for proposal in belief.proposals.values():
        _move(proposal, by, ("proposed_at", "expires_at"))
    belief.silent = {node: at + by for node, at in belief.silent.items()}
    belief.unreported = {node: at + by for node, at in belief.unreported.items()}
    for run in belief.bench.open_runs:
        _move(belief.bench.runs[run], by, ("asked_at",))
    belief.ledger.move(by)
    belief.outbreaks.move(by)
    _move_notices(belief, by)


_OF_NODES = (
    "presence_since",
    "agent_started_at",
    "rebooted_at",
    "held_since",
    "hold_changed_at",
    "schedule_observed_at",
    "drilled_at",
)

_OF_INCIDENTS = (
    "opened_at",
    "intent_at",
    "taken_up_at",
    "retry_at",
    "repaired_at",
    "waiting_since",
    "last_finding_at",
    "acknowledged_at",
    "closed_there_at",
)


def _move_incident(incident: Incident, by: float) -> None:
    _move(incident, by, _OF_INCIDENTS)
    if incident.intent is not None:
        incident.intent = msgspec.structs.replace(incident.intent, expires_at=incident.intent.expires_at + by)
    if incident.progress is not None:
        progress = incident.progress
        retry_at, until = _moved(progress.retry_at, by), _moved(progress.until, by)
        incident.progress = msgspec.structs.replace(progress, retry_at=retry_at, until=until)
    incident.rungs = [replace(rung, at=_moved(rung.at, by)) for rung in incident.rungs]
    incident.approvals = {
        what: replace(given, expires_at=_moved(given.expires_at, by)) for what, given in incident.approvals.items()
    }


def _move_notices(belief: Belief, by: float) -> None:
    """A page that could not be sent is tried again when it was to be."""
    book = belief.notices
    for known in (book.owed, book.silent):
        for key, trouble in known.items():
            known[key] = replace(trouble, since=trouble.since + by, retry_at=_moved(trouble.retry_at, by))
    for thread_id in book.open_threads:
        thread = book.threads[thread_id]
        _move(thread, by, ("filed_at", "joined_at", "told_at", "heard_at", "acknowledged_at", "quiet_since"))
        if thread.trouble is not None:
            moved = _moved(thread.trouble.retry_at, by)
            thread.trouble = replace(thread.trouble, since=thread.trouble.since + by, retry_at=moved)


def _move(thing: object, by: float, names: tuple[str, ...]) -> None:
    for name in names:
        setattr(thing, name, _moved(getattr(thing, name), by))


def _moved(at: float, by: float) -> float:
    """Return a moment as the clock shows it now; 0 is none."""
    return at + by if at else at
