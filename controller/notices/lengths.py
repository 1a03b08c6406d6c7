"""One notice in the lengths that people get it in: a line for a lock screen, a chat message, the whole. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from controller.adapters import Notice
from controller.notices.wording import cut, lines_within, one_line

MAX_LINE = 500
MAX_CHAT = 1_800
"""Characters of a chat message. Source: our choice; Discord, the narrowest of the well-known, takes 2,000, and more is
read by nobody at 3 a.m."""

MAX_FULL = 12_000
"""Characters of the whole. Source: our choice; Opsgenie takes 15,000, the narrowest of those that get it."""

CHAT_LINES = ("What", "Where", "Impact", "Next")
"""What of the whole a chat message has, in this order, besides the first evidence."""

LINK_WORDS: Mapping[str, str] = {
    "incident": "Incident",
    "acknowledge": "Acknowledge",
    "approve": "Approve",
    "stop": "Stop",
    "undo": "Undo",
    "runbook": "Runbook",
}


def summary(notice: Notice, limit: int) -> str:
    """Return where and what in one line: what a lock screen shows."""
    return one_line(notice.title, limit)


def full(notice: Notice, limit: int = MAX_FULL) -> str:
    """Return all of it; of an update, what is new comes first."""
    news = [f"News: {one_line(notice.news, MAX_LINE)}"] if notice.news else []
    return lines_within([*news, *(one_line(line, MAX_LINE) for line in notice.body.splitlines())], limit)


def chat(notice: Notice) -> str:
    """Return what fits a chat: what, where, the first evidence, what it costs, what comes next, and where to go."""
    labelled = _by_label(notice.body)
    said = [(label, labelled[label]) for label in CHAT_LINES if label in labelled]
    if "Seen" in labelled:
        said.insert(min(2, len(said)), ("Seen", labelled["Seen"]))
    lines = [f"{label}: {cut(text, MAX_LINE // 2)}" for label, text in said]
    return lines_within([*lines, *_where_to_go(notice)], MAX_CHAT)


def news(notice: Notice) -> str:
    """Return an update as a chat message: what is new, and where to go."""
    return lines_within([one_line(notice.news, MAX_LINE), *_where_to_go(notice)], MAX_CHAT)


def links_of(notice: Notice) -> dict[str, str]:
    """Return words → address of what a person can do or see, the incident's page first, each address once."""
    found = {**notice.links, "incident": notice.url} if notice.url else dict(notice.links)
    known = [name for name in LINK_WORDS if found.get(name)]
    said = {LINK_WORDS[name]: found[name] for name in known}
    return {words: address for words, address in said.items() if address.startswith(("http://", "https://"))}


def _where_to_go(notice: Notice) -> list[str]:
    return [f"{words}: {address}" for words, address in links_of(notice).items()]


def _by_label(body: str) -> dict[str, str]:
    """Return label → text of the first line that has it."""
    found: dict[str, str] = {}
    for line in body.splitlines():
        label, separator, text = line.partition(": ")
        if separator and len(label) <= 12:
            found.setdefault(label, one_line(text, MAX_LINE))
    return found
