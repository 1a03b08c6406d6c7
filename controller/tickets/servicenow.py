"""Tickets in ServiceNow, by its Table API.

A ticket carries its mark in `correlation_id`, a comment at the end of a work note. ServiceNow leaves out a condition
of a query that it does not know and a field that the account may not write, and answers 200 all the same: what it
returns is held against what was asked.
Source: ServiceNow, "Table API", "Operators available for filters and queries"; not tried against a server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

import msgspec

from controller.adapters import Answer, Heard, Notice
from controller.errors import Permanent
from controller.notices.http import HttpClient
from controller.notices.secret import read_secret
from controller.notices.wording import one_line
from controller.sections.tickets.servicenow import ServiceNowSection
from controller.tickets.document import facts_of, news_blocks, ticket_blocks, title_of, within
from controller.tickets.marks import Mark
from controller.tickets.markup import journal
from controller.tickets.talking import MAX_WORDS, MOST_BYTES, Talk, basic
from controller.tickets.ticketing import Ticketing
from controller.tickets.tracker import Ticket

MAX_SHORT = 160
MAX_TEXT = 4_000
MAX_NOTES = 4_000
MAX_FIELD = 255
"""Source: dictionary of the table `task` as it is delivered: short_description has 160 characters, description and
close_notes 4,000. A text for a column of the site's own is cut by ServiceNow to what the column takes."""

PAGE = 100
"""So many tickets are asked for at a time. Source: our choice; the address must not become too long."""

FIELDS = "sys_id,number,state,correlation_id,closed_by,resolved_by,close_notes,close_code"


class _Value(msgspec.Struct):
    value: str | None = None
    display_value: str | None = None

    @property
    def raw(self) -> str:
        """What is stored."""
        return self.value or ""

    @property
    def shown(self) -> str:
        """What people see."""
        return self.display_value or ""


class _Record(msgspec.Struct):
    sys_id: _Value
    number: _Value
    state: _Value
    correlation_id: _Value = msgspec.field(default_factory=_Value)
    closed_by: _Value = msgspec.field(default_factory=_Value)
    resolved_by: _Value = msgspec.field(default_factory=_Value)
    close_notes: _Value = msgspec.field(default_factory=_Value)
    close_code: _Value = msgspec.field(default_factory=_Value)


class _Records(msgspec.Struct):
    result: list[_Record]


class _Made(msgspec.Struct):
    number: str


class _MadeAnswer(msgspec.Struct):
    result: _Made


class _Journals(msgspec.Struct):
    work_notes: str = ""
    comments: str = ""


class _JournalsAnswer(msgspec.Struct):
    result: _Journals


@dataclass(frozen=True, slots=True)
class ServiceNowRules:
    """What of ServiceNow is this site's own.

    Attributes:
        assignment_groups: team → sys_id of a group.
        impacts, urgencies: severity → number, from which ServiceNow makes the priority.
        always: field → value that every ticket gets, e.g. category, caller_id.
        closed: states in which nobody works on a ticket any more.
    """

    table: str = "incident"
    assignment_group: str = ""
    assignment_groups: Mapping[str, str] = field(default_factory=dict)
    impacts: Mapping[str, str] = field(default_factory=dict)
    urgencies: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)
    always: Mapping[str, str] = field(default_factory=dict)
    open_state: str = "2"
    closed_state: str = "6"
    closed: frozenset[str] = frozenset({"6", "7", "8"})
    close_code: str = "Solution provided"


@dataclass(slots=True)
class ServiceNow:
    """ServiceNow. A ticket's reference is its number; its version is its sys_id, by which it is changed."""

    talk: Talk
    rules: ServiceNowRules
    speaks_when_closed: bool = False

    @property
    def receiver(self) -> str:
        """What it is called in messages."""
        return self.talk.receiver

    @property
    def mark_needs(self) -> str:
        """What has to hold so that a ticket gets its mark."""
        return "the account must be allowed to write correlation_id"

    async def find(self, mark: Mark, _notice: Notice) -> Sequence[Ticket]:
        """Return the tickets whose correlation_id begins with the mark of the subject, newest first, a page of them."""
        found = await self._query(f"correlation_idSTARTSWITH{mark.subject}^ORDERBYDESCsys_created_on")
        return [self._ticket(each) for each in reversed(found) if each.correlation_id.raw.startswith(mark.subject)]

    async def create(self, notice: Notice, mark: Mark) -> str:
        """Make it."""
        body, what = self._new(notice, mark), f"table {self.rules.table}"
        made: _MadeAnswer = await self.talk.change("POST", self._path(), body, _MadeAnswer, what=what)
        return made.result.number

    def _new(self, notice: Notice, mark: Mark) -> dict[str, str]:
        facts = facts_of(notice)
        said = {
            "short_description": title_of(notice, MAX_SHORT),
            "description": within(journal, ticket_blocks(notice), MAX_TEXT),
            "correlation_id": mark.text,
            "correlation_display": "fleetmend",
            "assignment_group": self.rules.assignment_groups.get(notice.team, self.rules.assignment_group),
            "impact": self.rules.impacts.get(notice.severity, ""),
            "urgency": self.rules.urgencies.get(notice.severity, ""),
        }
        mapped = {theirs: facts[name][:MAX_FIELD] for name, theirs in self.rules.fields.items() if name in facts}
        return {name: value for name, value in {**self.rules.always, **mapped, **said}.items() if value}

    async def read(self, reference: str) -> Ticket | None:
        """Return a ticket by its number."""
        found = await self._query(f"number={reference}")
        return next((self._ticket(each) for each in found if each.number.raw == reference), None)

    async def has_comment(self, reference: str, mark: str) -> bool:
        """Return whether a note has the mark."""
        ticket = await self.read(reference)
        return ticket is not None and mark in await self._notes(ticket.version)

    async def comment(self, ticket: Ticket, notice: Notice, mark: str) -> None:
        """Add a work note, which the caller of a ticket does not see."""
        text = within(journal, news_blocks(notice), MAX_NOTES - len(mark) - 3)
        await self._patch(ticket, {"work_notes": f"{text}\n[{mark}]"})

    async def reopen(self, ticket: Ticket) -> str:
        """Set the state of an open ticket."""
        return await self._patch(ticket, {"state": self.rules.open_state})

    async def finish(self, ticket: Ticket, notice: Notice) -> str:
        """Set the state of a closed ticket, with what its form demands."""
        notes = within(journal, news_blocks(notice), MAX_NOTES)
        close = {"state": self.rules.closed_state, "close_code": self.rules.close_code, "close_notes": notes}
        return await self._patch(ticket, {name: value for name, value in close.items() if value})

    async def _patch(self, ticket: Ticket, change: dict[str, str]) -> str:
        path = f"{self._path()}/{quote(ticket.version, safe='')}"
        await self.talk.change("PATCH", path, change, what=f"changes of {ticket.reference}")
        return ""

    async def look(self, references: Sequence[str]) -> Mapping[str, Answer]:
        """Return how each stands, a hundred a request."""
        found: dict[str, _Record] = {}
        for start in range(0, len(references), PAGE):
            records = await self._query(f"numberIN{','.join(references[start : start + PAGE])}")
            found |= {record.number.raw: record for record in records}
        return {reference: self._answer(found.get(reference)) for reference in references}

    def _answer(self, record: _Record | None) -> Answer:
        if record is None:
            return Answer(Heard.GONE)
        if record.state.raw not in self.rules.closed:
            return Answer(Heard.OPEN)
        by = record.closed_by.shown or record.resolved_by.shown
        said = ": ".join(filter(None, (record.close_code.shown, record.close_notes.shown)))
        return Answer(Heard.CLOSED, one_line(by, MAX_WORDS), one_line(said, MAX_WORDS))

    async def _query(self, query: str) -> list[_Record]:
        """Return what a query finds. Text of others must not end its condition: `^` begins another."""
        if "^" in query.removesuffix("^ORDERBYDESCsys_created_on"):
            raise Permanent(f"{self.receiver}: a reference must have no '^'")
        asked = {
            "sysparm_query": query,
            "sysparm_fields": FIELDS,
            "sysparm_display_value": "all",
            "sysparm_exclude_reference_link": "true",
            "sysparm_limit": str(PAGE),
        }
        return (await self.talk.read(self._path(), _Records, query=asked, what=f"table {self.rules.table}")).result

    async def _notes(self, sys_id: str) -> str:
        """Return every note of a ticket as one text, newest first, as ServiceNow displays them."""
        query = {"sysparm_fields": "work_notes,comments", "sysparm_display_value": "true"}
        path = f"{self._path()}/{quote(sys_id, safe='')}"
        found = (await self.talk.read(path, _JournalsAnswer, query=query, what="notes of a ticket")).result
        return f"{found.work_notes}\n{found.comments}"

    def _path(self) -> str:
        return f"/api/now/table/{self.rules.table}"

    def _ticket(self, record: _Record) -> Ticket:
        sys_id, state = record.sys_id.raw, record.state.raw
        target = quote(f"{self.rules.table}.do?sys_id={sys_id}", safe="")
        url = f"{self.talk.client.url}/nav_to.do?uri={target}"
        is_open = state not in self.rules.closed
        return Ticket(record.number.raw, is_open, record.correlation_id.raw, url, sys_id, record.state.shown)


def from_section(section: ServiceNowSection, cell: str) -> Ticketing:
    """Return the adapter of a table of the settings.

    Raises:
        SettingsError: its secret cannot be read.
    """
    headers = {"Accept": "application/json"}
    client = HttpClient("ServiceNow", section.url, headers, timeout_s=section.timeout_s, most_bytes=MOST_BYTES)
    if section.token_file is not None:
        client.headers = {**headers, "Authorization": f"Bearer {read_secret(section.token_file, 'token_file')}"}
    elif section.password_file is not None:
        client.headers = {**headers, **basic(section.user, read_secret(section.password_file, "password_file"))}
    account = "token_file" if section.token_file else "user and password_file"
    return Ticketing(ServiceNow(Talk(client, account), _rules(section)), cell, section.called)


def _rules(section: ServiceNowSection) -> ServiceNowRules:
    return ServiceNowRules(
        table=section.table,
        assignment_group=section.assignment_group,
        assignment_groups=section.assignment_groups,
        impacts=dict(section.impacts.items()),
        urgencies=dict(section.urgencies.items()),
        fields=section.fields,
        always=section.always,
        open_state=section.open_state,
        closed_state=section.closed_state,
        closed=frozenset({*section.closed, section.closed_state}),
        close_code=section.close_code,
    )
