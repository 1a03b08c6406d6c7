"""Where an incident can stand, and where each event leads from there: one table, enforced by the fold.

An event that the table does not have for a place is a defect of the policy or a log that was tampered with. It is
refused before it is committed, so that no incident is ever in a state that nobody wrote down. The diagram in
docs/reference/incident-states.md is drawn from this table.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from controller import events
from controller.policy.incident import Incident, Phase


class Place(StrEnum):
    """Where an incident stands: the list of steps that is run, and whether one of them is under way."""

    AUTOMATIC = "automatic"
    """Between two steps of the playbook, or waiting for the next."""
    AUTOMATIC_STEP = "automatic_step"
    HAND_OVER = "hand_over"
    """People are told, or have been told; the node stays out."""
    HAND_OVER_STEP = "hand_over_step"
    ABORTED = "aborted"
    """A person stopped the plan; the node stays out until a person gives it back."""
    RETURNING = "returning"
    """It is mended, as people say, or nothing is wrong with it any more: verify, then give the node back."""
    RETURNING_STEP = "returning_step"
    RELEASING = "releasing"
    """Our hold ends: a person took the node back, or what may be left of a cordon is undone."""
    RELEASING_STEP = "releasing_step"
    CLOSED = "closed"
    """Nothing more is done, ever."""


class OutOfPlace(ValueError):
    """An event that cannot happen to an incident where it stands."""


_STAYS = "incident.joined"
_LATE = "step.ended"
_ENDS_EARLY = {
    "incident.releasing": Place.RELEASING,
    "incident.aborted": Place.ABORTED,
    "incident.closed": Place.CLOSED,
}

TRANSITIONS: Mapping[Place, Mapping[str, Place]] = {
    Place.AUTOMATIC: {
        "step.intended": Place.AUTOMATIC_STEP,
        "step.skipped": Place.AUTOMATIC,
        "incident.waiting": Place.AUTOMATIC,
        _STAYS: Place.AUTOMATIC,
        "incident.reclassified": Place.AUTOMATIC,
        "incident.handed_over": Place.HAND_OVER,
        "incident.returning": Place.RETURNING,
        **_ENDS_EARLY,
    },
    Place.AUTOMATIC_STEP: {
        "step.ended": Place.AUTOMATIC,
        _STAYS: Place.AUTOMATIC_STEP,
        "incident.reclassified": Place.AUTOMATIC,
        **_ENDS_EARLY,
    },
    Place.HAND_OVER: {
        "step.intended": Place.HAND_OVER_STEP,
        "step.skipped": Place.HAND_OVER,
        _STAYS: Place.HAND_OVER,
        "incident.returning": Place.RETURNING,
        **_ENDS_EARLY,
    },
    Place.HAND_OVER_STEP: {"step.ended": Place.HAND_OVER, _STAYS: Place.HAND_OVER_STEP},
    Place.ABORTED: {_STAYS: Place.ABORTED, "incident.returning": Place.RETURNING, **_ENDS_EARLY},
    Place.RETURNING: {
        "step.intended": Place.RETURNING_STEP,
        "step.skipped": Place.RETURNING,
        "incident.waiting": Place.RETURNING,
        _STAYS: Place.RETURNING,
        "incident.handed_over": Place.HAND_OVER,
        **_ENDS_EARLY,
    },
    Place.RETURNING_STEP: {"step.ended": Place.RETURNING, _STAYS: Place.RETURNING_STEP, **_ENDS_EARLY},
    Place.RELEASING: {
        "step.intended": Place.RELEASING_STEP,
        "step.skipped": Place.RELEASING,
        _STAYS: Place.RELEASING,
        "incident.closed": Place.CLOSED,
    },
    Place.RELEASING_STEP: {"step.ended": Place.RELEASING, _STAYS: Place.RELEASING_STEP},
    Place.CLOSED: {},
}
"""Place → event → place. `incident.opened` leads to `automatic`; what is not here cannot happen."""

MOVING = frozenset(kind for ways in TRANSITIONS.values() for kind in ways)
"""Events that the table rules. Every other event leaves an incident where it stands."""

_PLACES = {
    Phase.AUTOMATIC: (Place.AUTOMATIC, Place.AUTOMATIC_STEP),
    Phase.HAND_OVER: (Place.HAND_OVER, Place.HAND_OVER_STEP),
    Phase.RETURNING: (Place.RETURNING, Place.RETURNING_STEP),
    Phase.RELEASING: (Place.RELEASING, Place.RELEASING_STEP),
}


def place_of(incident: Incident) -> Place:
    """Return where the incident stands."""
    if incident.closed_at:
        return Place.CLOSED
    if incident.phase is Phase.HAND_OVER and incident.outcome == "aborted":
        return Place.ABORTED
    return _PLACES[incident.phase][incident.intent is not None]


def leads_to(before: Place, event: events.Event) -> frozenset[Place]:
    """Return where the event may lead from a place: one place, or two for a step's end.

    A step may end late: after it was given up, its outcome is only recorded.

    Raises:
        OutOfPlace: the event cannot happen there.
    """
    kind = events.kind_of(event)
    if kind not in MOVING or kind == _LATE:
        return frozenset({before, TRANSITIONS[before].get(kind, before)})
    after = TRANSITIONS[before].get(kind)
    if after is None:
        raise OutOfPlace(f"{kind} for {events.incident_of(event)}, which is {before}: it cannot happen there")
    return frozenset({after})


def hold_to(allowed: frozenset[Place], event: events.Event, after: Place) -> None:
    """Return if the event led to where it may lead.

    Raises:
        OutOfPlace: it did not.
    """
    if after not in allowed:
        wanted = " or ".join(sorted(allowed))
        raise OutOfPlace(f"{events.kind_of(event)} for {events.incident_of(event)} leads to {wanted}, not to {after}")
