"""What can happen to tickets and pages: filed, told what is new, closed, heard of, not taken. Of events.py's union.

A notice is known by its kind (`ticket` or `page`), the name of its destination and the reference that the destination
gave it. `incident_id` is the newest incident that it is for.
"""

from __future__ import annotations

import msgspec


class NoticeFiled(msgspec.Struct, frozen=True, tag="notice.filed"):
    """A destination has the notice of an incident.

    Attributes:
        subject: what it is about; a destination has one open notice a subject.
        key: idempotency key under which it was sent.
        because: the sentence.
        found: the destination had it already, and nothing was made.
        joined: one that was filed before takes this incident too, and nothing was sent for it by itself.
        group: it stands for many incidents that came together: what they share; empty for every other.
        follows: reference of the closed notice about the same subject that it names, empty without one.
        escalates: the destination whose page nobody acknowledged, empty for every notice that a step filed.
    """

    incident_id: str
    kind: str
    destination: str
    reference: str
    url: str
    subject: str
    key: str
    because: str
    title: str = ""
    team: str = ""
    severity: str = ""
    found: bool = False
    joined: bool = False
    group: str = ""
    follows: str = ""
    escalates: str = ""


class NoticeTold(msgspec.Struct, frozen=True, tag="notice.told"):
    """A destination was told what is new.

    Attributes:
        through: entry of the log up to which it knows.
        members: of a group, for how many incidents it stands by what was told.
        because: why nothing was sent, where the destination cannot be told; empty otherwise.
        acknowledged: it was told that somebody looks after it.
    """

    incident_id: str
    kind: str
    destination: str
    reference: str
    key: str
    news: str
    through: int
    members: int = 0
    because: str = ""
    acknowledged: bool = False


class NoticeClosed(msgspec.Struct, frozen=True, tag="notice.closed"):
    """Nothing more is said of a notice: its destination was told how it ended. `because`: as in `NoticeTold`."""

    incident_id: str
    kind: str
    destination: str
    reference: str
    key: str
    news: str
    because: str = ""


class NoticeHeard(msgspec.Struct, frozen=True, tag="notice.heard"):
    """The other side says that a notice stands otherwise than before: `open`, `acknowledged`, `closed` or `gone`.

    `by`, `because`: who did it and their words, empty where it does not say.
    """

    incident_id: str
    kind: str
    destination: str
    reference: str
    state: str
    by: str = ""
    because: str = ""


class NoticeFailed(msgspec.Struct, frozen=True, tag="notice.failed"):
    """A destination did not take what was sent.

    Attributes:
        what: `filed`, `told` or `closed`: what was to become of the notice.
        outcome: `retry`: it is tried again at `retry_at`; `permanent`: the destination says no; `refused`: a guard
            did; `in_doubt`: nobody knows whether it arrived.
        failures: in a row.
        retry_at: Unix seconds, 0 when it is given up.
        step: of the incident, for one that was to be filed; `escalate` for one that nobody answered elsewhere.
        through: entry of the log up to which it would have told.
    """

    incident_id: str
    kind: str
    destination: str
    reference: str
    key: str
    what: str
    outcome: str
    because: str
    failures: int = 1
    retry_at: float = 0.0
    step: str = ""
    through: int = 0


NoticeEvent = NoticeFiled | NoticeTold | NoticeClosed | NoticeHeard | NoticeFailed
