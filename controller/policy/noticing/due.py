"""What is due about tickets and pages: a pure function of belief, asked again and again, which never answers twice.

What was done is an event, so that a restart does what is missing and nothing else. Every answer has a key that follows
from belief alone: the same one until it is done.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from controller.policy.belief import Belief
from controller.policy.folds.noticing import LEFT, is_standing
from controller.policy.noticing.book import PAGE, News, Thread, Trouble, about, thread_id
from controller.policy.noticing.routing import DestinationRule, NoticeRules
from controller.policy.noticing.storms import storm_news

GROUP_BUNDLE_S = 60.0
"""A page for many is told how many there are at most so often. Source: our choice; a page that rings with every node of
a storm is muted."""

SETTLE_S = 600.0
"""So long after people closed a ticket what it is about may still be found: then it is opened again, once. Source: our
choice; checks look again every few minutes at the latest."""

MOST_SENTENCES = 8
"""So many are told at once; of more the last. Source: our choice."""


PERMANENT = "permanent"
"""Outcome of what a destination says no to."""


class Act(StrEnum):
    """What is to be done."""

    FILE = "file"
    TELL = "tell"
    ACKNOWLEDGE = "acknowledge"
    CLOSE = "close"
    ESCALATE = "escalate"


@dataclass(frozen=True, slots=True)
class Due:
    """One thing that is due.

    Attributes:
        destination: who gets it.
        reference: of the notice that it is about, empty for one that is to be filed.
        key: names exactly this.
        through: entry of the log up to which it tells.
        members: of a group, how many incidents it stands for.
        escalates: the destination whose page nobody acknowledged, or that did not take it.
        failures: of it so far, in a row.
    """

    act: Act
    kind: str
    destination: str
    incident_id: str
    key: str
    reference: str = ""
    news: str = ""
    through: int = 0
    members: int = 0
    escalates: str = ""
    step: str = ""
    failures: int = 0

    @property
    def about(self) -> str:
        """What nobody else may do anything about meanwhile."""
        return thread_id(self.kind, self.destination, self.reference) if self.reference else self._filing

    @property
    def _filing(self) -> str:
        return about(self.kind, self.destination, self.incident_id)


def due(belief: Belief, rules: NoticeRules, now: float) -> Iterator[Due]:
    """Yield all that is due now, at most one thing for each notice."""
    book = belief.notices
    for key, trouble in list(book.owed.items()):
        yield from _of_owed(belief, rules, key.split(" ", 2), trouble, now)
    for name in list(book.open_threads):
        yield from _of_thread(belief, rules, book.threads[name], now)


def _of_owed(belief: Belief, rules: NoticeRules, key: list[str], trouble: Trouble, now: float) -> Iterator[Due]:
    kind, destination, incident_id = key
    incident = belief.incidents.get(incident_id)
    rule = rules.named(kind, destination)
    is_filed = belief.notices.filed(incident_id, kind, destination) is not None
    if incident is None or rule is None or is_filed or trouble.step == Act.ESCALATE:
        return
    is_hopeless = trouble.given_up or trouble.outcome == PERMANENT
    if kind == PAGE and (is_hopeless or now - trouble.since >= rule.escalate_after_s):
        yield from _escalation(belief, rules, rule, incident_id, now)
    under_way = incident.intent is not None and incident.intent.key == trouble.key
    is_known = kind == PAGE and incident.acknowledged_at > 0.0
    if not trouble.given_up and not under_way and not is_known and now >= trouble.retry_at:
        yield Due(Act.FILE, kind, destination, incident_id, trouble.key, step=trouble.step, failures=trouble.failures)


def _of_thread(belief: Belief, rules: NoticeRules, thread: Thread, now: float) -> Iterator[Due]:
    trouble = thread.trouble
    is_put_off = trouble is not None and now < trouble.retry_at
    if has_ended(belief, rules, thread, now):
        if not is_put_off:
            yield _close(thread)
        return
    if not is_put_off:
        yield from _of_open(belief, rules, thread, now)
    rule = rules.named(thread.kind, thread.destination)
    if rule is not None and _is_unanswered(thread, rule, now):
        yield from _escalation(belief, rules, rule, thread.current, now)


def _of_open(belief: Belief, rules: NoticeRules, thread: Thread, now: float) -> Iterator[Due]:
    if thread.kind == PAGE and thread.acknowledged_at and not thread.acknowledged_told and thread.heard == "open":
        words = f"{thread.acknowledged_by} looks after it."
        yield _due(Act.ACKNOWLEDGE, thread, f"acknowledged/{thread.current}", words, 0)
        return
    news = list(_worth_telling(belief, rules, thread, now))
    if news:
        yield _tell(thread, news)


def has_ended(belief: Belief, rules: NoticeRules, thread: Thread, now: float) -> bool:
    """Return whether nothing is left that the notice is for.

    An incident that closed because people have it is over when nothing of it is found for a while, or when they say so
    and nothing speaks against it.
    """
    if not thread.is_over:
        return False
    if not thread.watched:
        return True
    if thread.heard == "closed":
        return thread.reopened or not is_standing(belief, thread)
    return thread.quiet_since > 0.0 and now - thread.quiet_since >= rules.quiet_s


def _worth_telling(belief: Belief, rules: NoticeRules, thread: Thread, now: float) -> Iterator[News]:
    """Yield the news that are told now; nothing while they can wait for others."""
    if thread.group:
        yield from _of_storm(belief, thread, now)
        return
    if thread.heard == "closed":
        yield from _why_reopened(belief, thread, now)
        return
    wanted = [news for news in _as_tried(thread) if news.major or thread.kind != PAGE]
    if any(news.major for news in wanted) or (wanted and now - wanted[0].at >= rules.bundle_s):
        yield from wanted


def _why_reopened(belief: Belief, thread: Thread, now: float) -> Iterator[News]:
    since = [news for news in _as_tried(thread) if news.event_id >= thread.heard_id]
    if any(news.major for news in since):
        yield from since
    elif thread.is_over and not thread.reopened and now - thread.heard_at >= SETTLE_S and is_standing(belief, thread):
        yield News(0, now, "It was closed here and is still found.", major=True)


def _as_tried(thread: Thread) -> list[News]:
    """Return the news that were tried and not taken, which may have arrived, else all: a key names the same news."""
    trouble = thread.trouble
    if trouble is None or trouble.given_up or trouble.what != "told" or not trouble.through:
        return thread.news
    return [news for news in thread.news if news.event_id <= trouble.through] or thread.news


def _of_storm(belief: Belief, thread: Thread, now: float) -> Iterator[News]:
    grown = len(thread.incidents) != thread.told_members
    if grown and now - max(thread.told_at, thread.filed_at) >= GROUP_BUNDLE_S:
        yield News(0, now, storm_news(belief, thread), major=True)


def _tell(thread: Thread, news: list[News]) -> Due:
    """Return the telling of news. What is no entry of the log is named by when it is told."""
    through = news[-1].event_id
    name = through or (f"of-{len(thread.incidents)}" if thread.group else "still-found")
    return _due(Act.TELL, thread, f"told/{name}", _words(news), through)


def _close(thread: Thread) -> Due:
    news = [*thread.news] if not thread.group else thread.news[-1:]
    words = _words(news) or f"It is over: {', '.join(sorted(set(thread.incidents.values())))}."
    if LEFT in thread.incidents.values():
        words = f"{words} Nothing of it is found any more.".strip()
    return _due(Act.CLOSE, thread, f"closed/{thread.newest}", words, news[-1].event_id if news else 0)


def _due(act: Act, thread: Thread, name: str, words: str, through: int) -> Due:
    failures = thread.trouble.failures if thread.trouble is not None else 0
    first = next(iter(thread.incidents))
    return Due(
        act,
        thread.kind,
        thread.destination,
        thread.current if not thread.group else first,
        f"{first}/{thread.kind}/{thread.destination}/{name}",
        thread.reference,
        words,
        through,
        len(thread.incidents) if thread.group else 0,
        failures=failures,
    )


def _words(news: list[News]) -> str:
    return "\n".join(dict.fromkeys(each.sentence for each in news[-MOST_SENTENCES:]))


def _is_unanswered(thread: Thread, rule: DestinationRule, now: float) -> bool:
    if thread.kind != PAGE or thread.acknowledged_at or thread.escalated_to or not rule.escalate_to:
        return False
    since = thread.filed_at if thread.group else thread.joined_at
    return thread.heard in {"open", "acknowledged"} and now - since >= rule.escalate_after_s


def _escalation(
    belief: Belief, rules: NoticeRules, rule: DestinationRule, incident_id: str, now: float
) -> Iterator[Due]:
    """Yield the page of who is next, once: not where the incident is known already, nor where it was not taken."""
    to, incident = rule.escalate_to, belief.incidents.get(incident_id)
    if not to or incident is None or incident.acknowledged_at or rules.named(PAGE, to) is None:
        return
    if belief.notices.filed(incident_id, PAGE, to) is not None:
        return
    trouble = belief.notices.owed.get(about(PAGE, to, incident_id))
    if trouble is not None and (trouble.given_up or now < trouble.retry_at):
        return
    failures = trouble.failures if trouble is not None else 0
    key = escalation_key(incident_id, rule.name, to)
    yield Due(Act.ESCALATE, PAGE, to, incident_id, key, escalates=rule.name, failures=failures)


def escalation_key(incident_id: str, unanswered: str, to: str) -> str:
    """Return the key of the page that somebody else gets."""
    return f"{incident_id}/{PAGE}/{unanswered}/escalated/{to}"
