"""What a destination is sent of an incident: a notice of its own, nothing because another one takes it, or a group's.

A second incident about the same subject joins the notice that is open. Pages that come as a storm join one page for all
of them: of one fault class and team, or from one place, whatever broke there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from controller.policy.belief import Belief
from controller.policy.incident import Incident
from controller.policy.noticing.book import PAGE, Thread
from controller.policy.noticing.routing import StormRule
from controller.policy.noticing.subjects import subject_of
from controller.policy.places import LEAF, NVLINK_DOMAIN, RACK, places_of

SHARED = (NVLINK_DOMAIN, RACK, "pdu", LEAF)
"""Kinds of places that make pages one, the narrowest first. Source: our choice; a row or a site holds unlike things."""


@dataclass(frozen=True, slots=True)
class Filing:
    """What becomes of an incident at one destination.

    Attributes:
        subject: of the notice that is sent.
        joins: the open notice that takes the incident; nothing is sent then.
        group: what a storm shares for which the notice stands, empty for one of its own.
        follows: reference of the closed notice about the subject, empty without one.
    """

    subject: str
    joins: Thread | None = None
    group: str = ""
    follows: str = ""


@dataclass(frozen=True, slots=True)
class Addressed:
    """One notice on its way to one destination."""

    incident: Incident
    kind: str
    destination: str
    team: str


def filing_of(
    belief: Belief, storm: StormRule, addressed: Addressed, *, under_way: Collection[str], now: float
) -> Filing:
    """Return what the destination is to be sent.

    Args:
        under_way: further incidents whose notices are on their way there.
    """
    book, subject = belief.notices, subject_of(addressed.incident)
    same = book.about(addressed.kind, addressed.destination, subject)
    if same is not None and not same.ended_at:
        return Filing(subject, joins=same)
    group = _group_of(belief, storm, addressed, under_way, now) if addressed.kind == PAGE else ""
    if group:
        return Filing(f"{group} {addressed.incident.id}", _open_group(belief, storm, addressed, group, now), group)
    return Filing(subject, follows=same.reference if same is not None else "")


def _open_group(belief: Belief, storm: StormRule, addressed: Addressed, group: str, now: float) -> Thread | None:
    """Return the group that still grows. One that came to rest takes nothing: nobody would be paged for it."""
    here = (t for t in _recent(belief, addressed, storm, now) if t.group == group)
    return next(here, None)


def _group_of(belief: Belief, storm: StormRule, addressed: Addressed, under_way: Collection[str], now: float) -> str:
    """Return what so many pages share that they are one storm, empty while they are few."""
    recent = list(_recent(belief, addressed, storm, now))
    grows = {thread.group for thread in recent} - {""}
    single = [thread.newest for thread in recent if not thread.group]
    others = [belief.incidents[each] for each in {*single, *under_way} if each in belief.incidents]
    shared_by_others = [set(shared_by(belief, other, addressed.team)) for other in others]
    mine = list(shared_by(belief, addressed.incident, addressed.team))
    many = (each for each in mine if sum(each in shared for shared in shared_by_others) >= storm.pages)
    return next((each for each in mine if each in grows), "") or next(many, "")


def _recent(belief: Belief, addressed: Addressed, storm: StormRule, now: float) -> Iterator[Thread]:
    """Yield the open pages at a destination that came, or still grew, within the storm's window."""
    book = belief.notices
    for name in reversed(book.open_threads):
        thread = book.threads[name]
        if thread.filed_at < now - storm.within_s and not thread.group:
            return
        same_place = (thread.kind, thread.destination) == (addressed.kind, addressed.destination)
        if same_place and thread.team == addressed.team and now - thread.joined_at <= storm.within_s:
            yield thread


def shared_by(belief: Belief, incident: Incident, team: str) -> Iterator[str]:
    """Yield what a page may have in common with others, the narrowest first."""
    node = belief.nodes.get(incident.node)
    places = places_of(node) if node is not None else {}
    for kind in SHARED:
        yield from (f"{kind}={name} {team}".rstrip() for name in places.get(kind, ()))
    yield f"{incident.fault_class} {team}".rstrip()
