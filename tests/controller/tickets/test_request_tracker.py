"""Tickets in a real Request Tracker 5."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from controller.adapters import Answer, Filed, Following, Heard, Listening, Notifier
from controller.errors import Permanent
from controller.sections.tickets.request_tracker import RequestTrackerSection
from controller.tickets.marks import comment_mark, mark_of
from controller.tickets.request_tracker import from_section
from controller.tickets.ticketing import Ticketing
from tests.support.request_tracker import MARK_FIELD, PASSWORD, RunningTracker, running_request_tracker
from tests.support.ticket_notices import CELL, news, ticket_notice

NUMBERS = itertools.count(100)


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningTracker]:
    with running_request_tracker(tmp_path_factory.mktemp("rt")) as running:
        yield running


@pytest.fixture
def number() -> int:
    """An incident that no other test has."""
    return next(NUMBERS)


def desk(tracker: RunningTracker, folder: Path, *, token: str = "", **changed: object) -> Ticketing:
    file = folder / "token"
    file.write_text(token or tracker.token)
    file.chmod(0o600)
    section = {
        "kind": "request_tracker",
        "url": tracker.url,
        "token_file": file,
        "queue": "Fleet",
        "queues": {"datacentre": "Datacentre"},
        "priorities": {"critical": 80, "info": 0},
        "fields": {"serial": "Serial"},
        "mark_field": MARK_FIELD,
    }
    return from_section(RequestTrackerSection.model_validate({**section, **changed}), CELL)


@pytest.fixture
def tickets(tracker: RunningTracker, tmp_path: Path) -> Ticketing:
    return desk(tracker, tmp_path)


async def test_a_ticket_has_all_that_its_notice_says(tickets: Ticketing, tracker: RunningTracker, number: int) -> None:
    filed = await tickets.send(ticket_notice(number))

    made = tracker.ask("GET", f"/ticket/{filed.reference}")
    assert filed == Filed(filed.reference, f"{tracker.url}/Ticket/Display.html?id={filed.reference}")
    assert (made["Subject"], made["Priority"], made["Status"]) == ("n2: A GPU has fallen off the bus.", "80", "new")
    assert tracker.ask("GET", f"/queue/{made['Queue']['id']}")["Name"] == "Datacentre"
    fields = {each["name"]: each["values"] for each in made["CustomFields"]}
    assert fields == {"Serial": ["1654321"], MARK_FIELD: [mark_of(ticket_notice(number), CELL).text]}
    (entry,) = tracker.entries(filed.reference)
    said = entry["Content"].splitlines()
    assert "What: Xid 79 on GPU-3 at 90 °C." in said
    assert {"Serial: 1654321", "Slot: 3", "Port: swp7", "Cable: C-118", "Node serial: SN-0002"} <= set(said)
    assert "Evidence 1: https://fleetmend.example/evidence/b1?part=3&x=a%28b%29" in said
    assert "  GPU has fallen off the bus." in said


async def test_the_adapter_is_all_that_a_desk_asks_for(tickets: Ticketing) -> None:
    notifier: Notifier = tickets
    assert isinstance(notifier, Following)
    assert isinstance(notifier, Listening)
    assert tickets.name == "request_tracker"
    assert tickets.repeatable


@pytest.mark.parametrize("mark_field", [MARK_FIELD, ""])
async def test_sending_again_makes_no_second_one(
    tracker: RunningTracker, tmp_path: Path, number: int, mark_field: str
) -> None:
    first = await desk(tracker, tmp_path, mark_field=mark_field).send(ticket_notice(number))
    again = desk(tracker, tmp_path, mark_field=mark_field)
    same = await again.send(ticket_notice(number))
    other_key = await again.send(replace(ticket_notice(number), key="inc-999/ticket/1"))

    assert same == other_key == replace(first, found=True)


async def test_a_mark_in_the_subject_leaves_the_title_whole_where_it_can(
    tracker: RunningTracker, tmp_path: Path, number: int
) -> None:
    notice = ticket_notice(number, title="t" * 400)
    filed = await desk(tracker, tmp_path, mark_field="").send(notice)

    subject = tracker.ask("GET", f"/ticket/{filed.reference}")["Subject"]
    assert len(subject.encode()) == 200
    assert subject.endswith(f"t… [{mark_of(notice, CELL).text}]")


async def test_another_cell_with_the_same_numbers_has_tickets_of_its_own(
    tickets: Ticketing, tracker: RunningTracker, tmp_path: Path, number: int
) -> None:
    first = await tickets.send(ticket_notice(number))
    other = replace(desk(tracker, tmp_path), cell="other")

    assert (await other.send(ticket_notice(number))).reference != first.reference


async def test_news_are_told_once(tickets: Ticketing, tracker: RunningTracker, number: int) -> None:
    filed = await tickets.send(ticket_notice(number))
    await tickets.update(filed.reference, news(number))
    await tickets.update(filed.reference, news(number))
    await tickets.update(filed.reference, news(number, 2, "Sent to the vendor."))

    _, *told = tracker.entries(filed.reference)
    assert [entry["Content"].splitlines()[0] for entry in told] == ["The reboot did not help.", "Sent to the vendor."]
    assert told[0]["Subject"] == f"[{comment_mark(news(number), CELL)}]"


async def test_a_technician_who_closes_it_is_heard_with_their_words(
    tickets: Ticketing, tracker: RunningTracker, number: int
) -> None:
    filed, other = await tickets.send(ticket_notice(number)), await tickets.send(ticket_notice(next(NUMBERS)))
    assert await tickets.look([filed.reference]) == {filed.reference: Answer(Heard.OPEN)}

    tracker.say(filed.reference, "Reseated the GPU\nand its cable.", Status="resolved")

    assert await tickets.look([filed.reference, other.reference, "987654", "no number"]) == {
        filed.reference: Answer(Heard.CLOSED, "terry", "Reseated the GPU and its cable."),
        other.reference: Answer(Heard.OPEN),
        "987654": Answer(Heard.GONE),
        "no number": Answer(Heard.GONE),
    }


async def test_news_open_again_what_was_closed(tickets: Ticketing, tracker: RunningTracker, number: int) -> None:
    filed = await tickets.send(ticket_notice(number))
    tracker.ask("PUT", f"/ticket/{filed.reference}", {"Status": "resolved"})

    await tickets.update(filed.reference, news(number, text="It is back: Xid 79 again."))

    assert await tickets.look([filed.reference]) == {filed.reference: Answer(Heard.OPEN)}
    assert tracker.ask("GET", f"/ticket/{filed.reference}")["Status"] == "open"


async def test_closing_tells_why_and_stays(tickets: Ticketing, tracker: RunningTracker, number: int) -> None:
    filed = await tickets.send(ticket_notice(number))
    await tickets.close(filed.reference, news(number, text="Verified; n2 is back."))
    await tickets.close(filed.reference, news(number, text="Verified; n2 is back."))

    _, told = tracker.entries(filed.reference)
    assert told["Content"].startswith("Verified; n2 is back.")
    assert await tickets.look([filed.reference]) == {
        filed.reference: Answer(
            Heard.CLOSED,
            "fleetmend",
            f"Verified; n2 is back. Incident: http://127.0.0.1:8642/incidents/inc-{number:06}"
            " Approve: http://127.0.0.1:8642/approve/1",
        )
    }


async def test_a_new_problem_with_a_closed_subject_gets_a_ticket_of_its_own(tickets: Ticketing, number: int) -> None:
    first = await tickets.send(ticket_notice(number))
    await tickets.close(first.reference, news(number))
    second = await tickets.send(replace(ticket_notice(number), key="inc-999/ticket/1", follows=first.reference))

    assert not second.found
    assert second.reference != first.reference
    assert await tickets.send(ticket_notice(number)) == replace(first, found=True), "its own key is the closed one's"


async def test_one_that_was_deleted_is_gone(tickets: Ticketing, tracker: RunningTracker, number: int) -> None:
    filed = await tickets.send(ticket_notice(number))
    tracker.ask("DELETE", f"/ticket/{filed.reference}")

    assert await tickets.look([filed.reference]) == {filed.reference: Answer(Heard.GONE)}
    await tickets.close(filed.reference, news(number))
    with pytest.raises(Permanent, match=f"has no {filed.reference} any more, or hides it from this account"):
        await tickets.update(filed.reference, news(number))


async def test_a_wrong_token_is_said(tracker: RunningTracker, tmp_path: Path, number: int) -> None:
    with pytest.raises(Permanent, match=r"the credentials of token_file were refused.* answered 401") as raised:
        await desk(tracker, tmp_path, token="1-2-0123456789abcdef").send(ticket_notice(number))

    assert "0123456789abcdef" not in str(raised.value)


async def test_an_account_with_a_password_does_too(tracker: RunningTracker, tmp_path: Path, number: int) -> None:
    file = tmp_path / "password"
    file.write_text(PASSWORD)
    file.chmod(0o600)
    tickets = desk(tracker, tmp_path, token_file=None, user="fleetmend", password_file=file)

    assert not (await tickets.send(ticket_notice(number))).found


async def test_a_queue_that_is_not_there_is_said(tracker: RunningTracker, tmp_path: Path, number: int) -> None:
    tickets = desk(tracker, tmp_path, queues={}, queue="Nowhere")

    with pytest.raises(Permanent, match=r"lack a right for queue Nowhere: .*No permission to create tickets"):
        await tickets.send(ticket_notice(number))


async def test_a_yes_that_leaves_out_the_mark_is_said(tracker: RunningTracker, tmp_path: Path, number: int) -> None:
    with pytest.raises(Permanent, match="mark_field = 'Unknown' must be a custom field of its queue"):
        await desk(tracker, tmp_path, mark_field="Unknown").send(ticket_notice(number))


async def test_a_yes_that_does_nothing_is_said(tracker: RunningTracker, tmp_path: Path, number: int) -> None:
    filed = await desk(tracker, tmp_path).send(ticket_notice(number))

    with pytest.raises(Permanent, match=r"answered yes and \d+ is not closed: it is 'new'\. It said: .*isn't a valid"):
        await desk(tracker, tmp_path, closed_status="finished").close(filed.reference, news(number))
    with pytest.raises(Permanent, match=r"is not closed: it is 'new'\. It said: .*Permission Denied"):
        await desk(tracker, tmp_path, token=tracker.stranger).close(filed.reference, news(number))


async def test_hostile_text_stays_text(tickets: Ticketing, tracker: RunningTracker, number: int) -> None:
    body = "What: <script>alert(1)</script> ' OR id > 0 -- \\\" é\u202e\x00end"
    filed = await tickets.send(ticket_notice(number, title="t' OR 1=1 \n\n--", subject="a' OR '1'='1", body=body))

    assert tracker.ask("GET", f"/ticket/{filed.reference}")["Subject"] == "t' OR 1=1 --"
    assert tracker.entries(filed.reference)[0]["Content"].splitlines()[0] == (
        "What: <script>alert(1)</script> ' OR id > 0 -- \\\" é??end"
    )
