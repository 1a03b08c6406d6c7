"""What is believed of tickets and pages: where each is, what it was told, what is not told yet. A fold like all belief.

A thread is one notice at one destination, from its filing to its end. It may be for several incidents: a second one
about the same subject, or all of a storm.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from checks.finding import FindingKey

CLOSED_KEPT = 5_000
"""Ended threads that stay in memory, for people and so that a new ticket can name the old. Source: our choice; some
1 kB each."""

MOST_NEWS = 50
"""So many sentences wait for one thread; the oldest of more are dropped. Source: our choice."""

TICKET, PAGE = "ticket", "page"


@dataclass(frozen=True, slots=True)
class News:
    """One sentence for people about an incident.

    Attributes:
        event_id: entry of the log that it comes from.
        major: it is told at once, and to pages too; others are told to tickets alone, and bundled.
        joins: the incident that joined by it, empty for all else.
    """

    event_id: int
    at: float
    sentence: str
    major: bool = False
    joins: str = ""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What a destination did not take, and why. Fields as in `NoticeFailed`; `since`: of the first failure in a row."""

    what: str
    outcome: str
    because: str
    failures: int
    since: float
    retry_at: float
    key: str = ""
    step: str = ""
    through: int = 0

    @property
    def given_up(self) -> bool:
        """Whether it is not tried again."""
        return not self.retry_at


@dataclass(slots=True)
class Thread:
    """One notice at one destination.

    Attributes:
        incidents: those it is for, oldest first → how each closed, empty while it is open.
        told_through: entry of the log up to which the destination knows.
        told_members: for how many incidents it stands, as far as the destination knows.
        heard: how it stands there, as its destination said last: open, acknowledged, closed or gone.
        heard_id: entry of the log by which that was heard.
        acknowledged_by: who looks after every incident that it is for; one that joined later may need somebody.
        acknowledged_told: its destination knows that somebody looks after it.
        reopened: it was opened again once because what it is about was not over.
        watched: node → findings that stood when an incident closed that people have: it ends when they are gone.
        quiet_since: when the last of them was gone, 0 while one stands.
        escalated_to: who got the page when nobody acknowledged it here, empty while nobody did.
    """

    kind: str
    destination: str
    reference: str
    url: str
    subject: str
    title: str
    team: str
    severity: str
    filed_at: float
    group: str = ""
    follows: str = ""
    escalates: str = ""
    incidents: dict[str, str] = field(default_factory=dict)
    joined_at: float = 0.0
    news: list[News] = field(default_factory=list)
    told: str = ""
    told_at: float = 0.0
    told_through: int = 0
    told_members: int = 1
    heard: str = "open"
    heard_by: str = ""
    heard_because: str = ""
    heard_at: float = 0.0
    heard_id: int = 0
    acknowledged_by: str = ""
    acknowledged_at: float = 0.0
    acknowledged_told: bool = False
    reopened: bool = False
    watched: dict[str, list[FindingKey]] = field(default_factory=dict)
    quiet_since: float = 0.0
    escalated_to: str = ""
    ended_at: float = 0.0
    trouble: Trouble | None = None

    @property
    def id(self) -> str:
        """Its name in the book."""
        return thread_id(self.kind, self.destination, self.reference)

    @property
    def state(self) -> str:
        """One word for people: open, acknowledged, closed or gone."""
        if self.heard == "gone" or not self.ended_at:
            if self.heard in {"open", "acknowledged"}:
                return "acknowledged" if self.acknowledged_at else "open"
            return self.heard
        return "closed"

    @property
    def newest(self) -> str:
        """The newest incident that it is for."""
        return next(reversed(self.incidents))

    @property
    def current(self) -> str:
        """The newest incident of it that is open, else the newest."""
        still_open = (each for each, outcome in reversed(self.incidents.items()) if not outcome)
        return next(still_open, self.newest)

    @property
    def is_over(self) -> bool:
        """Whether every incident that it is for is closed."""
        return all(self.incidents.values())


def thread_id(kind: str, destination: str, reference: str) -> str:
    """Return the name of a thread in the book."""
    return f"{kind} {destination} {reference}"


def about(kind: str, destination: str, what: str) -> str:
    """Return the key of a subject, or of an incident, at a destination."""
    return f"{kind} {destination} {what}"


@dataclass(slots=True)
class NoticeBook:
    """All of them.

    Attributes:
        threads: the open ones, and the newest that ended, by `Thread.id`.
        open_threads: those that have not ended, in order of filing.
        by_incident: incident → its threads.
        by_subject: `about` a subject → its newest thread.
        ended: in order of ending.
        owed: `about` an incident → what its destination did not take; what is given up stays, for people to see.
        owing: incident → the keys of it in `owed`.
        silent: destination, by kind and name → what it did not take last, until it takes something.
        left: node → open threads about findings on it that people have.
    """

    threads: dict[str, Thread] = field(default_factory=dict)
    open_threads: dict[str, None] = field(default_factory=dict)
    by_incident: dict[str, dict[str, None]] = field(default_factory=dict)
    by_subject: dict[str, str] = field(default_factory=dict)
    ended: dict[str, None] = field(default_factory=dict)
    owed: dict[str, Trouble] = field(default_factory=dict)
    owing: dict[str, dict[str, None]] = field(default_factory=dict)
    silent: dict[str, Trouble] = field(default_factory=dict)
    left: dict[str, dict[str, None]] = field(default_factory=dict)

    def of(self, incident_id: str) -> list[Thread]:
        """Return the threads of an incident, in order of filing."""
        return [self.threads[each] for each in self.by_incident.get(incident_id, ()) if each in self.threads]

    def troubles_of(self, incident_id: str) -> list[tuple[str, str, Trouble]]:
        """Return what was not taken of an incident: kind, destination, and what is wrong."""
        split = ((key.split(" "), self.owed[key]) for key in self.owing.get(incident_id, ()))
        filings = [(words[0], words[1], trouble) for words, trouble in split]
        return filings + [(t.kind, t.destination, t.trouble) for t in self.of(incident_id) if t.trouble is not None]

    def filed(self, incident_id: str, kind: str, destination: str) -> Thread | None:
        """Return the thread of an incident at a destination, `None` without one."""
        here = (t for t in self.of(incident_id) if (t.kind, t.destination) == (kind, destination))
        return next(here, None)

    def about(self, kind: str, destination: str, subject: str) -> Thread | None:
        """Return the newest thread about a subject at a destination, open or not; `None` without one."""
        return self.threads.get(self.by_subject.get(about(kind, destination, subject), ""))

    def open_about(self, kind: str, destination: str, subject: str) -> Thread | None:
        """Return the thread that a further incident about a subject joins, `None` when it needs one of its own."""
        found = self.about(kind, destination, subject)
        return found if found is not None and not found.ended_at else None

    def waits(self, kind: str, destination: str) -> Trouble | None:
        """Return what is wrong with a destination, `None` while it takes what it gets."""
        return self.silent.get(f"{kind} {destination}")
