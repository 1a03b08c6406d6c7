"""The whole life of a ticket, and every fault, in each system that cannot run here: by doubles of their documents."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from controller.adapters import Answer, Filed, Following, Heard, Listening
from controller.errors import Permanent, Retryable
from controller.tickets.marks import comment_mark
from tests.support.github import GitHubDouble
from tests.support.gitlab import GitLabDouble
from tests.support.jira import JiraDouble
from tests.support.servicenow import ServiceNowDouble
from tests.support.ticket_double import DROPPED, ECHO, GARBAGE, HALF, HANG, NOTHING, SECRET, TicketDouble, running
from tests.support.ticket_notices import CELL, news, ticket_notice

SYSTEMS: dict[str, Callable[[], TicketDouble]] = {
    "jira_cloud": JiraDouble,
    "jira_data_center": lambda: JiraDouble(is_cloud=False),
    "servicenow": ServiceNowDouble,
    "github": GitHubDouble,
    "gitlab": GitLabDouble,
}
WORDS = "Reseated the GPU."
CLOSED_BY = {"jira": "Terry Technician", "serv": "Terry Technician", "gith": "terry", "gitl": "terry"}
SAID = {"jira": f"Done: {WORDS}", "serv": f"Replaced: {WORDS}", "gith": f"completed {WORDS}", "gitl": WORDS}


@pytest.fixture(params=SYSTEMS)
async def system(request: pytest.FixtureRequest) -> AsyncIterator[TicketDouble]:
    async with running(SYSTEMS[request.param]()) as double:
        yield double


def kind(system: TicketDouble) -> str:
    return type(system).__name__[:4].lower()


async def test_it_can_be_followed_and_listened_to(system: TicketDouble, tmp_path: Path) -> None:
    tickets = system.desk(tmp_path, name="site-b")

    assert isinstance(tickets, Following)
    assert isinstance(tickets, Listening)
    assert (tickets.name, tickets.repeatable) == ("site-b", True)


async def test_sending_again_makes_no_second_one(system: TicketDouble, tmp_path: Path) -> None:
    first = await system.desk(tmp_path).send(ticket_notice())
    again = system.desk(tmp_path)
    same = await again.send(ticket_notice())
    other_key = await again.send(ticket_notice(key="inc-999/ticket/1"))

    assert first.url.startswith("http")
    assert same == other_key == replace(first, found=True)
    assert system.count() == 1


async def test_another_subject_and_another_cell_have_tickets_of_their_own(system: TicketDouble, tmp_path: Path) -> None:
    tickets = system.desk(tmp_path)
    found = [
        await tickets.send(ticket_notice(1)),
        await tickets.send(ticket_notice(2)),
        await replace(tickets, cell="other").send(ticket_notice(1)),
    ]

    assert len({filed.reference for filed in found}) == system.count() == 3


async def test_news_are_told_once(system: TicketDouble, tmp_path: Path) -> None:
    tickets = system.desk(tmp_path)
    filed = await tickets.send(ticket_notice())
    await tickets.update(filed.reference, news())
    await tickets.update(filed.reference, news())
    await tickets.update(filed.reference, news(count=2, text="Sent to the vendor."))

    first, second = system.comments(filed.reference)
    assert "The reboot did not help." in first
    assert comment_mark(news(), CELL) in first
    assert "Sent to the vendor." in second


async def test_a_technician_who_closes_it_is_heard_with_their_words(system: TicketDouble, tmp_path: Path) -> None:
    tickets = system.desk(tmp_path)
    closed, other, deleted = [await tickets.send(ticket_notice(number)) for number in (1, 2, 3)]
    system.close_as_technician(closed.reference, WORDS)
    system.delete(deleted.reference)

    assert await tickets.look([closed.reference, other.reference, deleted.reference]) == {
        closed.reference: Answer(Heard.CLOSED, CLOSED_BY[kind(system)], SAID[kind(system)]),
        other.reference: Answer(Heard.OPEN),
        deleted.reference: Answer(Heard.GONE),
    }


async def test_open_tickets_are_looked_at_in_one_request(system: TicketDouble, tmp_path: Path) -> None:
    tickets = system.desk(tmp_path)
    references = [(await tickets.send(ticket_notice(number))).reference for number in range(30)]
    system.asked.clear()

    assert await tickets.look(references) == dict.fromkeys(references, Answer(Heard.OPEN))
    assert len(system.asked) == 1


async def test_nothing_is_asked_for_no_tickets(system: TicketDouble, tmp_path: Path) -> None:
    assert await system.desk(tmp_path).look([]) == {}
    assert not system.asked


async def test_news_open_again_what_was_closed(system: TicketDouble, tmp_path: Path) -> None:
    tickets = system.desk(tmp_path)
    filed = await tickets.send(ticket_notice())
    await tickets.close(filed.reference, news(text="Verified."))
    assert not system.is_open(filed.reference)

    await tickets.update(filed.reference, news(count=2, text="It is back."))

    assert system.is_open(filed.reference)
    assert "It is back." in system.comments(filed.reference)[-1]


async def test_closing_tells_why_once_and_stays(system: TicketDouble, tmp_path: Path) -> None:
    tickets = system.desk(tmp_path)
    filed = await tickets.send(ticket_notice())
    await tickets.close(filed.reference, news(text="Verified; n2 is back."))
    await tickets.close(filed.reference, news(text="Verified; n2 is back."))

    (said,) = system.comments(filed.reference)
    assert "Verified; n2 is back." in said
    assert not system.is_open(filed.reference)


async def test_a_new_problem_with_a_closed_subject_gets_its_own(system: TicketDouble, tmp_path: Path) -> None:
    tickets = system.desk(tmp_path)
    first = await tickets.send(ticket_notice())
    system.close_as_technician(first.reference, WORDS)
    second = await tickets.send(ticket_notice(key="inc-999/ticket/1", follows=first.reference))

    assert (second.found, system.count()) == (False, 2)
    assert await tickets.send(ticket_notice()) == replace(first, found=True), "its own key is the closed one's"
    assert (await tickets.send(ticket_notice(key="inc-1000/ticket/1"))).reference == second.reference


async def test_one_that_is_gone_needs_no_closing_and_takes_no_news(system: TicketDouble, tmp_path: Path) -> None:
    tickets = system.desk(tmp_path)
    filed = await tickets.send(ticket_notice())
    system.delete(filed.reference)

    await tickets.close(filed.reference, news())
    with pytest.raises(Permanent, match=f"has no {filed.reference} any more, or hides it from this account"):
        await tickets.update(filed.reference, news())


async def test_wrong_credentials_are_said_and_not_told(system: TicketDouble, tmp_path: Path) -> None:
    with pytest.raises(Permanent, match=r"the credentials of .*_file were refused.* answered 401") as raised:
        await system.desk(tmp_path, token="wrong-one").send(ticket_notice())

    assert "wrong-one" not in str(raised.value)
    assert system.count() == 0


async def test_a_system_that_sends_everything_back_does_not_have_the_secret_told(
    system: TicketDouble, tmp_path: Path
) -> None:
    system.fail(ECHO)
    with pytest.raises(Permanent, match="answered 400") as raised:
        await system.desk(tmp_path).send(ticket_notice())

    told = str(raised.value)
    encoded = [base64.b64encode(b"\0" * offset + SECRET.encode())[4:-4].decode() for offset in range(3)]
    assert not [secret for secret in (SECRET, *encoded) if secret in told], told


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, "credentials of"),
        (403, "lack a right for"),
        (404, "or hides it from the account of"),
        (410, "or hides it from the account of"),
        (400, "answered 400 Bad Request: .*the API's own words"),
        (422, "answered 422 .*the API's own words"),
        (301, "redirects are not followed"),
    ],
)
async def test_what_will_not_work_is_permanent(system: TicketDouble, tmp_path: Path, status: int, said: str) -> None:
    system.fail(status, "POST", creating(system), body={"message": "the API's own words"})

    with pytest.raises(Permanent, match=said):
        await system.desk(tmp_path).send(ticket_notice())

    assert system.count() == 0


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_what_may_work_later_is_retryable(system: TicketDouble, tmp_path: Path, status: int) -> None:
    system.fail(status, headers={"Retry-After": "17"})

    with pytest.raises(Retryable, match=f"answered {status}") as raised:
        await system.desk(tmp_path).send(ticket_notice())

    assert raised.value.after_s == 17.0
    assert not (await system.desk(tmp_path).send(ticket_notice())).found


@pytest.mark.parametrize("fault", [HALF, DROPPED])
async def test_a_create_that_is_not_answered_for_is_looked_for_and_not_repeated(
    system: TicketDouble, tmp_path: Path, fault: str
) -> None:
    tickets = system.desk(tmp_path)
    system.fail(fault, "POST", creating(system))
    with pytest.raises(Retryable, match=r"broke off in its answer|did not answer"):
        await tickets.send(ticket_notice())

    filed = await tickets.send(ticket_notice())

    assert (filed.found, system.count()) == (True, 1)


def creating(system: TicketDouble) -> str:
    """What the path of a create has in it, and of no search."""
    return {"jira": "/issue", "serv": "/incident", "gith": "/issues", "gitl": "/issues"}[kind(system)]


def commenting(system: TicketDouble) -> tuple[str, str]:
    """The method and path by which something is said on a ticket."""
    others = {"serv": ("PATCH", "/incident/"), "gitl": ("POST", "/notes")}
    return others.get(kind(system), ("POST", "/comment"))


async def test_a_create_that_hangs_is_given_up_and_looked_for(system: TicketDouble, tmp_path: Path) -> None:
    tickets = system.desk(tmp_path, timeout_s=0.4)
    system.fail(HANG, "POST", creating(system))

    with pytest.raises(Retryable, match="did not answer"):
        await tickets.send(ticket_notice())
    system.faults.clear()

    assert not (await system.desk(tmp_path).send(ticket_notice())).found


async def test_a_create_that_does_nothing_is_said(system: TicketDouble, tmp_path: Path) -> None:
    system.fail(NOTHING, "POST", creating(system))

    tickets = system.desk(tmp_path)
    for _ in range(2):
        with pytest.raises(Permanent, match=r"answered that it made .+, which is not there, or hidden from this"):
            await tickets.send(ticket_notice())

    assert len([path for path in system.asked if path.startswith("POST") and path.endswith(creating(system))]) == 1


async def test_a_comment_that_does_nothing_is_said(system: TicketDouble, tmp_path: Path) -> None:
    tickets = system.desk(tmp_path)
    filed = await tickets.send(ticket_notice())
    system.fail(NOTHING, *commenting(system))

    with pytest.raises(Permanent, match=f"took a comment on {filed.reference} and does not show it"):
        await tickets.update(filed.reference, news())


@pytest.mark.parametrize("fault", [HALF, DROPPED])
async def test_a_comment_that_is_not_answered_for_is_not_repeated(
    system: TicketDouble, tmp_path: Path, fault: str
) -> None:
    tickets = system.desk(tmp_path)
    filed = await tickets.send(ticket_notice())
    system.fail(fault, *commenting(system))
    with pytest.raises(Retryable):
        await tickets.update(filed.reference, news())

    await tickets.update(filed.reference, news())

    assert len(system.comments(filed.reference)) == 1


def changing(system: TicketDouble) -> tuple[str, str]:
    """The method and path by which a ticket's state is changed."""
    return {
        "jira": ("POST", "/transitions"),
        "serv": ("PATCH", "/incident/"),
        "gith": ("PATCH", "/issues/"),
        "gitl": ("PUT", "/issues/"),
    }[kind(system)]


async def closable(system: TicketDouble, tmp_path: Path) -> Filed:
    """Return a ticket that was told how it ended, and is still open."""
    tickets = system.desk(tmp_path)
    filed = await tickets.send(ticket_notice())
    await tickets.update(filed.reference, news(text="Verified."))
    return filed


async def test_a_close_that_does_nothing_is_said(system: TicketDouble, tmp_path: Path) -> None:
    filed = await closable(system, tmp_path)
    system.fail(NOTHING, *changing(system))

    with pytest.raises(Permanent, match=f"answered yes and {filed.reference} is not closed"):
        await system.desk(tmp_path).close(filed.reference, news(text="Verified."))


@pytest.mark.parametrize("status", [409, 412])
async def test_a_conflict_is_read_again_and_tried_again(system: TicketDouble, tmp_path: Path, status: int) -> None:
    filed = await closable(system, tmp_path)
    system.fail(status, *changing(system), times=3)

    await system.desk(tmp_path).close(filed.reference, news(text="Verified."))

    assert not system.is_open(filed.reference)


async def test_a_conflict_that_does_not_end_is_waited_for(system: TicketDouble, tmp_path: Path) -> None:
    filed = await closable(system, tmp_path)
    system.fail(409, *changing(system), times=9)

    with pytest.raises(Retryable, match=f"others change {filed.reference} at the same time"):
        await system.desk(tmp_path).close(filed.reference, news(text="Verified."))


async def test_an_answer_of_a_proxy_is_not_taken_for_nothing_found(system: TicketDouble, tmp_path: Path) -> None:
    tickets = system.desk(tmp_path)
    filed = await tickets.send(ticket_notice())
    for act in (
        tickets.send(ticket_notice()),
        tickets.look([filed.reference]),
        tickets.update(filed.reference, news()),
    ):
        system.faults.clear()
        system.fail(GARBAGE)
        with pytest.raises(Permanent, match="answered something else than expected"):
            await act

    assert system.count() == 1


async def test_a_server_that_hangs_holds_nobody(system: TicketDouble, tmp_path: Path) -> None:
    tickets = system.desk(tmp_path, timeout_s=0.4)
    system.fail(HANG)

    with pytest.raises(Retryable, match="did not answer"):
        await tickets.look([{"jira": "FLEET-1", "serv": "INC0000001"}.get(kind(system), "example/fleet#1")])
