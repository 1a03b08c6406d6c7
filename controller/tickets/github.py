"""Tickets as issues of GitHub, by its REST API.

Tickets are found by listing what has one label and reading the mark in the text: what has just been made is listed at
once, while GitHub's search lags behind. GitHub drops labels without a word where the account may not set them.
Source: GitHub REST API 2022-11-28, "Issues", "Issue comments", "Using pagination"; not tried against a server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from controller.adapters import Answer, Heard, Notice
from controller.errors import Permanent
from controller.notices.http import HttpClient, HttpRefusal
from controller.notices.secret import read_secret
from controller.notices.wording import one_line
from controller.sections.tickets.github import GitHubSection
from controller.tickets.document import Block, news_blocks, ticket_blocks, title_of, within
from controller.tickets.labels import Labels, labels_of
from controller.tickets.marks import Mark
from controller.tickets.markup import hidden, markdown
from controller.tickets.talking import MAX_TEXT, MAX_WORDS, MOST_BYTES, Talk
from controller.tickets.ticketing import Ticketing
from controller.tickets.tracker import Ticket

MAX_TITLE = 256
"""Source: GitHub answers 422 for a longer one; a text may have 65,536 characters."""

PAGE = 100
"""Source: GitHub, "Using pagination in the REST API": per_page is at most 100."""

MOST_PAGES = 100

MOVED = 301
"""Source: GitHub, "Get an issue": 301 for one that was transferred. Lists answer it where the address is wrong."""


class _User(msgspec.Struct):
    login: str = ""


class _Label(msgspec.Struct):
    name: str | None = None


class _Issue(msgspec.Struct):
    number: int
    state: str
    body: str | None = None
    html_url: str = ""
    labels: list[_Label | str] = []
    closed_by: _User | None = None
    state_reason: str | None = None
    pull_request: object = None


class _Comment(msgspec.Struct):
    body: str | None = None
    user: _User | None = None


@dataclass(frozen=True, slots=True)
class GitHubRules:
    """What of GitHub is this site's own.

    Attributes:
        repositories: team → repository, `owner/name`.
    """

    repository: str
    labels: Labels
    repositories: Mapping[str, str] = field(default_factory=dict)

    def repository_of(self, team: str) -> str:
        """Return where a team's tickets are made."""
        return self.repositories.get(team, self.repository)


@dataclass(slots=True)
class GitHub:
    """GitHub. A ticket's reference is `owner/name#number`."""

    talk: Talk
    rules: GitHubRules
    speaks_when_closed: bool = True

    @property
    def receiver(self) -> str:
        """What it is called in messages."""
        return self.talk.receiver

    @property
    def mark_needs(self) -> str:
        """What has to hold so that a ticket gets its mark."""
        return (
            f"the account of token_file needs the role Triage or Write to set the label {self.rules.labels.found_by!r}"
        )

    async def find(self, _mark: Mark, notice: Notice) -> Sequence[Ticket]:
        """Return the newest tickets whatever their state, and all that are open."""
        repository = self.rules.repository_of(notice.team)
        newest = await self._page(repository, "all", 1)
        more = await self._open(repository) if len(newest) == PAGE else []
        issues = {issue.number: issue for issue in [*newest, *more] if issue.pull_request is None}
        return [self._ticket(repository, issues[number]) for number in sorted(issues)]

    async def create(self, notice: Notice, mark: Mark) -> str:
        """Make it. Labels that are not there are made by GitHub."""
        repository = self.rules.repository_of(notice.team)
        issue = {
            "title": title_of(notice, MAX_TITLE),
            "body": _marked(mark.text, ticket_blocks(notice)),
            "labels": self.rules.labels.of(notice),
        }
        path = f"/repos/{repository}/issues"
        made: _Issue = await self.talk.change("POST", path, issue, _Issue, what=f"repository {repository}")
        return f"{repository}#{made.number}"

    async def read(self, reference: str) -> Ticket | None:
        """Return an issue."""
        found = await self._issue(reference)
        return None if found is None else self._ticket(reference.rpartition("#")[0], found)

    async def has_comment(self, reference: str, mark: str) -> bool:
        """Return whether a comment has the mark."""
        return any(mark in (comment.body or "") for comment in await self._comments(reference))

    async def comment(self, ticket: Ticket, notice: Notice, mark: str) -> None:
        """Add a comment."""
        body = {"body": _marked(mark, news_blocks(notice))}
        what = f"comments on {ticket.reference}"
        await self.talk.change("POST", f"{_path(ticket.reference)}/comments", body, what=what)

    async def reopen(self, ticket: Ticket) -> str:
        """Open it again."""
        return await self._set(ticket, {"state": "open", "state_reason": "reopened"})

    async def finish(self, ticket: Ticket, _notice: Notice) -> str:
        """Close it as completed."""
        return await self._set(ticket, {"state": "closed", "state_reason": "completed"})

    async def _set(self, ticket: Ticket, change: dict[str, str]) -> str:
        await self.talk.change("PATCH", _path(ticket.reference), change, what=f"changes of {ticket.reference}")
        return ""

    async def look(self, references: Sequence[str]) -> Mapping[str, Answer]:
        """Return how each stands: open ones a hundred a request, each other one by itself."""
        repositories = dict.fromkeys(reference.rpartition("#")[0] for reference in references)
        is_open: set[str] = set()
        for repository in repositories:
            is_open |= {f"{repository}#{issue.number}" for issue in await self._open(repository)}
        return {
            reference: Answer(Heard.OPEN) if reference in is_open else await self._answer(reference)
            for reference in references
        }

    async def _answer(self, reference: str) -> Answer:
        issue = await self._issue(reference)
        if issue is None:
            return Answer(Heard.GONE)
        if issue.state != "closed":
            return Answer(Heard.OPEN)
        by = issue.closed_by.login if issue.closed_by else ""
        theirs = [each.body for each in await self._comments(reference) if by and each.user and each.user.login == by]
        said = " ".join(filter(None, (issue.state_reason, theirs[-1] if theirs else "")))
        return Answer(Heard.CLOSED, one_line(by, MAX_WORDS), one_line(said, MAX_WORDS))

    async def _issue(self, reference: str) -> _Issue | None:
        """Return an issue, `None` for one that is gone or was moved to another repository."""
        try:
            return await self.talk.read_or_none(_path(reference), _Issue)
        except HttpRefusal as refusal:
            if refusal.status == MOVED:
                return None
            raise

    async def _open(self, repository: str) -> list[_Issue]:
        issues: list[_Issue] = []
        for page in range(1, MOST_PAGES + 1):
            found = await self._page(repository, "open", page)
            issues += found
            if len(found) < PAGE:
                return issues
        raise Permanent(f"{self.receiver}: {repository} has more open tickets than are looked through")

    async def _page(self, repository: str, state: str, page: int) -> list[_Issue]:
        """Return a page of tickets, newest first."""
        query = {
            "labels": self.rules.labels.found_by,
            "state": state,
            "sort": "created",
            "direction": "desc",
            "per_page": str(PAGE),
            "page": str(page),
        }
        path, what = f"/repos/{repository}/issues", f"repository {repository}"
        return await self.talk.read(path, list[_Issue], query=query, what=what)

    async def _comments(self, reference: str) -> list[_Comment]:
        """Return the comments, oldest first."""
        comments: list[_Comment] = []
        for page in range(1, MOST_PAGES + 1):
            query = {"per_page": str(PAGE), "page": str(page)}
            found = await self.talk.read(f"{_path(reference)}/comments", list[_Comment], query=query, what=reference)
            comments += found
            if len(found) < PAGE:
                return comments
        raise Permanent(f"{self.receiver}: {reference} has more comments than are read through")

    def _ticket(self, repository: str, issue: _Issue) -> Ticket:
        reference = f"{repository}#{issue.number}"
        mark = issue.body or "" if self.rules.labels.found_by in _names(issue.labels) else ""
        return Ticket(reference, issue.state != "closed", mark, issue.html_url, state=issue.state)


def _names(labels: Sequence[_Label | str]) -> set[str]:
    return {label if isinstance(label, str) else label.name or "" for label in labels}


def _path(reference: str) -> str:
    repository, _, number = reference.rpartition("#")
    return f"/repos/{repository}/issues/{number}"


def _marked(mark: str, blocks: Sequence[Block]) -> str:
    comment = hidden(mark)
    return comment + within(markdown, blocks, MAX_TEXT - len(comment))


def from_section(section: GitHubSection, cell: str) -> Ticketing:
    """Return the adapter of a table of the settings.

    Raises:
        SettingsError: its secret cannot be read.
    """
    headers = {
        "Authorization": f"Bearer {read_secret(section.token_file, 'token_file')}",
        "Accept": "application/vnd.github+json",
        "X-GitHub-Api-Version": "2022-11-28",
    }
    client = HttpClient("GitHub", section.url, headers, timeout_s=section.timeout_s, most_bytes=MOST_BYTES)
    rules = GitHubRules(
        repository=section.repository,
        repositories=section.repositories,
        labels=labels_of(section),
    )
    return Ticketing(GitHub(Talk(client, "token_file"), rules), cell, section.called)
