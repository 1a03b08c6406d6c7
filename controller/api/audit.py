"""Who did what, and what was decided: read from the log, newest first, a bounded stretch of it a request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from controller.api.call import Call
from controller.api.ops_shapes import AuditEntry, AuditPage
from controller.api.problems import Problem
from controller.api.reading import timeline_of
from controller.bench_events import BenchAsked, BenchStopped
from controller.enrolment_events import EnrolmentEvent
from controller.events import (
    ActAgreed,
    ActProposed,
    ActWithdrawn,
    DrillStarted,
    Event,
    Logged,
    OperatorActed,
    Reason,
    incident_of,
    kind_of,
    node_of,
)
from controller.sweep_events import SweepAsked, SweepStopAsked

MOST_ENTRIES = 100
STRETCH = 5_000
MOST_STRETCHES = 4
"""So much of the log is looked at in one request. Source: our choice; it takes some tens of milliseconds."""

WHAT = ("people", "decisions", "enrolments")
OWN_NAME = "fleetmend"
"""Who asks for a benchmark or a sweep when no person does."""

PROPOSALS = (ActProposed, ActAgreed, ActWithdrawn)
_ACTS = (OperatorActed, *PROPOSALS, DrillStarted, BenchAsked, BenchStopped, SweepAsked, SweepStopAsked)


def _is_decision(event: type) -> bool:
    return event not in _ACTS and getattr(event, "__annotations__", {}).get("reason") in {"Reason", Reason}


def _kind(event: type) -> str:
    return str(getattr(event, "__struct_config__").tag)  # noqa: B009 (mypy knows no such attribute of a type)


ACTS = tuple(_kind(event) for event in _ACTS)
DECISIONS = tuple(_kind(event) for event in get_args(Event) if _is_decision(event))
ENROLMENTS = tuple(_kind(event) for event in get_args(EnrolmentEvent))
KINDS = {"": (*ACTS, *DECISIONS, *ENROLMENTS), "people": ACTS, "decisions": DECISIONS, "enrolments": ENROLMENTS}


async def audit(call: Call) -> AuditPage:
    """Return acts of people, decisions and enrolments, newest first; the filters narrow them, `before` goes on.

    Raises:
        Problem: 422, a filter is none.
    """
    asked = call.query
    what = asked.get("what", "")
    if what not in KINDS:
        raise Problem(422, f"{what[:40]!r} is neither", "people, decisions or enrolments", field="what")
    before = _number(asked.get("before", "")) or call.cell.belief.last_event_id + 1
    found: list[Logged] = []
    for _ in range(MOST_STRETCHES):
        after = _down_to(before, call.cell.deleted_through())
        entries = await call.cell.back(before=before, after=after, kinds=KINDS[what])
        found += [entry for entry in entries if _is_wanted(entry, asked)]
        before = after + 1
        if after == 0 or len(found) >= MOST_ENTRIES:
            break
    if len(found) > MOST_ENTRIES:
        found = found[:MOST_ENTRIES]
        before = found[-1].event_id
    shown = timeline_of(call.cell, found)
    rows = [AuditEntry(entry, *_who(logged.event)) for entry, logged in zip(shown, found, strict=True)]
    return AuditPage(rows, before if before > 1 else None, before)


def _down_to(before: int, deleted_through: int) -> int:
    """Return where a stretch ends. Where entries were deleted few are left, of incidents that were open then: all of
    them are one stretch, so that nobody turns empty pages down to the first entry."""
    after = before - STRETCH - 1
    return after if after > deleted_through else 0


def _number(text: str) -> int:
    if text and not (text.isascii() and text.isdecimal() and len(text) < 19 and int(text)):
        raise Problem(422, f"{text[:40]!r} is no number of an entry", "as `before` of the page before", field="before")
    return int(text or "0")


def _is_wanted(logged: Logged, asked: Mapping[str, str]) -> bool:
    by, verb = _who(logged.event)
    if asked.get("what") == "people" and not by:
        return False
    said = {"by": by, "verb": verb, "node": node_of(logged.event), "incident": incident_of(logged.event)}
    return all(said[name] == value for name, value in asked.items() if name in said and value)


def _who(event: Event) -> tuple[str, str]:
    """Return who acted and what it was."""
    match event:
        case OperatorActed():
            return event.by, event.verb
        case ActProposed() | ActAgreed() | ActWithdrawn():
            return event.by, kind_of(event).partition(".")[2]
        case DrillStarted():
            return event.by, "drill"
        case BenchAsked() | BenchStopped() | SweepAsked() | SweepStopAsked():
            by = "" if event.by == OWN_NAME else event.by
            return by, kind_of(event)
    return "", kind_of(event).partition(".")[2]
