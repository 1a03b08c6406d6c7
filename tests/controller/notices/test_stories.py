"""Tickets and pages of a whole cell: routed, joined, followed, closed, reopened, escalated, and in nobody's way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from controller.adapters import Answer, Heard
from controller.errors import Permanent, Retryable
from controller.events import EvidenceStored, NodePlaced
from controller.notice_events import NoticeFailed, NoticeHeard
from controller.notices.choosing import Destinations
from controller.policy.noticing.due import Act, Due
from controller.policy.noticing.routing import DestinationRule
from controller.policy.playbook import Clears, Step, Verb
from controller.policy.rules import Budget, Rules
from tests.support.noticing import Mailbox, desk_of, destinations_with
from tests.support.open_cell import OpenCell, gpu_lost_playbook, off_the_bus, open_cell

LOST = replace(
    gpu_lost_playbook(), steps=(Step("cordon", Verb.CORDON, 60.0, attempts=3),), clears=Clears.PERSON, digest="lost"
)
"""People get it as soon as the node is out, and only they end it."""


@dataclass(slots=True)
class Site:
    """A cell with its destinations."""

    cell: OpenCell
    tickets: Mailbox
    pages: Sequence[Mailbox]
    http: aiohttp.ClientSession

    async def break_down(self, node: str, device: str = "") -> None:
        """Have a GPU of a node fall off the bus."""
        finding = off_the_bus(device or f"GPU-of-{node}")
        await self.cell.nodes.find(node, replace(finding, serial=f"serial-{node}-{device}"))

    async def mend(self, node: str) -> None:
        """Have it be there again."""
        await self.cell.nodes.clear(node)

    async def get(self, path: str) -> Any:
        async with self.http.get(path) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def post(self, path: str, **body: str) -> tuple[int, Any]:
        async with self.http.post(path, json=body) as answer:
            return answer.status, await answer.json()

    async def until(self, box: Mailbox, sort: str, count: int = 1) -> None:
        """Wait until so many things of a sort have come."""
        await self.cell.until_true(lambda: len(box.of(sort)) >= count)

    async def until_settled(self, *boxes: Mailbox) -> None:
        """Wait until these have been looked at twice more: between two looks the desk sends what is due."""
        enough = [box.looks + 2 for box in boxes]
        await self.cell.until_true(lambda: all(box.looks >= looks for box, looks in zip(boxes, enough, strict=True)))

    async def until_owed(self, kind: str, *incidents: str) -> None:
        """Wait until the step of each of these incidents goes on without an answer to its letter."""
        owed = self.cell.cell.belief.notices.owed
        await self.cell.until_true(lambda: {key.split()[2] for key in owed if key.split()[0] == kind} >= {*incidents})


@asynccontextmanager
async def site(tmp_path: Path, destinations: Destinations, *, nodes: int = 4) -> AsyncIterator[Site]:
    rules = Rules((LOST,), Budget(nodes=100), breakers=(), domains=())
    async with open_cell(tmp_path, rules, destinations=destinations) as cell:
        await cell.add_nodes(*(f"n{number}" for number in range(1, nodes + 1)))
        (tickets, *_), pages = destinations.tickets.values(), list(destinations.pages.values())
        async with aiohttp.ClientSession(cell.url, headers={"X-Fleetmend-User": "kim"}) as http:
            assert isinstance(tickets, Mailbox)
            yield Site(cell, tickets, [box for box in pages if isinstance(box, Mailbox)], http)


def usual(*pagers: str, **first: Any) -> Destinations:
    """Return one ticket system and these pagers; `first` is the rule of the first of them."""
    rules = [DestinationRule(name, **(first if not number else {})) for number, name in enumerate(pagers)]
    return destinations_with(
        [(Mailbox("jira"), DestinationRule("jira"))], [(Mailbox(rule.name), rule) for rule in rules]
    )


async def test_a_ticket_that_a_technician_closes_has_the_node_verified_and_returned(tmp_path: Path) -> None:
    async with site(tmp_path, usual("duty")) as here:
        await here.break_down("n1")
        await here.cell.until("n1", "handed_over")
        await here.mend("n1")
        here.tickets.stands["JIRA-1"] = Answer(Heard.CLOSED, "ann", "GPU swapped")

        await here.until(here.tickets, "closed")
        await here.until(here.pages[0], "closed")

        incident = await here.get("/api/v1/incidents/inc-000001")
        assert (incident["state"], incident["outcome"]) == ("closed", "returned")
        assert [(n["kind"], n["reference"], n["state"]) for n in incident["notices"]] == [
            ("ticket", "JIRA-1", "closed"),
            ("page", "DUTY-1", "closed"),
        ]
        assert "returned" in here.tickets.of("closed")[0].news
        said = [entry["text"] for entry in incident["timeline"]]
        assert "Ticket JIRA-1 is closed in jira by ann" in said
        assert here.cell.scheduler.held == {}


async def test_a_ticket_is_opened_again_when_what_it_is_about_is_not_mended(tmp_path: Path) -> None:
    async with site(tmp_path, usual("duty")) as here:
        await here.break_down("n1")
        await here.cell.until("n1", "handed_over")
        here.tickets.stands["JIRA-1"] = Answer(Heard.CLOSED, "ann", "reseated it")
        await here.cell.until_true(lambda: here.cell.cell.belief.incidents["inc-000001"].phase == "returning")
        for _ in range(3):
            here.cell.clock.now += 11.0
            await here.cell.tell()
            await asyncio.sleep(0.02)

        await here.until(here.tickets, "updated")

        assert "Still found on fresh readings" in here.tickets.of("updated")[-1].news
        assert here.tickets.stands["JIRA-1"].state is Heard.OPEN
        assert "n1" in here.cell.scheduler.held
        assert len(here.tickets.of("filed")) == len(here.pages[0].of("filed")) == 1


async def test_who_closes_a_ticket_in_a_loop_has_it_verified_a_few_times_and_then_people_decide(tmp_path: Path) -> None:
    async with site(tmp_path, usual("duty")) as here:
        await here.break_down("n1")
        await here.cell.until("n1", "handed_over")
        belief = here.cell.cell.belief
        for _ in range(40):
            here.tickets.stands["JIRA-1"] = Answer(Heard.CLOSED, "bot", "stale")
            looks = here.tickets.looks
            await here.cell.until_true(lambda: here.tickets.looks > looks + 1)  # noqa: B023
            here.cell.clock.now += 400.0
            await here.cell.tell()
            await asyncio.sleep(0.02)
        await here.cell.until_true(lambda: belief.incidents["inc-000001"].closings > 3)
        await here.until(here.pages[0], "updated", 1)

        incident = await here.get("/api/v1/incidents/inc-000001")
        said = [entry["text"] for entry in incident["timeline"] if entry["kind"] == "incident.returning"]
        assert len(said) == 3
        assert incident["next"].startswith("A person must decide: the ticket was closed 4 times")
        assert [n.news.startswith("A person must decide") for n in here.pages[0].of("updated")].count(True) == 1
        assert "n1" in here.cell.scheduler.held

        await here.mend("n1")
        assert (await here.post("/api/v1/incidents/inc-000001/approve"))[0] == 200
        await here.until(here.pages[0], "closed")
        assert len(here.tickets.of("filed")) == len(here.pages[0].of("filed")) == 1


async def test_a_page_that_nobody_acknowledges_goes_to_who_is_next_once(tmp_path: Path) -> None:
    rules = usual("duty", escalate_to="boss", escalate_after_s=900.0)
    boss = DestinationRule("boss", escalation_only=True)
    pages = [(rules.pages["duty"], rules.rules.pages[0]), (Mailbox("boss"), boss)]
    async with site(tmp_path, destinations_with([(Mailbox("jira"), DestinationRule("jira"))], pages)) as here:
        await here.break_down("n1")
        await here.break_down("n2")
        await here.cell.until("n1", "handed_over")
        await here.cell.until("n2", "handed_over")
        assert await here.post("/api/v1/incidents/inc-000002/acknowledge", because="on it") == (200, ANY_ACT)
        here.cell.clock.now += 901.0

        await here.until(here.pages[1], "filed")
        here.cell.clock.now += 4_000.0
        await here.until_settled(here.tickets, *here.pages)

        assert [notice.incident_id for notice in here.pages[1].of("filed")] == ["inc-000001"]
        assert [notice.acknowledged_by for notice in here.pages[0].of("acknowledged")] == ["kim"]
        shown = {n["destination"]: n for n in (await here.get("/api/v1/incidents/inc-000001"))["notices"]}
        assert (shown["duty"]["escalated_to"], shown["boss"]["escalates"]) == ("boss", "duty")


class _AnyAct:
    def __eq__(self, other: object) -> bool:
        return isinstance(other, dict) and "nobody else is paged" in str(other["text"])

    __hash__ = None  # type: ignore[assignment]


ANY_ACT = _AnyAct()


async def test_an_acknowledgement_there_is_one_here_and_everywhere(tmp_path: Path) -> None:
    async with site(tmp_path, usual("duty", "chat")) as here:
        await here.break_down("n1")
        await here.cell.until("n1", "handed_over")
        here.pages[0].stands["DUTY-1"] = Answer(Heard.ACKNOWLEDGED, "ann")

        await here.until(here.pages[1], "acknowledged")

        incident = await here.get("/api/v1/incidents/inc-000001")
        assert incident["acknowledged_by"] == "ann in duty"
        assert "acknowledge" not in incident["acts"]
        assert here.pages[0].of("acknowledged") == []
        status, answer = await here.post("/api/v1/incidents/inc-000001/acknowledge")
        assert (status, answer["event_id"]) == (200, None)


async def test_a_destination_that_hangs_delays_no_page_and_no_uncordon(tmp_path: Path) -> None:
    async with site(tmp_path, usual("duty", "chat")) as here:
        here.tickets.hold()
        here.pages[1].hold()
        await here.break_down("n1")
        await here.cell.until_true(lambda: "n1" in here.cell.scheduler.held)
        await here.cell.until_true(lambda: bool(here.pages[0].of("filed")))

        status, _ = await here.post("/api/v1/nodes/n1/uncordon", because="I need it")
        async with asyncio.timeout(20.0):
            await here.cell.until("n1", "closed")

        assert (status, here.cell.scheduler.held) == (200, {})
        here.tickets.let_go()
        here.pages[1].let_go()
        await here.until(here.tickets, "closed")
        await here.until(here.pages[1], "closed")
        assert here.tickets.sorts() == here.pages[1].sorts() == ["filed", "closed"]


async def test_what_a_destination_does_not_take_is_told_and_sent_later(tmp_path: Path) -> None:
    async with site(tmp_path, usual("duty", "chat")) as here:
        here.tickets.broken = Retryable("jira jira.example answered 503", after_s=0.2)
        here.pages[1].broken = Permanent("chat answered 401")
        await here.break_down("n1")
        await here.cell.until("n1", "handed_over")

        incident = await here.get("/api/v1/incidents/inc-000001")
        failures = {(f["destination"], f["outcome"]): f["because"] for f in incident["notice_failures"]}
        assert failures == {
            ("jira", "retry"): "jira jira.example answered 503",
            ("chat", "permanent"): "chat answered 401",
        }
        assert {step["state"] for step in incident["steps"] if step["verb"] in {"ticket", "page"}} == {"done"}
        errors = (await here.get("/api/v1/status"))["notice_errors"]
        assert errors == {"ticket jira": "jira jira.example answered 503", "page chat": "chat answered 401"}

        here.tickets.broken = here.pages[1].broken = None
        here.cell.clock.now += 4_000.0
        await here.until(here.tickets, "filed")
        await here.until(here.pages[1], "filed")
        assert (await here.get("/api/v1/status"))["notice_errors"] == {}
        assert (await here.get("/api/v1/incidents/inc-000001"))["notice_failures"] == []


@pytest.mark.parametrize("with_next", [True, False])
async def test_a_page_that_is_refused_goes_to_who_is_next_at_once(tmp_path: Path, *, with_next: bool) -> None:
    duty, boss = Mailbox("duty", broken=Permanent("duty answered 403")), Mailbox("boss")
    pages = [
        (duty, DestinationRule("duty", escalate_to="boss" if with_next else "")),
        (boss, DestinationRule("boss", escalation_only=True)),
    ]
    async with site(tmp_path, destinations_with([(Mailbox("jira"), DestinationRule("jira"))], pages)) as here:
        await here.break_down("n1")
        await here.cell.until("n1", "handed_over")
        incident = await here.get("/api/v1/incidents/inc-000001")
        page = next(step for step in incident["steps"] if step["verb"] == "page")
        assert page["state"] == ("done" if with_next else "failed")
        assert "duty answered 403" in page["because"]
        assert len(boss.of("filed")) == with_next


async def test_of_a_storm_few_pages_are_single_and_one_stands_for_the_rest(tmp_path: Path) -> None:
    async with site(tmp_path, usual("duty"), nodes=20) as here:
        for number in range(1, 21):
            await here.cell.tell(NodePlaced(f"n{number}", {"rack": ["r7"]}))
        here.pages[0].hold("filed")
        for number in range(1, 21):
            await here.break_down(f"n{number}")
        await here.until_owed("page", *(f"inc-{number:06}" for number in range(1, 21)))
        here.pages[0].let_go()
        threads = here.cell.cell.belief.notices.threads
        await here.cell.until_true(lambda: sum(len(t.incidents) for t in threads.values() if t.kind == "page") == 20)

        assert len(here.pages[0].of("filed")) == 4
        here.cell.clock.now += 61.0
        await here.until(here.pages[0], "updated")
        assert "17 × gpu_lost, all of them in rack r7" in here.pages[0].of("updated")[-1].news
        shown = (await here.get("/api/v1/incidents/inc-000020"))["notices"][-1]
        assert (shown["reference"], shown["group"], len(shown["incidents"])) == ("DUTY-4", "rack=r7 data-centre", 17)


async def test_a_second_incident_of_a_part_joins_and_a_later_one_names_the_old(tmp_path: Path) -> None:
    async with site(tmp_path, usual("duty")) as here:
        await here.break_down("n1")
        await here.cell.until("n1", "handed_over")
        await here.post("/api/v1/nodes/n1/uncordon")
        await here.until(here.tickets, "closed")
        await here.mend("n1")

        await here.break_down("n1")
        await here.until(here.tickets, "filed", 2)

        first, second = here.tickets.of("filed")
        assert (first.subject, second.subject, second.follows) == (first.subject, first.subject, "JIRA-1")


async def test_an_incident_that_comes_while_the_notice_is_closed_is_not_lost_with_it(tmp_path: Path) -> None:
    async with site(tmp_path, usual("duty")) as here:
        await here.break_down("n1")
        await here.cell.until("n1", "handed_over")
        both = (here.tickets, here.pages[0])
        for box in both:
            box.hold("closed")
        await here.post("/api/v1/nodes/n1/uncordon")
        await here.cell.until("n1", "closed")
        await here.cell.until_true(lambda: all("closed" in box.waiting for box in both))
        await here.mend("n1")

        await here.break_down("n1")
        await here.until_owed("ticket", "inc-000002")
        await here.until_owed("page", "inc-000002")
        assert [len(box.of("filed")) for box in both] == [1, 1]
        for box in both:
            box.let_go()
        await here.cell.until_true(lambda: len(here.cell.cell.belief.notices.of("inc-000002")) == 2)
        await here.until_settled(*both)

        notices = (await here.get("/api/v1/incidents/inc-000002"))["notices"]
        assert [(n["reference"], n["state"]) for n in notices] == [("JIRA-2", "open"), ("DUTY-2", "open")]
        begun_and_ended = [[sort for sort in box.sorts() if sort in {"filed", "closed"}] for box in both]
        assert begun_and_ended == [["filed", "closed", "filed"]] * 2
        assert here.tickets.of("filed")[1].follows == "JIRA-1"


async def test_a_notice_that_got_another_incident_since_its_closing_was_due_stays_open(tmp_path: Path) -> None:
    async with site(tmp_path, usual("duty")) as here:
        await here.break_down("n1")
        await here.cell.until("n1", "handed_over")
        desk = desk_of(here.cell.cell, here.tickets, here.pages[0], here.cell.clock)
        stale = Due(Act.CLOSE, "ticket", "jira", "inc-000001", "inc-000001/ticket/jira/closed/inc-000001", "JIRA-1")

        assert await desk.courier.bring(stale) is None

        assert here.tickets.sorts() == ["filed"]


async def test_a_destination_that_shows_nothing_for_a_moment_ends_no_notice(tmp_path: Path) -> None:
    async with site(tmp_path, usual("duty")) as here:
        await here.break_down("n1")
        await here.cell.until("n1", "handed_over")
        thread = here.cell.cell.belief.notices.threads["ticket jira JIRA-1"]
        here.tickets.stands["JIRA-1"] = Answer(Heard.GONE)
        looks = here.tickets.looks
        await here.cell.until_true(lambda: here.tickets.looks > looks + 3)
        assert thread.heard == "open"

        here.tickets.stands["JIRA-1"] = Answer(Heard.OPEN)
        looks = here.tickets.looks
        await here.cell.until_true(lambda: here.tickets.looks > looks + 1)
        here.cell.clock.now += 601.0
        here.tickets.stands["JIRA-1"] = Answer(Heard.GONE)
        looks = here.tickets.looks
        await here.cell.until_true(lambda: here.tickets.looks > looks + 1)
        assert thread.heard == "open"
        here.cell.clock.now += 601.0
        await here.cell.until_true(lambda: thread.heard == "gone")


@pytest.mark.parametrize("answers", list(permutations(["401", "500", "200"])), ids="-".join)
async def test_what_flips_among_answers_is_sent_once_and_in_nobodys_way(
    tmp_path: Path, answers: tuple[str, ...]
) -> None:
    errors = {"401": Permanent("duty answered 401"), "500": Retryable("duty answered 500"), "200": None}
    async with site(tmp_path, usual("duty", "chat")) as here:
        duty = here.pages[0]
        for number, answer in enumerate(answers, 1):
            duty.broken = errors[answer]
            await here.break_down(f"n{number}")
            await here.cell.until(f"n{number}", "handed_over")
            await here.until(here.pages[1], "filed", number)
            if duty.broken is not None:
                owed = here.cell.cell.belief.notices.owed[f"page duty inc-{number:06}"]
                assert owed.outcome == ("permanent" if answer == "401" else "retry")
        duty.broken = None
        here.cell.clock.now += 4_000.0
        await here.cell.until_true(lambda: not here.cell.cell.belief.notices.owed)

        for box in (duty, here.pages[1], here.tickets):
            assert sorted(n.incident_id for n in box.of("filed")) == ["inc-000001", "inc-000002", "inc-000003"]


async def test_one_reference_for_everything_joins_nothing_that_is_apart(tmp_path: Path) -> None:
    async with site(tmp_path, usual("duty")) as here:
        here.tickets.always = "ok"
        here.tickets.hold("filed")
        await here.break_down("n1")
        await here.break_down("n2")
        await here.cell.until_true(lambda: here.tickets.waiting == ["filed", "filed"])
        here.tickets.let_go()
        for node in ("n1", "n2"):
            await here.cell.until(node, "handed_over")
        await here.cell.until_true(lambda: bool(here.cell.cell.belief.notices.owed))
        here.cell.clock.now += 90_000.0
        await asyncio.sleep(0.1)

        thread = here.cell.cell.belief.notices.threads["ticket jira ok"]
        (owed,) = here.cell.cell.belief.notices.owed.values()
        assert (len(thread.incidents), len(here.tickets.of("filed")), owed.outcome) == (1, 2, "permanent")
        assert owed.given_up
        assert "jira answered with the reference ok, which it gave to " in owed.because
        other = next(i for i in ("inc-000001", "inc-000002") if i not in thread.incidents)
        incident = await here.get(f"/api/v1/incidents/{other}")
        assert [failure["because"] for failure in incident["notice_failures"]] == [owed.because]
        assert len(here.pages[0].of("filed")) == 2


async def test_a_clock_that_is_set_back_keeps_nobody_from_being_heard(tmp_path: Path) -> None:
    async with site(tmp_path, usual("duty", "chat")) as here:
        await here.break_down("n1")
        await here.cell.until("n1", "handed_over")
        assert (await here.post("/api/v1/incidents/inc-000001/acknowledge"))[0] == 200
        await here.until(here.pages[0], "acknowledged")
        await here.cell.tell(EvidenceStored("inc-000001", "n1", "a", 1024, "0" * 64, "https://kept/a"))
        await here.until(here.tickets, "updated")
        await here.mend("n1")

        here.cell.clock.now -= 86_400.0
        here.tickets.stands["JIRA-1"] = Answer(Heard.CLOSED, "ann", "GPU swapped")

        await here.cell.until_true(
            lambda: here.cell.cell.belief.notices.threads["ticket jira JIRA-1"].heard == "closed"
        )
        await here.until(here.tickets, "closed")


async def test_an_answer_that_began_before_what_we_told_is_no_news(tmp_path: Path) -> None:
    async with site(tmp_path, usual("duty")) as here:
        await here.break_down("n1")
        await here.cell.until("n1", "handed_over")
        here.tickets.stands["JIRA-1"] = Answer(Heard.CLOSED, "ann")
        here.tickets.hold("looked")
        await here.cell.until_true(lambda: here.tickets.waiting == ["looked"])
        await here.cell.tell(EvidenceStored("inc-000001", "n1", "a", 1024, "0" * 64, "https://kept/a"))
        await here.until(here.tickets, "updated")

        here.tickets.let_go()
        await here.until_settled(here.tickets)

        said = await here.cell.cell.log.timeline(incident_id="inc-000001")
        assert [entry.event for entry in said if isinstance(entry.event, NoticeHeard)] == []


async def test_words_that_the_log_cannot_hold_end_nothing(tmp_path: Path) -> None:
    async with site(tmp_path, usual("duty", "chat")) as here:
        here.tickets.broken = Retryable(f"jira answered 503 no\udcff\x00{'w' * 100_000}", after_s=0.2)
        here.pages[1].broken = ValueError("\ud800")
        await here.break_down("n1")
        await here.cell.until("n1", "handed_over")
        here.pages[0].stands["DUTY-1"] = Answer(Heard.ACKNOWLEDGED, "a\udcff\nnn", "w" * 100_000)
        await here.cell.until_true(lambda: here.cell.cell.belief.incidents["inc-000001"].acknowledged_at > 0.0)

        incident = await here.get("/api/v1/incidents/inc-000001")
        failures = {f["destination"]: f["because"] for f in incident["notice_failures"]}
        assert failures["jira"].startswith("jira answered 503 no??www")
        assert failures["chat"] == "The adapter of chat crashed: ValueError: ?"
        assert incident["acknowledged_by"] == "a? nn in duty"
        assert len(str(incident)) < 20_000


async def test_a_destination_that_does_not_say_how_its_notices_stand_is_told_of(tmp_path: Path) -> None:
    async with site(tmp_path, usual("duty")) as here:
        await here.break_down("n1")
        await here.cell.until("n1", "handed_over")
        here.tickets.broken = Permanent("jira answered 401")
        await here.cell.until_true(lambda: bool(here.cell.front.overview()["notice_errors"]))
        assert (await here.get("/api/v1/status"))["notice_errors"] == {"ticket jira": "jira answered 401"}
        assert here.cell.cell.belief.incidents["inc-000001"].state == "handed_over"
        here.tickets.broken = None
        await here.cell.until_true(lambda: not here.cell.front.overview()["notice_errors"])


async def test_a_destination_that_left_the_settings_is_not_said_to_take_nothing(tmp_path: Path) -> None:
    async with site(tmp_path, usual("duty")) as here:
        await here.break_down("n1")
        await here.cell.until("n1", "handed_over")
        for name in ("gone", "duty"):
            why = f"{name} is down"
            failed = NoticeFailed("inc-000001", "page", name, "", f"k-{name}", "filed", "retry", why, retry_at=1e12)
            await here.cell.tell(failed)
        assert (await here.get("/api/v1/status"))["notice_errors"] == {"page duty": "duty is down"}


async def test_a_restart_sends_only_what_is_missing_and_under_the_key_that_was_seen(tmp_path: Path) -> None:
    """One pager got the page and the log has it, one may have got it and tells repeats, one may have and does not."""
    sure, blind = Mailbox("sure"), Mailbox("blind", repeatable=False)
    pages = [(box, DestinationRule(box.name)) for box in (Mailbox("known"), sure, blind)]
    tickets = [(Mailbox("jira"), DestinationRule("jira"))]
    async with site(tmp_path, destinations_with(tickets, pages)) as here:
        sure.hold()
        blind.hold()
        await here.break_down("n1")
        incident = await here.cell.until_step("n1", "page")
        await here.until(here.pages[0], "filed")
        intent = incident.intent
        assert intent is not None
        later = desk_of(here.cell.cell, sure, sure, here.cell.clock, destinations=destinations_with(tickets, pages))
        sure.let_go()
        sent = await later.file(intent, resumed=True)
        assert sent is not None and sent.outcome == "in_doubt"
        assert "blind cannot say whether it arrived" in sent.because
        assert {notice.key for notice in sure.of("filed")} == {"inc-000001/page/1"}
        assert len(here.pages[0].of("filed")) == 1 and blind.said == []
        blind.let_go()
        await later.close()
