"""Tickets as issues of GitLab, by its REST API v4.

Tickets are found by listing what has one label and reading the mark in the description: what has just been made is
listed at once, while a search may lag behind.
Source: GitLab, "Issues API", "Notes API", "REST API" (pagination, encoded paths); not tried against a server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

import msgspec

from controller.adapters import Answer, Heard, Notice
from controller.errors import Permanent
from controller.notices.http import HttpClient
from controller.notices.secret import read_secret
from controller.notices.wording import one_line
from controller.sections.tickets.gitlab import GitLabSection
from controller.tickets.document import Block, news_blocks, ticket_blocks, title_of, within
from controller.tickets.labels import Labels, labels_of
from controller.tickets.marks import Mark
from controller.tickets.markup import hidden, markdown
from controller.tickets.talking import MAX_TEXT, MAX_WORDS, MOST_BYTES, Talk
from controller.tickets.ticketing import Ticketing
from controller.tickets.tracker import Ticket

MAX_TITLE = 255
"""Source: GitLab, "Issues API": a title has at most 255 characters. A description may have 1,048,576."""

PAGE = 100
"""Source: GitLab, "REST API", "Pagination": per_page is at most 100."""

MOST_PAGES = 100


class _User(msgspec.Struct):
    username: str = ""


class _Issue(msgspec.Struct):
    iid: int
    state: str
    description: str | None = None
    web_url: str = ""
    labels: list[str] = []
    closed_by: _User | None = None


class _Note(msgspec.Struct):
    body: str
    author: _User = msgspec.field(default_factory=_User)
    system: bool = False


@dataclass(frozen=True, slots=True)
class GitLabRules:
    """What of GitLab is this site's own.

    Attributes:
        projects: team → project.
    """

    project: str
    labels: Labels
    projects: Mapping[str, str] = field(default_factory=dict)
    confidential: bool = False

    def project_of(self, team: str) -> str:
        """Return where a team's tickets are made."""
        return self.projects.get(team, self.project)


@dataclass(slots=True)
class GitLab:
    """GitLab. A ticket's reference is `group/project#number`."""

    talk: Talk
    rules: GitLabRules
    speaks_when_closed: bool = True

    @property
    def receiver(self) -> str:
        """What it is called in messages."""
        return self.talk.receiver

    @property
    def mark_needs(self) -> str:
        """What has to hold so that a ticket gets its mark."""
        label = self.rules.labels.found_by
        return f"the account of token_file needs the role Reporter (Planner) or more to set the label {label!r}"

    async def find(self, _mark: Mark, notice: Notice) -> Sequence[Ticket]:
        """Return the newest tickets whatever their state, and all that are open."""
        project = self.rules.project_of(notice.team)
        newest = await self._page(project, "all", 1)
        more = await self._open(project) if len(newest) == PAGE else []
        issues = {issue.iid: issue for issue in [*newest, *more]}
        return [self._ticket(project, issues[number]) for number in sorted(issues)]

    async def create(self, notice: Notice, mark: Mark) -> str:
        """Make it. Labels that are not there are made by GitLab."""
        project = self.rules.project_of(notice.team)
        issue = {
            "title": title_of(notice, MAX_TITLE),
            "description": _marked(mark.text, ticket_blocks(notice)),
            "labels": ",".join(self.rules.labels.of(notice)),
            **({"confidential": True} if self.rules.confidential else {}),
        }
        path = f"{_project(project)}/issues"
        made: _Issue = await self.talk.change("POST", path, issue, _Issue, what=f"project {project}")
        return f"{project}#{made.iid}"

    async def read(self, reference: str) -> Ticket | None:
        """Return an issue."""
        project, _, _ = reference.rpartition("#")
        found = await self.talk.read_or_none(_path(reference), _Issue)
        return None if found is None else self._ticket(project, found)

    async def has_comment(self, reference: str, mark: str) -> bool:
        """Return whether a note has the mark."""
        return any(mark in note.body for note in await self._notes(reference))

    async def comment(self, ticket: Ticket, notice: Notice, mark: str) -> None:
        """Add a note."""
        body = {"body": _marked(mark, news_blocks(notice))}
        await self.talk.change("POST", f"{_path(ticket.reference)}/notes", body, what=f"notes on {ticket.reference}")

    async def reopen(self, ticket: Ticket) -> str:
        """Open it again."""
        return await self._set(ticket, "reopen")

    async def finish(self, ticket: Ticket, _notice: Notice) -> str:
        """Close it."""
        return await self._set(ticket, "close")

    async def _set(self, ticket: Ticket, event: str) -> str:
        what = f"changes of {ticket.reference}"
        await self.talk.change("PUT", _path(ticket.reference), {"state_event": event}, what=what)
        return ""

    async def look(self, references: Sequence[str]) -> Mapping[str, Answer]:
        """Return how each stands, a hundred a request; why one was closed is asked for each one that is closed."""
        answers = dict.fromkeys(references, Answer(Heard.GONE))
        projects: dict[str, list[str]] = {}
        for reference in references:
            project, _, number = reference.rpartition("#")
            projects.setdefault(project, []).append(number)
        for project, numbers in projects.items():
            for start in range(0, len(numbers), PAGE):
                for issue in await self._numbered(project, numbers[start : start + PAGE]):
                    answers[f"{project}#{issue.iid}"] = await self._answer(project, issue)
        return {reference: answers[reference] for reference in references}

    async def _numbered(self, project: str, numbers: Sequence[str]) -> list[_Issue]:
        query = urlencode([("per_page", str(PAGE)), ("scope", "all"), *(("iids[]", number) for number in numbers)])
        return await self.talk.read(f"{_project(project)}/issues?{query}", list[_Issue], what=f"project {project}")

    async def _answer(self, project: str, issue: _Issue) -> Answer:
        if issue.state != "closed":
            return Answer(Heard.OPEN)
        by = issue.closed_by.username if issue.closed_by else ""
        notes = await self._notes(f"{project}#{issue.iid}")
        words = next((note.body for note in notes if by and note.author.username == by), "")
        return Answer(Heard.CLOSED, one_line(by, MAX_WORDS), one_line(words, MAX_WORDS))

    async def _open(self, project: str) -> list[_Issue]:
        issues: list[_Issue] = []
        for page in range(1, MOST_PAGES + 1):
            found = await self._page(project, "opened", page)
            issues += found
            if len(found) < PAGE:
                return issues
        raise Permanent(f"{self.receiver}: project {project} has more open tickets than are looked through")

    async def _page(self, project: str, state: str, page: int) -> list[_Issue]:
        """Return a page of tickets, newest first."""
        query = {
            "labels": self.rules.labels.found_by,
            "state": state,
            "scope": "all",
            "order_by": "created_at",
            "sort": "desc",
            "per_page": str(PAGE),
            "page": str(page),
        }
        return await self.talk.read(f"{_project(project)}/issues", list[_Issue], query=query, what=f"project {project}")

    async def _notes(self, reference: str) -> list[_Note]:
        """Return what people wrote, newest first."""
        notes: list[_Note] = []
        for page in range(1, MOST_PAGES + 1):
            query = {"sort": "desc", "order_by": "created_at", "per_page": str(PAGE), "page": str(page)}
            found = await self.talk.read(f"{_path(reference)}/notes", list[_Note], query=query, what=reference)
            notes += [note for note in found if not note.system]
            if len(found) < PAGE:
                return notes
        raise Permanent(f"{self.receiver}: {reference} has more notes than are read through")

    def _ticket(self, project: str, issue: _Issue) -> Ticket:
        reference = f"{project}#{issue.iid}"
        mark = issue.description or "" if self.rules.labels.found_by in issue.labels else ""
        return Ticket(reference, issue.state != "closed", mark, issue.web_url, state=issue.state)


def _project(project: str) -> str:
    return f"/api/v4/projects/{quote(project, safe='')}"


def _path(reference: str) -> str:
    project, _, number = reference.rpartition("#")
    return f"{_project(project)}/issues/{quote(number, safe='')}"


def _marked(mark: str, blocks: Sequence[Block]) -> str:
    comment = hidden(mark)
    return comment + within(markdown, blocks, MAX_TEXT - len(comment))


def from_section(section: GitLabSection, cell: str) -> Ticketing:
    """Return the adapter of a table of the settings.

    Raises:
        SettingsError: its secret cannot be read.
    """
    headers = {"PRIVATE-TOKEN": read_secret(section.token_file, "token_file")}
    client = HttpClient("GitLab", section.url, headers, timeout_s=section.timeout_s, most_bytes=MOST_BYTES)
    rules = GitLabRules(
        project=section.project,
        projects=section.projects,
        labels=labels_of(section),
        confidential=section.confidential,
    )
    return Ticketing(GitLab(Talk(client, "token_file"), rules), cell, section.called)
