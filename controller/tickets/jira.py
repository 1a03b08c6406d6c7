"""Tickets in Jira: Cloud by REST API v3, Data Center by v2.

A ticket carries its marks as labels, a comment at its end. A workflow is gone through by the transitions that it has
at that moment: their names come from the settings, and an error lists those that there are.
Source: Atlassian, "Jira Cloud platform REST API v3" (issues, search and reconcile, bulk fetch, comments, transitions),
"Jira Data Center REST API" (v2); not tried against a server. The index of Jira Cloud that is searched lags behind by
some seconds: what was made and not answered for is looked for only after `INDEXED_AFTER_S`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import msgspec

from controller.adapters import Answer, Heard, Notice
from controller.errors import Permanent, Retryable
from controller.notices.http import HttpClient
from controller.notices.secret import read_secret
from controller.notices.wording import one_line
from controller.sections.tickets.jira import JiraSection
from controller.tickets.document import facts_of, news_blocks, ticket_blocks, title_of
from controller.tickets.jira_answers import (
    DONE,
    FIELDS,
    Comment,
    Comments,
    Issue,
    Issues,
    Made,
    Told,
    Transition,
    Transitions,
)
from controller.tickets.jira_dialects import PAGE, Cloud, DataCenter, Dialect, quoted
from controller.tickets.marks import Mark
from controller.tickets.talking import MAX_WORDS, MOST_BYTES, Talk, basic
from controller.tickets.ticketing import Ticketing
from controller.tickets.tracker import Ticket

MAX_SUMMARY = 255
MAX_FIELD = 255
"""Source: Jira takes 255 characters of a summary or a text field."""

MOST_PAGES = 100

INDEXED_AFTER_S = 30.0
"""So long after a create that nobody answered for its ticket is looked for. Source: our choice; Atlassian names
seconds for the lag of the index."""


@dataclass(frozen=True, slots=True)
class JiraRules:
    """What of Jira is this site's own.

    Attributes:
        projects: team → project's key; `components`: team → component.
        fields: fact → id of a field, e.g. `customfield_10042`.
        close: name of the transition that ends the work, or of the status that it leads to; `reopen` likewise.
    """

    project: str
    projects: Mapping[str, str] = field(default_factory=dict)
    issue_type: str = "Task"
    components: Mapping[str, str] = field(default_factory=dict)
    priorities: Mapping[str, str] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    fields: Mapping[str, str] = field(default_factory=dict)
    close: str = "Done"
    reopen: str = "To Do"


@dataclass(slots=True)
class Jira:
    """Jira. A ticket's reference is its key."""

    talk: Talk
    rules: JiraRules
    dialect: Dialect
    speaks_when_closed: bool = False

    @property
    def receiver(self) -> str:
        """What it is called in messages."""
        return self.talk.receiver

    @property
    def mark_needs(self) -> str:
        """What has to hold so that a ticket gets its mark."""
        return "labels must be on the project's screen for new issues"

    async def find(self, mark: Mark, _notice: Notice) -> Sequence[Ticket]:
        """Return every issue with the label, whatever its project: people move them."""
        jql = f"labels = {quoted(mark.subject)} ORDER BY created ASC"
        body = {"jql": jql, "fields": FIELDS, "maxResults": PAGE}
        path = f"{self.dialect.api}{self.dialect.search}"
        found: Issues = await self.talk.change("POST", path, body, Issues, what="search for issues")
        return [self._ticket(issue) for issue in found.issues]

    async def create(self, notice: Notice, mark: Mark) -> str:
        """Make it."""
        project = self.rules.projects.get(notice.team, self.rules.project)
        body = {"fields": self._new(notice, mark, project)}
        path = f"{self.dialect.api}/issue"
        try:
            made: Made = await self.talk.change("POST", path, body, Made, what=f"project {project}")
        except Retryable as error:
            raise Retryable(str(error), after_s=max(error.after_s, INDEXED_AFTER_S)) from error
        return made.key

    def _new(self, notice: Notice, mark: Mark, project: str) -> dict[str, Any]:
        facts, component = facts_of(notice), self.rules.components.get(notice.team)
        priority = self.rules.priorities.get(notice.severity)
        return {
            "project": {"key": project},
            "issuetype": {"name": self.rules.issue_type},
            "summary": title_of(notice, MAX_SUMMARY),
            "description": self.dialect.text(ticket_blocks(notice)),
            "labels": [*self.rules.labels, mark.subject, mark.text],
            **({"priority": {"name": priority}} if priority else {}),
            **({"components": [{"name": component}]} if component else {}),
            **{theirs: facts[name][:MAX_FIELD] for name, theirs in self.rules.fields.items() if name in facts},
        }

    async def read(self, reference: str) -> Ticket | None:
        """Return an issue, also one that was moved and has another key now."""
        found = await self._issue(reference)
        return self._ticket(found) if found else None

    async def has_comment(self, reference: str, mark: str) -> bool:
        """Return whether a comment has the mark."""
        return any(mark.encode() in bytes(comment.body) for comment in await self._comments(reference))

    async def comment(self, ticket: Ticket, notice: Notice, mark: str) -> None:
        """Add a comment."""
        body = {"body": self.dialect.text(news_blocks(notice), mark)}
        path = f"{self._path(ticket.reference)}/comment"
        await self.talk.change("POST", path, body, what=f"comments on {ticket.reference}")

    async def reopen(self, ticket: Ticket) -> str:
        """Take the transition that opens it again."""
        return await self._go(ticket, self.rules.reopen, "reopen")

    async def finish(self, ticket: Ticket, _notice: Notice) -> str:
        """Take the transition that ends the work."""
        return await self._go(ticket, self.rules.close, "close")

    async def _go(self, ticket: Ticket, name: str, key: str) -> str:
        path = f"{self._path(ticket.reference)}/transitions"
        possible = (await self.talk.read(path, Transitions, what=f"transitions of {ticket.reference}")).transitions
        chosen = next((each for each in possible if name.casefold() in _names(each)), None)
        if chosen is None:
            there = ", ".join(f"{each.name!r} (to {each.to.name!r})" for each in possible) or "none"
            raise Permanent(
                f"{self.receiver}: {ticket.reference} is {ticket.state!r} and has no transition {name!r} as {key} "
                f"says; there are: {there}"
            )
        body, what = {"transition": {"id": chosen.id}}, f"transitions of {ticket.reference}"
        await self.talk.ask("POST", path, json=body, what=what)
        return f"transition {chosen.name!r} was taken"

    async def look(self, references: Sequence[str]) -> Mapping[str, Answer]:
        """Return how each stands, a hundred a request; who closed one and why is asked for each one that is closed."""
        found: dict[str, Issue] = {}
        for start in range(0, len(references), PAGE):
            issues = await self.dialect.several(self.talk, references[start : start + PAGE])
            found |= {issue.key: issue for issue in issues}
        return {each: await self._answer(found.get(each) or await self._issue(each)) for each in references}

    async def _answer(self, issue: Issue | None) -> Answer:
        if issue is None:
            return Answer(Heard.GONE)
        if issue.fields.status.category.key != DONE:
            return Answer(Heard.OPEN)
        by = await self._closed_by(issue.key)
        theirs = [each for each in await self._comments(issue.key) if by and each.author.name == by]
        resolution = issue.fields.resolution.name if issue.fields.resolution else ""
        said = ": ".join(filter(None, (resolution, _plain(theirs[-1].body) if theirs else "")))
        return Answer(Heard.CLOSED, one_line(by, MAX_WORDS), one_line(said, MAX_WORDS))

    async def _closed_by(self, key: str) -> str:
        """Return who changed the status last. Jira Cloud tells changes newest first, Data Center oldest first."""
        query = {"expand": "changelog", "fields": "status"}
        told = await self.talk.read(self._path(key), Told, query=query, what=f"issue {key}")
        moves = [each for each in told.changelog.histories if any(item.field == "status" for item in each.items)]
        return max(moves, key=lambda each: each.created).author.name if moves else ""

    async def _issue(self, reference: str) -> Issue | None:
        return await self.talk.read_or_none(self._path(reference), Issue, query={"fields": ",".join(FIELDS)})

    async def _comments(self, reference: str) -> list[Comment]:
        """Return the comments, oldest first."""
        comments: list[Comment] = []
        for page in range(MOST_PAGES):
            query = {"startAt": str(page * PAGE), "maxResults": str(PAGE), "orderBy": "created"}
            path = f"{self._path(reference)}/comment"
            found = (await self.talk.read(path, Comments, query=query, what=f"issue {reference}")).comments
            comments += found
            if len(found) < PAGE:
                return comments
        raise Permanent(f"{self.receiver}: {reference} has more comments than are read through")

    def _path(self, reference: str) -> str:
        return f"{self.dialect.api}/issue/{quote(reference, safe='')}"

    def _ticket(self, issue: Issue) -> Ticket:
        status = issue.fields.status
        url = f"{self.talk.client.url}/browse/{issue.key}"
        return Ticket(issue.key, status.category.key != DONE, " ".join(issue.fields.labels), url, state=status.name)


def _names(transition: Transition) -> set[str]:
    return {transition.name.casefold(), transition.to.name.casefold()}


def _plain(body: msgspec.Raw) -> str:
    """Return what a comment says, whether it is a text or a document."""
    return " ".join(_texts(msgspec.json.decode(body)))


def _texts(node: Any) -> list[str]:
    """Return the texts of a document in their order, without recursion: others wrote it."""
    waiting, texts = [node], []
    while waiting:
        match waiting.pop():
            case str() as text:
                texts.append(text)
            case {"type": "text", "text": str() as text}:
                texts.append(text)
            case {"content": list() as inner}:
                waiting += reversed(inner)
    return texts


def from_section(section: JiraSection, cell: str) -> Ticketing:
    """Return the adapter of a table of the settings.

    Raises:
        SettingsError: its secret cannot be read.
    """
    token = read_secret(section.token_file, "token_file")
    headers = basic(section.user, token) if section.user else {"Authorization": f"Bearer {token}"}
    client = HttpClient("Jira", section.url, headers, timeout_s=section.timeout_s, most_bytes=MOST_BYTES)
    rules = JiraRules(
        project=section.project,
        projects=section.projects,
        issue_type=section.issue_type,
        components=section.components,
        priorities=dict(section.priorities.items()),
        labels=tuple(section.labels),
        fields=section.fields,
        close=section.close,
        reopen=section.reopen,
    )
    dialect = Cloud() if section.deployment == "cloud" else DataCenter()
    return Ticketing(Jira(Talk(client, "user and token_file"), rules, dialect), cell, section.called)
