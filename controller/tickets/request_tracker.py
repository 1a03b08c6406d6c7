"""Tickets in Request Tracker 5, by REST 2.0.

RT answers 200 with a sentence where it did not do what it was asked (a status that the lifecycle lacks, a right that
is missing), and leaves out without a word a custom field that its queue lacks: what counts is what it shows afterwards.
Source: RT 5.0, RT::REST2; tried against 5.0.3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import msgspec

from controller.adapters import Answer, Heard, Notice
from controller.errors import Permanent
from controller.notices.http import HttpClient
from controller.notices.secret import read_secret
from controller.notices.wording import one_line
from controller.sections.tickets.request_tracker import RequestTrackerSection
from controller.tickets.document import facts_of, news_blocks, ticket_blocks, title_of, within, within_bytes
from controller.tickets.marks import Mark
from controller.tickets.markup import plain
from controller.tickets.talking import MAX_TEXT, MAX_WORDS, MOST_BYTES, Talk, basic
from controller.tickets.ticketing import Ticketing
from controller.tickets.tracker import Ticket

MAX_SUBJECT = 200
"""Source: RT 5.0, etc/schema.*: Tickets.Subject has 200, which RT counts in bytes of UTF-8."""

MAX_FIELD = 255
"""Source: RT 5.0, etc/schema.*: ObjectCustomFieldValues.Content has 255, in bytes too; longer ones are not searched."""

PAGE = 100
"""Source: RT::REST2, "Paging": per_page is at most 100."""

API = "/REST/2.0"
FIELDS = "Subject,Status,CustomFields,LastUpdatedBy"


class _Named(msgspec.Struct):
    id: str | int = ""


class _Value(msgspec.Struct):
    name: str
    values: list[Any] = []


class _Ticket(msgspec.Struct, kw_only=True):
    id: str | int
    Subject: str
    Status: str
    CustomFields: list[_Value] | dict[str, Any] = []
    LastUpdatedBy: _Named = msgspec.field(default_factory=_Named)


class _Tickets(msgspec.Struct):
    items: list[_Ticket]


class _Attachment(msgspec.Struct, kw_only=True):
    Subject: str | None = None
    Content: str | None = None
    Creator: _Named = msgspec.field(default_factory=_Named)


class _Attachments(msgspec.Struct):
    items: list[_Attachment]


class _Made(msgspec.Struct):
    id: str | int


@dataclass(frozen=True, slots=True)
class RtRules:
    """What of RT is this site's own.

    Attributes:
        queues: team → queue.
        mark_field: custom field that holds the mark; empty: it stands in the subject.
        fields: fact → custom field.
        closed: statuses in which nobody works on a ticket any more.
    """

    queue: str
    queues: Mapping[str, str] = field(default_factory=dict)
    priorities: Mapping[str, int] = field(default_factory=dict)
    mark_field: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    open_status: str = "open"
    closed_status: str = "resolved"
    closed: frozenset[str] = frozenset({"resolved", "rejected", "deleted"})


@dataclass(slots=True)
class RequestTracker:
    """Request Tracker. A ticket's reference is its number."""

    talk: Talk
    rules: RtRules
    speaks_when_closed: bool = True

    @property
    def receiver(self) -> str:
        """What it is called in messages."""
        return self.talk.receiver

    @property
    def mark_needs(self) -> str:
        """What has to hold so that a ticket gets its mark."""
        name = self.rules.mark_field
        return (
            f"mark_field = {name!r} must be a custom field of its queue" if name else "the subject must stay as it is"
        )

    async def find(self, mark: Mark, _notice: Notice) -> Sequence[Ticket]:
        """Return every ticket with the mark, whatever its queue: people move them."""
        place = f"'CF.{{{self.rules.mark_field}}}'" if self.rules.mark_field else "Subject"
        found = await self._search(f"{place} LIKE '{mark.subject}'")
        return [self._ticket(each) for each in found]

    async def create(self, notice: Notice, mark: Mark) -> str:
        """Make it, with its text as the first entry."""
        queue = self.rules.queues.get(notice.team, self.rules.queue)
        made = await self.talk.change(
            "POST", f"{API}/ticket", self._new(notice, mark, queue), _Made, what=f"queue {queue}"
        )
        return str(made.id)

    def _new(self, notice: Notice, mark: Mark, queue: str) -> dict[str, Any]:
        facts = facts_of(notice)
        fields = {
            ours: within_bytes(facts[name], MAX_FIELD) for name, ours in self.rules.fields.items() if name in facts
        }
        in_subject = "" if self.rules.mark_field else f" [{mark.text}]"
        title = within_bytes(title_of(notice, MAX_SUBJECT), MAX_SUBJECT - len(in_subject))
        if self.rules.mark_field:
            fields[self.rules.mark_field] = mark.text
        ticket = {
            "Queue": queue,
            "Subject": f"{title}{in_subject}",
            "Content": within(plain, ticket_blocks(notice), MAX_TEXT),
            "ContentType": "text/plain",
            "Priority": self.rules.priorities.get(notice.severity),
            "CustomFields": fields,
        }
        return {name: value for name, value in ticket.items() if value or value == 0}

    async def read(self, reference: str) -> Ticket | None:
        """Return a ticket; its version is RT's ETag."""
        found = await self.talk.read_or_none(f"{API}/ticket/{quote(reference, safe='')}", _Ticket)
        return None if found is None or found.Status == "deleted" else self._ticket(found)

    async def has_comment(self, reference: str, mark: str) -> bool:
        """Return whether an entry of the ticket has the mark as its subject."""
        return any(mark in (entry.Subject or "") for entry in await self._entries(reference))

    async def comment(self, ticket: Ticket, notice: Notice, mark: str) -> None:
        """Add a comment, which is for the staff alone and tells no requestor."""
        text = within(plain, news_blocks(notice), MAX_TEXT)
        body = {"Subject": f"[{mark}]", "Content": text, "ContentType": "text/plain"}
        what = f"comments on ticket {ticket.reference}"
        await self.talk.change("POST", f"{API}/ticket/{ticket.reference}/comment", body, what=what)

    async def reopen(self, ticket: Ticket) -> str:
        """Set the status of an open ticket."""
        return await self._set_status(ticket, self.rules.open_status)

    async def finish(self, ticket: Ticket, _notice: Notice) -> str:
        """Set the status of a closed ticket."""
        return await self._set_status(ticket, self.rules.closed_status)

    async def _set_status(self, ticket: Ticket, status: str) -> str:
        path, what = f"{API}/ticket/{ticket.reference}", f"changes of ticket {ticket.reference}"
        said = await self.talk.change("PUT", path, {"Status": status}, what=what)
        return one_line(" ".join(map(str, said)) if isinstance(said, list) else str(said), MAX_WORDS)

    async def look(self, references: Sequence[str]) -> Mapping[str, Answer]:
        """Return how each stands; who closed one and why is asked for each one that is closed."""
        numbers = [reference for reference in references if reference.isascii() and reference.isdecimal()]
        found: dict[str, _Ticket] = {}
        for start in range(0, len(numbers), PAGE):
            query = " OR ".join(f"id = {number}" for number in numbers[start : start + PAGE])
            found |= {str(ticket.id): ticket for ticket in await self._search(query)}
        return {reference: await self._answer(found.get(reference)) for reference in references}

    async def _answer(self, ticket: _Ticket | None) -> Answer:
        if ticket is None or ticket.Status == "deleted":
            return Answer(Heard.GONE)
        if ticket.Status not in self.rules.closed:
            return Answer(Heard.OPEN)
        by = str(ticket.LastUpdatedBy.id)
        theirs = [entry for entry in await self._entries(str(ticket.id)) if str(entry.Creator.id) == by]
        words = theirs[-1].Content if theirs else ""
        return Answer(Heard.CLOSED, one_line(by, MAX_WORDS), one_line(words or "", MAX_WORDS))

    async def _search(self, query: str) -> list[_Ticket]:
        asked = {"query": query, "fields": FIELDS, "per_page": str(PAGE), "orderby": "id", "order": "ASC"}
        return (await self.talk.read(f"{API}/tickets", _Tickets, query=asked, what="search for tickets")).items

    async def _entries(self, reference: str) -> list[_Attachment]:
        """Return what was written on a ticket, oldest first."""
        entries: list[_Attachment] = []
        for page in range(1, 101):
            asked = {"fields": "Subject,Content,Creator", "per_page": str(PAGE), "page": str(page)}
            path = f"{API}/ticket/{quote(reference, safe='')}/attachments"
            found = (await self.talk.read(path, _Attachments, query=asked, what=f"ticket {reference}")).items
            entries += found
            if len(found) < PAGE:
                return entries
        raise Permanent(f"{self.receiver}: ticket {reference} has more entries than are read through")

    def _ticket(self, ticket: _Ticket) -> Ticket:
        reference = str(ticket.id)
        values = ticket.CustomFields if isinstance(ticket.CustomFields, list) else []
        ours = [str(value) for each in values if each.name == self.rules.mark_field for value in each.values]
        mark = " ".join(ours) if self.rules.mark_field else ticket.Subject
        url = f"{self.talk.client.url}/Ticket/Display.html?id={reference}"
        return Ticket(reference, ticket.Status not in self.rules.closed, mark, url, state=ticket.Status)


def from_section(section: RequestTrackerSection, cell: str) -> Ticketing:
    """Return the adapter of a table of the settings.

    Raises:
        SettingsError: its secret cannot be read.
    """
    client = HttpClient("Request Tracker", section.url, timeout_s=section.timeout_s, most_bytes=MOST_BYTES)
    if section.token_file is not None:
        client.headers = {"Authorization": f"token {read_secret(section.token_file, 'token_file')}"}
    elif section.password_file is not None:
        client.headers = basic(section.user, read_secret(section.password_file, "password_file"))
    account = "token_file" if section.token_file else "user and password_file"
    rules = RtRules(
        queue=section.queue,
        queues=section.queues,
        priorities=dict(section.priorities.items()),
        mark_field=section.mark_field,
        fields=section.fields,
        open_status=section.open_status,
        closed_status=section.closed_status,
        closed=frozenset({*section.closed, section.closed_status}),
    )
    return Ticketing(RequestTracker(Talk(client, account), rules), cell, section.called)
