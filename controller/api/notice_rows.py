"""Tickets and pages as the API shows them. Pure."""

from __future__ import annotations

from controller.api.moments import iso, iso_or_none
from controller.api.shapes import NoticeFailure, NoticeRow
from controller.policy.noticing.book import Thread, Trouble


def notice_row(thread: Thread) -> NoticeRow:
    """Return one ticket or page."""
    return NoticeRow(
        kind=thread.kind,
        destination=thread.destination,
        reference=thread.reference,
        url=thread.url,
        subject=thread.subject,
        title=thread.title,
        team=thread.team,
        severity=thread.severity,
        state=thread.state,
        filed_at=iso(thread.filed_at),
        heard=thread.heard,
        acknowledged_by=thread.acknowledged_by,
        acknowledged_at=iso_or_none(thread.acknowledged_at),
        told=thread.told,
        told_at=iso_or_none(thread.told_at),
        closed_at=iso_or_none(thread.ended_at),
        incidents=list(thread.incidents),
        group=thread.group,
        follows=thread.follows,
        escalates=thread.escalates,
        escalated_to=thread.escalated_to,
        trouble=thread.trouble.because if thread.trouble is not None else "",
    )


def notice_failure(kind: str, destination: str, trouble: Trouble) -> NoticeFailure:
    """Return what a destination did not take."""
    return NoticeFailure(
        kind,
        destination,
        trouble.what,
        trouble.outcome,
        trouble.because,
        trouble.failures,
        iso(trouble.since),
        iso_or_none(trouble.retry_at),
    )
