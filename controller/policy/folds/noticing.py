"""Tickets and pages: where they are, what was told, what came back, and what is to be told."""

from __future__ import annotations

from collections.abc import Iterable

from controller import events
from controller.notice_events import NoticeClosed, NoticeEvent, NoticeFailed, NoticeFiled, NoticeHeard, NoticeTold
from controller.policy.approvals import RETURN, asked
from controller.policy.belief import Belief
from controller.policy.incident import Incident
from controller.policy.noticing import closings
from controller.policy.noticing.book import (
    CLOSED_KEPT,
    MOST_NEWS,
    TICKET,
    News,
    NoticeBook,
    Thread,
    Trouble,
    about,
    thread_id,
)
from controller.policy.noticing.news import news_of

LEFT = "handed_over"
"""How an incident closes that people have from then on."""


def filed(belief: Belief, event: NoticeFiled, at: float) -> None:
    """Note where a notice is."""
    book, name = belief.notices, thread_id(event.kind, event.destination, event.reference)
    thread = book.threads.get(name)
    if thread is not None and thread.heard == "gone" and event.joined and not event.found:
        _owe(belief, thread, event.incident_id, at)
        return
    if thread is None or thread.ended_at:
        before = thread.incidents if thread is not None else {}
        thread = book.threads[name] = _begun(belief, event, at)
        thread.incidents = {**before, event.incident_id: ""}
        book.ended.pop(name, None)
        book.open_threads[name] = None
    elif event.incident_id not in thread.incidents:
        _take_in(belief, thread, event, at)
    thread.joined_at = at
    if event.joined and event.found:
        _add(thread, News(belief.last_event_id, at, event.because, major=True))
    book.by_subject[about(event.kind, event.destination, event.subject)] = name
    book.by_incident.setdefault(event.incident_id, {})[name] = None
    _settle_owed(book, event)
    _hears(book, event)
    _note_escalation(book, event)
    _note_end(belief, thread, event.incident_id)


def _begun(belief: Belief, event: NoticeFiled, at: float) -> Thread:
    incident = belief.incidents.get(event.incident_id)
    return Thread(
        event.kind,
        event.destination,
        event.reference,
        event.url,
        event.subject,
        event.title,
        event.team,
        event.severity,
        at,
        group=event.group,
        follows=event.follows,
        escalates=event.escalates,
        told_through=belief.last_event_id,
        acknowledged_by=incident.acknowledged_by if incident is not None else "",
        acknowledged_at=incident.acknowledged_at if incident is not None else 0.0,
    )


def _take_in(belief: Belief, thread: Thread, event: NoticeFiled, at: float) -> None:
    """One more incident of the same subject, or of the same storm. It may need another look than the first got.

    Who acknowledged the page did so for what was on it then: the new one is answered by itself, or goes to who is next.
    """
    thread.incidents[event.incident_id] = ""
    if not thread.group:
        thread.acknowledged_by, thread.acknowledged_at, thread.acknowledged_told = "", 0.0, False
        thread.escalated_to = ""
        _add(thread, News(belief.last_event_id, at, event.because, major=True, joins=event.incident_id))


def _owe(belief: Belief, thread: Thread, incident_id: str, at: float) -> None:
    """An incident joined a notice that was gone, and nobody there ever read of it: it needs one of its own."""
    book, key = belief.notices, about(thread.kind, thread.destination, incident_id)
    if incident_id not in belief.open_incidents:
        return
    because = f"{thread.reference} in {thread.destination}, which {incident_id} was to join, is gone."
    again = f"{incident_id}/{thread.kind}/{thread.destination}/after/{thread.reference}"
    book.owed[key] = Trouble("filed", "retry", because, 1, at, at, again, thread.kind)
    book.owing.setdefault(incident_id, {})[key] = None


def _let_go(belief: Belief, thread: Thread, at: float) -> None:
    """A notice is gone: what joined it and was never told there is not gone with it."""
    for joined in [news.joins for news in thread.news if news.joins in belief.open_incidents]:
        thread.incidents.pop(joined, None)
        belief.notices.by_incident.get(joined, {}).pop(thread.id, None)
        _owe(belief, thread, joined, at)


def _note_end(belief: Belief, thread: Thread, incident_id: str) -> None:
    """An incident may have closed before its notice arrived."""
    incident = belief.incidents.get(incident_id)
    if incident is not None and incident.closed_at and not thread.incidents[incident_id]:
        _end_of(belief, thread, incident)
        sentence = f"Closed, {incident.outcome.replace('_', ' ')}: {incident.because}"
        _add(thread, News(belief.last_event_id, belief.last_at, sentence))


def _note_escalation(book: NoticeBook, event: NoticeFiled) -> None:
    unanswered = book.filed(event.incident_id, event.kind, event.escalates)
    if unanswered is not None:
        unanswered.escalated_to = event.destination


def _settle_owed(book: NoticeBook, event: NoticeFiled) -> None:
    key = about(event.kind, event.destination, event.incident_id)
    if book.owed.pop(key, None) is not None:
        book.owing[event.incident_id].pop(key, None)
        if not book.owing[event.incident_id]:
            del book.owing[event.incident_id]


def told(belief: Belief, event: NoticeTold, at: float) -> None:
    """Note what a destination knows."""
    book = belief.notices
    thread = book.threads.get(thread_id(event.kind, event.destination, event.reference))
    _hears(book, event)
    if thread is None:
        return
    thread.news = [each for each in thread.news if each.event_id > event.through]
    thread.acknowledged_told = thread.acknowledged_told or event.acknowledged
    thread.told, thread.told_at, thread.trouble = event.news, at, None
    thread.told_through = max(thread.told_through, event.through)
    thread.told_members = event.members or thread.told_members
    if thread.heard == "closed" and not event.because:
        thread.heard, thread.reopened, thread.heard_at = "open", True, at


def closed(belief: Belief, event: NoticeClosed, at: float) -> None:
    """Note that a notice came to its end."""
    book = belief.notices
    thread = book.threads.get(thread_id(event.kind, event.destination, event.reference))
    _hears(book, event)
    if thread is not None:
        thread.told, thread.told_at, thread.trouble = event.news, at, None
        thread.news = []
        _end(book, thread, at)


def heard(belief: Belief, event: NoticeHeard, at: float) -> None:
    """Take in what the other side says. A ticket that a person closed is their word that it is mended."""
    book = belief.notices
    thread = book.threads.get(thread_id(event.kind, event.destination, event.reference))
    if thread is None or thread.ended_at:
        return
    thread.heard, thread.heard_by, thread.heard_because, thread.heard_at = event.state, event.by, event.because, at
    thread.heard_id = belief.last_event_id
    if event.state == "gone":
        _let_go(belief, thread, at)
        _end(book, thread, at)
    if event.state == "open" and thread.kind == TICKET:
        _opened_there(belief, thread)
    if event.state not in {"acknowledged", "closed"}:
        return
    by = f"{event.by or 'somebody'} in {event.destination}"
    if event.state == "acknowledged" and not thread.acknowledged_at:
        thread.acknowledged_by, thread.acknowledged_at = by, at
    for incident in (belief.open_incidents[each] for each in thread.incidents if each in belief.open_incidents):
        acknowledge(belief, incident, by, at)
        if event.state == "closed" and thread.kind == TICKET and asked(incident) == RETURN:
            _closed_there(belief, incident, at)


def _closed_there(belief: Belief, incident: Incident, at: float) -> None:
    """A person's word that it is mended. One that was wrong too often is told to everybody, once."""
    if not closings.take(incident, at):
        return
    for thread in belief.notices.of(incident.id):
        if not thread.ended_at and not thread.group:
            _add(thread, News(belief.last_event_id, at, closings.must_decide(incident), major=True))


def _opened_there(belief: Belief, thread: Thread) -> None:
    """Who opens a ticket again takes back that it is mended."""
    for incident in (belief.open_incidents[each] for each in thread.incidents if each in belief.open_incidents):
        if incident.closed_there_at:
            incident.closings, incident.closed_there_at = incident.closings - 1, 0.0


def acknowledge(belief: Belief, incident: Incident, by: str, at: float) -> None:
    """Somebody looks after an incident: nobody else is paged for it."""
    if not incident.acknowledged_at:
        incident.acknowledged_by, incident.acknowledged_at = by, at
    for thread in belief.notices.of(incident.id):
        if not thread.acknowledged_at:
            thread.acknowledged_by, thread.acknowledged_at = by, at


def failed(belief: Belief, event: NoticeFailed, at: float) -> None:
    """Note what was not taken."""
    book = belief.notices
    place, key = f"{event.kind} {event.destination}", about(event.kind, event.destination, event.incident_id)
    if event.outcome != "refused":
        book.silent[place] = _trouble(event, book.silent.get(place), at)
    thread = book.threads.get(thread_id(event.kind, event.destination, event.reference)) if event.reference else None
    if event.what == "filed" and book.filed(event.incident_id, event.kind, event.destination) is None:
        book.owed[key] = _trouble(event, book.owed.get(key), at)
        book.owing.setdefault(event.incident_id, {})[key] = None
    elif thread is not None:
        thread.trouble = _trouble(event, thread.trouble, at)
        _give_up(book, thread, event, at)


def _trouble(event: NoticeFailed, before: Trouble | None, at: float) -> Trouble:
    since = before.since if before is not None else at
    return Trouble(
        event.what,
        event.outcome,
        event.because,
        event.failures,
        since,
        event.retry_at,
        event.key,
        event.step,
        event.through,
    )


def _give_up(book: NoticeBook, thread: Thread, event: NoticeFailed, at: float) -> None:
    """What was not taken for good is not owed: later news are."""
    if event.retry_at:
        return
    if event.what == "closed":
        _end(book, thread, at)
    thread.news, thread.told_at, thread.told_members = [], at, len(thread.incidents)
    thread.acknowledged_told = thread.acknowledged_told or thread.acknowledged_at > 0.0
    thread.reopened = thread.reopened or thread.heard == "closed"


def _hears(book: NoticeBook, event: NoticeEvent) -> None:
    book.silent.pop(f"{event.kind} {event.destination}", None)


def note(belief: Belief, logged: events.Logged, incident: Incident | None) -> None:
    """Take in, after everything else, what an entry means to those who have notices."""
    book = belief.notices
    if book.left and isinstance(logged.event, events.FindingCleared | events.FindingRaised):
        _note_finding(belief, logged.event.node, logged.at)
    if incident is None or incident.id not in book.by_incident:
        _forget_owed(book, logged.event, incident)
        return
    news = news_of(logged, incident)
    for thread in book.of(incident.id):
        if thread.ended_at:
            continue
        if news is not None and (not thread.group or isinstance(logged.event, events.IncidentClosed)):
            _add(thread, news)
        if isinstance(logged.event, events.IncidentClosed):
            _end_of(belief, thread, incident)
    _forget_owed(book, logged.event, incident)


def _forget_owed(book: NoticeBook, event: events.Event, incident: Incident | None) -> None:
    """Of an incident that is over nobody needs to hear any more; one that people have is theirs to hear of."""
    if incident is None or not isinstance(event, events.IncidentClosed) or event.outcome == LEFT:
        return
    for key in [each for each in book.owing.get(incident.id, ()) if not book.owed[each].given_up]:
        del book.owed[key], book.owing[incident.id][key]


def _end_of(belief: Belief, thread: Thread, incident: Incident) -> None:
    thread.incidents[incident.id] = incident.outcome
    if incident.outcome != LEFT or not incident.node:
        return
    thread.watched[incident.node] = [*thread.watched.get(incident.node, []), *incident.condemned_by]
    belief.notices.left.setdefault(incident.node, {})[thread.id] = None
    _look_at(belief, thread, belief.last_at)


def _note_finding(belief: Belief, node: str, at: float) -> None:
    for name in belief.notices.left.get(node, ()):
        _look_at(belief, belief.notices.threads[name], at)


def _look_at(belief: Belief, thread: Thread, at: float) -> None:
    if is_standing(belief, thread):
        thread.quiet_since = 0.0
    else:
        thread.quiet_since = thread.quiet_since or at


def is_standing(belief: Belief, thread: Thread) -> bool:
    """Whether something still stands of what people have a notice of, whose incident is closed."""
    return any(
        key in belief.nodes[node].findings
        for node, keys in thread.watched.items()
        if node in belief.nodes
        for key in keys
    )


def _add(thread: Thread, news: News) -> None:
    thread.news = [*thread.news[1 - MOST_NEWS :], news]


def _end(book: NoticeBook, thread: Thread, at: float) -> None:
    thread.ended_at = at
    book.open_threads.pop(thread.id, None)
    for node in thread.watched:
        here = book.left.get(node, {})
        here.pop(thread.id, None)
        if not here:
            book.left.pop(node, None)
    book.ended[thread.id] = None
    if len(book.ended) > CLOSED_KEPT:
        _forget(book, next(iter(book.ended)))


def _forget(book: NoticeBook, name: str) -> None:
    thread = book.threads.pop(name)
    del book.ended[name]
    _drop(book.by_subject, name, [about(thread.kind, thread.destination, thread.subject)])
    for incident_id in thread.incidents:
        here = book.by_incident.get(incident_id, {})
        here.pop(name, None)
        if not here:
            book.by_incident.pop(incident_id, None)


def _drop(index: dict[str, str], name: str, keys: Iterable[str]) -> None:
    for key in keys:
        if index.get(key) == name:
            del index[key]


def forget_incident(book: NoticeBook, incident_id: str) -> None:
    """An incident is no longer in memory: what was not taken of it is not, either."""
    for key in book.owing.pop(incident_id, {}):
        book.owed.pop(key, None)
