"""Hosts that enrol: uses of tokens, and the certificates that were given for them."""

from __future__ import annotations

from controller import enrolment_events as events
from controller.policy.belief import Belief
from controller.policy.enrolling.book import Use

KEPT_AFTER_S = 7 * 86_400.0
"""So long after a token's end its uses are known. Source: our choice; a clock that was days ahead and is put back must
not make a used token new."""


def granted(belief: Belief, event: events.EnrolmentGranted, at: float) -> None:
    """Count a use; forget those of tokens that have expired."""
    book = belief.enrolments
    for token_id in [each for each, ends_at in book.ends_at.items() if ends_at + KEPT_AFTER_S <= at]:
        book.ends_at.pop(token_id)
        book.uses.pop(token_id, None)
    book.ends_at[event.token_id] = event.token_ends_at
    if book.use_for(event.token_id, event.node, event.key) is None:
        book.uses.setdefault(event.token_id, []).append(Use(event.node, event.key, at))


def issued(belief: Belief, event: events.CertificateIssued, _at: float) -> None:
    """Note which certificate a use was good for."""
    use = belief.enrolments.use_for(event.token_id, event.node, event.key)
    if use is not None:
        use.serials.append(event.serial)


def refused(_belief: Belief, _event: events.EnrolmentRefused, _at: float) -> None:
    """Nothing follows from it; the log has it for people."""
