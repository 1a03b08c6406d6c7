"""What is GitHub's and GitLab's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from controller.adapters import Answer, Filed, Heard
from controller.errors import Permanent, Retryable
from controller.tickets.marks import mark_of
from tests.support.github import GitHubDouble
from tests.support.gitlab import GitLabDouble
from tests.support.ticket_double import running
from tests.support.ticket_notices import CELL, news, ticket_notice


@pytest.fixture
async def github() -> AsyncIterator[GitHubDouble]:
    double = GitHubDouble()
    async with running(double):
        yield double


@pytest.fixture
async def gitlab() -> AsyncIterator[GitLabDouble]:
    double = GitLabDouble()
    async with running(double):
        yield double


async def test_an_issue_of_github_has_all_that_its_notice_says(github: GitHubDouble, tmp_path: Path) -> None:
    filed = await github.desk(tmp_path).send(ticket_notice())

    issue = github.state["example/datacentre#1"]
    assert filed == Filed("example/datacentre#1", "https://github.example/example/datacentre/issues/1")
    assert [label["name"] for label in issue["labels"]] == ["fleetmend", "hands and eyes", "critical"]
    check(issue["title"], issue["body"])


async def test_an_issue_of_gitlab_has_all_that_its_notice_says(gitlab: GitLabDouble, tmp_path: Path) -> None:
    filed = await gitlab.desk(tmp_path).send(ticket_notice())

    issue = gitlab.state["example/datacentre#1"]
    assert filed == Filed("example/datacentre#1", "https://gitlab.example/example/datacentre/-/issues/1")
    assert issue["labels"] == ["fleetmend", "hands and eyes", "critical"]
    check(issue["title"], issue["description"])


def check(title: str, text: str) -> None:
    lines = text.splitlines()
    assert title == "n2: A GPU has fallen off the bus."
    assert lines[0] == f"<!-- {mark_of(ticket_notice(), CELL).text} -->"
    assert {
        "- `Serial` `1654321`",
        "- `Port` `swp7`",
        "- `Incident` <http://127.0.0.1:8642/incidents/inc-000007>",
    } <= set(lines)


async def test_labels_that_are_dropped_are_said(github: GitHubDouble, tmp_path: Path) -> None:
    github.may_label = False

    tickets = github.desk(tmp_path)
    for _ in range(2):
        with pytest.raises(
            Permanent, match=r"needs the role Triage or Write to set the label 'fleetmend'; no second one"
        ):
            await tickets.send(ticket_notice())

    assert github.count() == 1


@pytest.mark.parametrize(
    ("status", "headers", "wait_s"),
    [
        (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "99999999999"}, 3_600.0),
        (429, {"X-RateLimit-Reset": "1"}, 1.0),
        (403, {"Retry-After": "60"}, 60.0),
    ],
)
async def test_a_rate_limit_is_waited_for(
    github: GitHubDouble, tmp_path: Path, status: int, headers: dict[str, str], wait_s: float
) -> None:
    github.fail(status, headers=headers)

    with pytest.raises(Retryable) as raised:
        await github.desk(tmp_path).send(ticket_notice())

    assert raised.value.after_s == wait_s


async def test_an_open_ticket_behind_more_than_a_page_is_found(github: GitHubDouble, tmp_path: Path) -> None:
    tickets = github.desk(tmp_path)
    first = await tickets.send(ticket_notice(1))
    others(github.state, "example/datacentre", 150)

    again = await github.desk(tmp_path).send(ticket_notice(1, key="inc-999/ticket/1"))

    assert again == Filed(first.reference, first.url, found=True)
    assert await tickets.look([first.reference]) == {first.reference: Answer(Heard.OPEN)}


async def test_an_open_ticket_behind_more_than_a_page_is_found_in_gitlab(gitlab: GitLabDouble, tmp_path: Path) -> None:
    tickets = gitlab.desk(tmp_path)
    first = await tickets.send(ticket_notice(1))
    others(gitlab.state, "example/datacentre", 150)

    again = await gitlab.desk(tmp_path).send(ticket_notice(1, key="inc-999/ticket/1"))

    assert again == Filed(first.reference, first.url, found=True)


def others(state: dict[str, dict[str, Any]], project: str, count: int) -> None:
    """Add tickets of others, newer ones."""
    like = state[f"{project}#1"]
    for number in range(1000, 1000 + count):
        changed = {"number": number, "iid": number, "body": "", "description": None}
        state[f"{project}#{number}"] = {**like, **changed}


async def test_the_comment_that_is_looked_for_may_be_behind_a_page(github: GitHubDouble, tmp_path: Path) -> None:
    tickets = github.desk(tmp_path)
    filed = await tickets.send(ticket_notice())
    chatter = [{"id": number, "body": "on it", "user": {"login": "terry"}} for number in range(250)]
    github.state[filed.reference]["comments"] += chatter
    await tickets.update(filed.reference, news())
    await tickets.update(filed.reference, news())

    assert len(github.comments(filed.reference)) == 251


async def test_one_that_was_moved_to_another_repository_is_gone(github: GitHubDouble, tmp_path: Path) -> None:
    tickets = github.desk(tmp_path)
    filed, other = await tickets.send(ticket_notice(1)), await tickets.send(ticket_notice(2))
    github.state[filed.reference]["state"] = "closed"
    github.fail(301, "GET", "/issues/1", headers={"Location": "/repositories/7/issues/1"})

    assert await tickets.look([filed.reference, other.reference]) == {
        filed.reference: Answer(Heard.GONE),
        other.reference: Answer(Heard.OPEN),
    }


async def test_a_pull_request_is_no_ticket(github: GitHubDouble, tmp_path: Path) -> None:
    filed = await github.desk(tmp_path).send(ticket_notice())
    github.state[filed.reference]["pull_request"] = {"url": "https://api.github.com/pulls/1"}

    assert not (await github.desk(tmp_path).send(ticket_notice())).found


async def test_a_quick_action_in_a_log_is_none(gitlab: GitLabDouble, tmp_path: Path) -> None:
    tickets = gitlab.desk(tmp_path)
    filed = await tickets.send(ticket_notice(body="/close\n/assign @boss"))
    await tickets.update(filed.reference, news(text="/close"))

    description = gitlab.state[filed.reference]["description"]
    (note,) = gitlab.comments(filed.reference)
    assert not [line for line in f"{description}\n{note}".splitlines() if line.lstrip().startswith("/")]
