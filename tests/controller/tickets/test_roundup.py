"""Tickets in a real Roundup."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from controller.adapters import Answer, Filed, Heard, Notice
from controller.errors import Permanent, Retryable
from controller.notices.http import HttpRefusal
from controller.sections.tickets.roundup import RoundupSection
from controller.tickets.marks import Mark, mark_of
from controller.tickets.roundup import Roundup, from_section
from controller.tickets.ticketing import Ticketing
from controller.tickets.tracker import Ticket
from tests.support.roundup import PASSWORD, TECHNICIAN, USER, RunningRoundup, running_roundup
from tests.support.ticket_notices import CELL, news, ticket_notice

NUMBERS = itertools.count(100)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRoundup]:
    with running_roundup(tmp_path_factory.mktemp("roundup")) as running:
        yield running


@pytest.fixture
def number() -> int:
    """An incident that no other test has."""
    return next(NUMBERS)


def desk(server: RunningRoundup, folder: Path, *, password: str = PASSWORD, **changed: object) -> Ticketing:
    file = folder / "password"
    file.write_text(password)
    file.chmod(0o600)
    section = {
        "kind": "roundup",
        "url": server.url,
        "user": USER,
        "password_file": file,
        "assignees": {"datacentre": TECHNICIAN},
        "keywords": {"datacentre": "datacentre"},
        "priorities": {"critical": "critical"},
    }
    return from_section(RoundupSection.model_validate({**section, **changed}), CELL)


@pytest.fixture
def tickets(server: RunningRoundup, tmp_path: Path) -> Ticketing:
    return desk(server, tmp_path)


async def test_a_ticket_has_all_that_its_notice_says(tickets: Ticketing, server: RunningRoundup, number: int) -> None:
    filed = await tickets.send(ticket_notice(number))

    made = server.issue(filed.reference)
    assert filed == Filed(filed.reference, f"{server.url}/issue{filed.reference}")
    assert (made["title"], made["status"]["name"]) == ("n2: A GPU has fallen off the bus.", "unread")
    assert (made["priority"]["name"], made["assignedto"]["username"]) == ("critical", TECHNICIAN)
    assert [each["name"] for each in made["keyword"]] == ["datacentre"]
    said = server.text(made["messages"][0]["id"]).splitlines()
    assert "What: Xid 79 on GPU-3 at 90 °C." in said
    assert {"Serial: 1654321", "Slot: 3", "Port: swp7", "Cable: C-118"} <= set(said)
    assert "  GPU has fallen off the bus." in said


async def test_sending_again_makes_no_second_one(
    tickets: Ticketing, server: RunningRoundup, tmp_path: Path, number: int
) -> None:
    first = await tickets.send(ticket_notice(number))
    again = desk(server, tmp_path)
    same = await again.send(ticket_notice(number))
    other_key = await again.send(replace(ticket_notice(number), key="inc-999/ticket/1"))

    assert same == other_key == replace(first, found=True)


async def test_a_message_that_has_no_issue_yet_is_taken(
    tickets: Ticketing, server: RunningRoundup, number: int
) -> None:
    """The controller ends between the message and the issue."""
    notice = ticket_notice(number)
    broken = replace_priority(tickets, "no such priority")
    with pytest.raises(HttpRefusal, match="'no such priority' is not a priority"):
        await broken.send(notice)

    filed = await tickets.send(notice)

    messages = server.ask("GET", f"/msg?messageid={mark_of(notice, CELL).text}")["collection"]
    assert [each["id"] for each in server.issue(filed.reference)["messages"]] == [each["id"] for each in messages]
    assert len(messages) == 1


def replace_priority(tickets: Ticketing, name: str) -> Ticketing:
    assert isinstance(tickets.tracker, Roundup)
    rules = replace(tickets.tracker.rules, priorities={"critical": name})
    return Ticketing(Roundup(tickets.tracker.talk, rules), CELL, "roundup")


async def test_news_are_told_once(tickets: Ticketing, server: RunningRoundup, number: int) -> None:
    filed = await tickets.send(ticket_notice(number))
    await tickets.update(filed.reference, news(number))
    await tickets.update(filed.reference, news(number))
    await tickets.update(filed.reference, news(number, 2, "Sent to the vendor."))

    _, *told = server.issue(filed.reference)["messages"]
    first_lines = [server.text(each["id"]).splitlines()[0] for each in told]
    assert first_lines == ["The reboot did not help.", "Sent to the vendor."]
    assert server.issue(filed.reference)["status"]["name"] == "unread"


async def test_a_technician_who_closes_it_is_heard_with_their_words(
    tickets: Ticketing, server: RunningRoundup, number: int
) -> None:
    filed, other = await tickets.send(ticket_notice(number)), await tickets.send(ticket_notice(next(NUMBERS)))
    assert await tickets.look([filed.reference]) == {filed.reference: Answer(Heard.OPEN)}

    server.say(filed.reference, "Reseated the GPU\nand its cable.", status="resolved")

    assert await tickets.look([filed.reference, other.reference, "987654", "no number"]) == {
        filed.reference: Answer(Heard.CLOSED, TECHNICIAN, "Reseated the GPU and its cable."),
        other.reference: Answer(Heard.OPEN),
        "987654": Answer(Heard.GONE),
        "no number": Answer(Heard.GONE),
    }


async def test_news_open_again_what_was_closed(tickets: Ticketing, server: RunningRoundup, number: int) -> None:
    filed = await tickets.send(ticket_notice(number))
    server.change(filed.reference, status="done-cbb")

    await tickets.update(filed.reference, news(number, text="It is back: Xid 79 again."))

    assert await tickets.look([filed.reference]) == {filed.reference: Answer(Heard.OPEN)}
    assert server.issue(filed.reference)["status"]["name"] == "in-progress"


async def test_closing_tells_why_and_stays(tickets: Ticketing, server: RunningRoundup, number: int) -> None:
    filed = await tickets.send(ticket_notice(number))
    await tickets.close(filed.reference, news(number, text="Verified; n2 is back."))
    await tickets.close(filed.reference, news(number, text="Verified; n2 is back."))

    issue = server.issue(filed.reference)
    assert (issue["status"]["name"], len(issue["messages"])) == ("resolved", 2)


async def test_what_a_technician_closed_is_told_how_it_ended_and_stays_closed(
    tickets: Ticketing, server: RunningRoundup, number: int
) -> None:
    """Roundup's own detectors open an issue again that gets a message without a status."""
    filed = await tickets.send(ticket_notice(number))
    server.say(filed.reference, "Swapped.", status="done-cbb")

    await tickets.close(filed.reference, news(number, text="Verified; n2 is back."))

    issue = server.issue(filed.reference)
    assert (issue["status"]["name"], len(issue["messages"])) == ("done-cbb", 3)


class Meddling(Roundup):
    """A Roundup in which somebody changes the issue whenever it was read."""

    server: RunningRoundup
    times: int = 1

    async def read(self, reference: str) -> Ticket | None:
        ticket = await super().read(reference)
        if self.times:
            self.times -= 1
            self.server.change(reference, title=f"changed, {self.times} to go")
        return ticket


def meddled(tickets: Ticketing, server: RunningRoundup, times: int) -> Ticketing:
    assert isinstance(tickets.tracker, Roundup)
    tracker = Meddling(tickets.tracker.talk, tickets.tracker.rules)
    tracker.server, tracker.times = server, times
    return Ticketing(tracker, CELL, "roundup")


async def test_what_somebody_changed_meanwhile_is_read_again(
    tickets: Ticketing, server: RunningRoundup, number: int
) -> None:
    filed = await tickets.send(ticket_notice(number))

    await meddled(tickets, server, 3).close(filed.reference, news(number))

    issue = server.issue(filed.reference)
    assert (issue["title"], issue["status"]["name"]) == ("changed, 0 to go", "resolved")


async def test_others_who_never_stop_changing_it_are_waited_for(
    tickets: Ticketing, server: RunningRoundup, number: int
) -> None:
    filed = await tickets.send(ticket_notice(number))

    with pytest.raises(Retryable, match=rf"others change {filed.reference} at the same time"):
        await meddled(tickets, server, 20).close(filed.reference, news(number))

    assert server.issue(filed.reference)["status"]["name"] == "unread"


async def test_one_that_was_retired_is_gone(tickets: Ticketing, number: int) -> None:
    assert await tickets.look(["4711"]) == {"4711": Answer(Heard.GONE)}
    await tickets.close("4711", news(number))
    with pytest.raises(Permanent, match="has no 4711 any more, or hides it from this account"):
        await tickets.update("4711", news(number))


async def test_a_wrong_password_is_said(server: RunningRoundup, tmp_path: Path, number: int) -> None:
    with pytest.raises(Permanent, match=r"credentials of user and password_file were refused.* answered 401") as raised:
        await desk(server, tmp_path, password="wrong-one").send(ticket_notice(number))

    assert "wrong-one" not in str(raised.value)


async def test_a_status_that_the_tracker_lacks_is_said(server: RunningRoundup, tmp_path: Path, number: int) -> None:
    filed = await desk(server, tmp_path).send(ticket_notice(number))

    with pytest.raises(Permanent, match=r"answered 400 .*'finished' is not a status"):
        await desk(server, tmp_path, closed_status="finished").close(filed.reference, news(number))


HOSTILE = "What: <script>alert(1)</script> ' OR id > 0 -- \\\" é\u202e\x00end"


async def test_hostile_text_stays_text(tickets: Ticketing, server: RunningRoundup, number: int) -> None:
    notice: Notice = ticket_notice(number, title="t' OR 1=1 \n\n--", subject="a' OR '1'='1", body=HOSTILE)
    filed = await tickets.send(notice)

    issue = server.issue(filed.reference)
    assert issue["title"] == "t' OR 1=1 --"
    assert server.text(issue["messages"][0]["id"]).splitlines()[0] == (
        "What: <script>alert(1)</script> ' OR id > 0 -- \\\" é??end"
    )
    assert isinstance(mark_of(notice, CELL), Mark)
