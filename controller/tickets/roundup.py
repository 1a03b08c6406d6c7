"""Tickets in Roundup, by its REST interface.

A message is made first and then hung on an issue; both are looked for before. A ticket is found again by the message
id of its first message, a comment by that of its own: neither stands in a title or a text. Roundup refuses a change
with 412 when the issue changed since it was read.
Source: Roundup, "REST API for Roundup"; tried against 2.6.0 and its classic tracker.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from controller.adapters import Answer, Heard, Notice
from controller.errors import Permanent
from controller.notices.http import HttpClient
from controller.notices.secret import read_secret
from controller.notices.wording import one_line
from controller.sections.tickets.roundup import RoundupSection
from controller.tickets.document import Block, news_blocks, ticket_blocks, title_of, within
from controller.tickets.marks import Mark
from controller.tickets.markup import plain
from controller.tickets.talking import MAX_TEXT, MAX_TITLE, MAX_WORDS, MOST_BYTES, Talk, basic
from controller.tickets.ticketing import Ticketing
from controller.tickets.tracker import Ticket

PAGE = 100
"""So many issues are asked for at a time. Source: our choice; the address must not become too long."""

API = "/rest/data"


class _Linked(msgspec.Struct):
    id: str
    name: str = ""
    username: str = ""


class _Issue(msgspec.Struct):
    id: str
    title: str | None = None
    status: _Linked | None = None
    actor: _Linked | None = None
    messages: list[_Linked] = []


class _Issues(msgspec.Struct):
    collection: list[_Issue]


class _IssuesAnswer(msgspec.Struct):
    data: _Issues


class _Item(msgspec.Struct):
    id: str
    attributes: dict[str, Any]
    etag: str = msgspec.field(name="@etag", default="")


class _ItemAnswer(msgspec.Struct):
    data: _Item


class _Message(msgspec.Struct):
    id: str
    messageid: str | None = None


class _Messages(msgspec.Struct):
    collection: list[_Message]


class _MessagesAnswer(msgspec.Struct):
    data: _Messages


class _Made(msgspec.Struct):
    id: str


class _MadeAnswer(msgspec.Struct):
    data: _Made


@dataclass(frozen=True, slots=True)
class RoundupRules:
    """What of Roundup is this site's own.

    Attributes:
        assignees: team → user; `keywords`: team → keyword.
        closed: statuses in which nobody works on an issue any more.
    """

    user: str
    assignees: Mapping[str, str] = field(default_factory=dict)
    keywords: Mapping[str, str] = field(default_factory=dict)
    priorities: Mapping[str, str] = field(default_factory=dict)
    new_status: str = "unread"
    open_status: str = "in-progress"
    closed_status: str = "resolved"
    closed: frozenset[str] = frozenset({"resolved", "done-cbb"})


@dataclass(slots=True)
class Roundup:
    """Roundup. A ticket's reference is the issue's number."""

    talk: Talk
    rules: RoundupRules
    speaks_when_closed: bool = True
    _author: str = ""

    @property
    def receiver(self) -> str:
        """What it is called in messages."""
        return self.talk.receiver

    @property
    def mark_needs(self) -> str:
        """What has to hold so that a ticket gets its mark."""
        return "messages must keep their messageid"

    async def find(self, mark: Mark, _notice: Notice) -> Sequence[Ticket]:
        """Return every issue whose first message has the mark."""
        marks = await self._messages(mark.subject)
        issues = await self._issues("messages", marks) if marks else []
        return [self._ticket(issue, _marks_of(issue.messages, marks)) for issue in issues]

    async def create(self, notice: Notice, mark: Mark) -> str:
        """Make the message, unless it is there, and then the issue."""
        message = await self._message(mark.text, ticket_blocks(notice))
        issue: dict[str, Any] = {
            "title": title_of(notice, MAX_TITLE),
            "status": self.rules.new_status,
            "messages": [message],
            "priority": self.rules.priorities.get(notice.severity, ""),
            "assignedto": self.rules.assignees.get(notice.team, ""),
            "keyword": [keyword] if (keyword := self.rules.keywords.get(notice.team)) else [],
        }
        body = {name: value for name, value in issue.items() if value}
        made: _MadeAnswer = await self.talk.change("POST", f"{API}/issue", body, _MadeAnswer, what="issues to make")
        return made.data.id

    async def read(self, reference: str) -> Ticket | None:
        """Return an issue with the mark of its first message; its version is Roundup's ETag."""
        found = await self._item(reference)
        if found is None:
            return None
        issue = _issue_of(found)
        first = next(iter(issue.messages), None)
        marks = await self._messages("", first.id) if first else {}
        return self._ticket(issue, _marks_of(issue.messages, marks), found.etag)

    async def has_comment(self, reference: str, mark: str) -> bool:
        """Return whether a message with the mark hangs on the issue."""
        found, marked = await self._item(reference), await self._messages(mark)
        return found is not None and any(message.id in marked for message in _issue_of(found).messages)

    async def comment(self, ticket: Ticket, notice: Notice, mark: str) -> None:
        """Add a message. The status goes with it, since Roundup opens an issue again that gets a message alone."""
        message = await self._message(mark, news_blocks(notice))
        found = await self._item(ticket.reference)
        if found is None:
            raise Permanent(f"{self.receiver} has no issue {ticket.reference} any more")
        issue = _issue_of(found)
        change: dict[str, Any] = {"messages": [*(each.id for each in issue.messages), message]}
        if issue.status is not None:
            change["status"] = issue.status.id
        await self._put(ticket.reference, change, found.etag)

    async def reopen(self, ticket: Ticket) -> str:
        """Set the status of an open issue."""
        return await self._put(ticket.reference, {"status": self.rules.open_status}, ticket.version)

    async def finish(self, ticket: Ticket, _notice: Notice) -> str:
        """Set the status of a closed issue."""
        return await self._put(ticket.reference, {"status": self.rules.closed_status}, ticket.version)

    async def _put(self, reference: str, change: dict[str, Any], version: str) -> str:
        path, what = f"{API}/issue/{quote(reference, safe='')}", f"changes of issue {reference}"
        reply = await self.talk.ask("PUT", path, json=change, headers={"If-Match": version}, what=what)
        return one_line(reply.body.decode(errors="replace"), MAX_WORDS)

    async def look(self, references: Sequence[str]) -> Mapping[str, Answer]:
        """Return how each stands; why one was closed is asked for each one that is closed."""
        numbers = [reference for reference in references if reference.isascii() and reference.isdecimal()]
        found: dict[str, _Issue] = {}
        for start in range(0, len(numbers), PAGE):
            found |= {issue.id: issue for issue in await self._issues("id", numbers[start : start + PAGE])}
        return {reference: await self._answer(found.get(reference)) for reference in references}

    async def _answer(self, issue: _Issue | None) -> Answer:
        if issue is None:
            return Answer(Heard.GONE)
        if self._is_open(issue):
            return Answer(Heard.OPEN)
        by = issue.actor.username if issue.actor else ""
        return Answer(Heard.CLOSED, one_line(by, MAX_WORDS), await self._words(issue, by) if by else "")

    async def _words(self, issue: _Issue, by: str) -> str:
        """Return the last message if it is of whoever changed the issue last."""
        if not issue.messages:
            return ""
        path = f"{API}/msg/{issue.messages[-1].id}"
        query = {"@fields": "author,content", "@verbose": "3"}
        found = await self.talk.read_or_none(path, _ItemAnswer, query=query)
        message = found.data.attributes if found else {}
        author, content = message.get("author"), message.get("content")
        is_theirs = isinstance(author, dict) and author.get("username") == by
        return one_line(content, MAX_WORDS) if is_theirs and isinstance(content, str) else ""

    async def _message(self, mark: str, blocks: Sequence[Block]) -> str:
        """Return the message with a mark; make it unless it is there."""
        there = await self._messages(mark)
        if there:
            return next(iter(there))
        text = within(plain, blocks, MAX_TEXT)
        message = {"content": text, "messageid": f"<{mark}@fleetmend>", "author": await self._me()}
        made: _MadeAnswer = await self.talk.change("POST", f"{API}/msg", message, _MadeAnswer, what="messages to make")
        return made.data.id

    async def _me(self) -> str:
        """Return the number of our own user: Roundup's own detectors want a message to have an author."""
        if not self._author:
            found = await self.talk.read(f"{API}/user", _MessagesAnswer, query={"username:": self.rules.user})
            users = [user.id for user in found.data.collection]
            if len(users) != 1:
                raise Permanent(f"{self.receiver} does not show the user {self.rules.user!r} to itself")
            self._author = users[0]
        return self._author

    async def _messages(self, mark: str, number: str = "") -> dict[str, str]:
        """Return number → message id of the messages with a mark, or of one."""
        query = {"@fields": "messageid", **({"messageid": mark} if mark else {"id": number})}
        found = await self.talk.read(f"{API}/msg", _MessagesAnswer, query=query, what="messages to search")
        messages = {message.id: message.messageid or "" for message in found.data.collection}
        return {number: text for number, text in messages.items() if mark in text}

    async def _issues(self, by: str, numbers: Iterable[str]) -> list[_Issue]:
        asked = [("@fields", "title,status,actor,messages"), ("@verbose", "2"), ("@sort", "id")]
        query = urlencode([*asked, *((by, number) for number in numbers)])
        return (await self.talk.read(f"{API}/issue?{query}", _IssuesAnswer, what="issues to search")).data.collection

    async def _item(self, reference: str) -> _Item | None:
        query = {"@fields": "title,status,actor,messages", "@verbose": "2"}
        path = f"{API}/issue/{quote(reference, safe='')}"
        found = await self.talk.read_or_none(path, _ItemAnswer, query=query)
        return found.data if found else None

    def _ticket(self, issue: _Issue, mark: str, version: str = "") -> Ticket:
        url = f"{self.talk.client.url}/issue{issue.id}"
        state = issue.status.name if issue.status else ""
        return Ticket(issue.id, self._is_open(issue), mark, url, version, state)

    def _is_open(self, issue: _Issue) -> bool:
        return issue.status is None or issue.status.name not in self.rules.closed


def _issue_of(item: _Item) -> _Issue:
    try:
        return msgspec.convert({"id": item.id, **item.attributes}, _Issue)
    except msgspec.ValidationError as error:
        raise Permanent(f"Roundup answered something else than an issue: {error}") from error


def _marks_of(messages: Sequence[_Linked], marks: Mapping[str, str]) -> str:
    return " ".join(marks[message.id] for message in messages if message.id in marks)


def from_section(section: RoundupSection, cell: str) -> Ticketing:
    """Return the adapter of a table of the settings.

    Raises:
        SettingsError: its secret cannot be read.
    """
    password = read_secret(section.password_file, "password_file")
    rules = RoundupRules(
        user=section.user,
        assignees=section.assignees,
        keywords=section.keywords,
        priorities=dict(section.priorities.items()),
        new_status=section.new_status,
        open_status=section.open_status,
        closed_status=section.closed_status,
        closed=frozenset({*section.closed, section.closed_status}),
    )
    return Ticketing(roundup_at(section.url, password, rules, section.timeout_s), cell, section.called)


def roundup_at(url: str, password: str, rules: RoundupRules, timeout_s: float) -> Roundup:
    """Return a Roundup. Source of the headers: "REST API for Roundup", "Preventing CSRF attacks"."""
    parts = urlsplit(url)
    origin = f"{parts.scheme}://{parts.netloc}"
    headers = {"X-Requested-With": "fleetmend", "Origin": origin, "Referer": f"{url}/", "Accept": "application/json"}
    client = HttpClient(
        "Roundup", url, {**headers, **basic(rules.user, password)}, timeout_s=timeout_s, most_bytes=MOST_BYTES
    )
    return Roundup(Talk(client, "user and password_file"), rules)
