"""What people proposed, and what became of it."""

from __future__ import annotations

from controller import events
from controller.policy.belief import Belief
from controller.policy.folds import operators
from controller.policy.proposal import Proposal


def proposed(belief: Belief, event: events.ActProposed, at: float) -> None:
    """Note it."""
    agreed = {event.by: event.because} if event.counts else {}
    belief.proposals[event.proposal_id] = Proposal(event.act, at, event.expires_at, agreed)


def agreed(belief: Belief, event: events.ActAgreed, _at: float) -> None:
    """Count the yes; one that came when it was decided already changes nothing."""
    found = belief.proposals.get(event.proposal_id)
    if found is not None:
        found.agreed.setdefault(event.by, event.because)


def withdrawn(belief: Belief, event: events.ActWithdrawn, _at: float) -> None:
    """Forget it."""
    belief.proposals.pop(event.proposal_id, None)


def carried(belief: Belief, event: events.ActCarried, at: float) -> None:
    """Take in what was asked for, as if who asked had done it now."""
    belief.proposals.pop(event.proposal_id, None)
    operators.acted(belief, event.act, at)


def lapsed(belief: Belief, event: events.ActLapsed, _at: float) -> None:
    """Forget it."""
    belief.proposals.pop(event.proposal_id, None)
