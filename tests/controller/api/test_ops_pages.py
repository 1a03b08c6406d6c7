"""Incidents, budgets, playbooks and the audit: as the API gives them, and as a real browser shows them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from playwright.async_api import expect

from controller.api import audit as auditing
from controller.events import NodePlaced, OperatorActed, PlaybooksTrusted, RolloutBegan, kind_of
from controller.policy.freezes import minute_of_week
from controller.policy.playbook import Mode
from controller.policy.rules import BreakerRule, Budget, Freeze, Limit
from controller.policy.scopes import FLEET, Scope
from tests.controller.api.test_pages import HOSTILE, hostile
from tests.support.browser import Browsing, browse, chromium
from tests.support.open_cell import OpenCell, disk_full, off_the_bus, open_cell, rules

__all__ = ["browse", "chromium"]


async def get(http: aiohttp.ClientSession, path: str, *, status: int = 200) -> Any:
    async with http.get(f"/api/v1/{path}") as answer:
        assert answer.status == status, await answer.text()
        return await answer.json()


@pytest.fixture
async def limited(tmp_path: Path) -> Any:
    """A cell of four nodes in a rack of which one may be out, with a breaker for each rack and a freeze."""
    whole_week = Freeze(Scope("pool", "prod"), "the release", weekly_begins=0, weekly_ends=minute_of_week("Sun 23:59"))
    more = replace(
        rules(nodes=3),
        limits=(Limit(Scope("rack"), Budget(nodes=1), "one power feed"),),
        breakers=(BreakerRule(Scope("rack"), Budget(nodes=3), window_s=600.0, cooldown_s=60.0),),
        freezes=(whole_week,),
        modes={"pool.prod": Mode.ASK},
    )
    async with open_cell(tmp_path, more) as opened:
        await opened.add_nodes("n1", "n2", "n3", "n4")
        await opened.tell(*(NodePlaced(f"n{n}", {"rack": ["r1"]}) for n in range(1, 4)))
        await opened.tell(NodePlaced("n4", {"pool": ["prod"]}))
        yield opened


async def test_what_holds_plans_back_is_shown_where_it_does(limited: OpenCell) -> None:
    await limited.nodes.find("n1", off_the_bus())
    await limited.until_kept_out("n1")
    await limited.nodes.find("n2", off_the_bus())
    await limited.until("n2", "waiting")
    await limited.tell(OperatorActed("pause", "n3", "alice", "a visit"))
    async with aiohttp.ClientSession(limited.url) as http:
        shown = await get(http, "budgets")
    assert [(row["scope"], row["out"], row["limit"], row["held"]) for row in shown["budgets"]] == [
        ("fleet", 1, 3, ["n1"]),
        ("rack=r1", 1, 1, ["n1"]),
    ]
    assert shown["budgets"][1]["because"] == "one power feed"
    (breaker,) = shown["breakers"]
    assert (breaker["scope"], breaker["state"], breaker["taken"], breaker["limit"]) == ("rack=r1", "closed", 1, 3)
    assert shown["pauses"] == [{"scope": "n3", "by": "alice: a visit"}]
    assert [(row["scope"], row["in_force"]) for row in shown["freezes"]] == [("pool=prod", True)]
    (waiting,) = shown["waiting"]
    assert (waiting["incident"]["node"], waiting["for_what"]) == ("n2", "budget of rack r1")
    assert shown["more_waiting"] == 0


async def test_an_open_breaker_says_what_closes_it(tmp_path: Path) -> None:
    breaker = BreakerRule(FLEET, Budget(nodes=1), window_s=600.0, cooldown_s=60.0)
    async with open_cell(tmp_path, replace(rules(nodes=3), breakers=(breaker,))) as opened:
        await opened.add_nodes("n1", "n2")
        await opened.nodes.find("n1", off_the_bus())
        await opened.until_kept_out("n1")
        await opened.nodes.find("n2", off_the_bus())
        await opened.until("n2", "waiting")
        async with aiohttp.ClientSession(opened.url) as http:
            (shown,) = (await get(http, "budgets"))["breakers"]
    assert (shown["state"], shown["taken"], shown["incident_id"]) == ("open", 1, "inc-000003")
    assert shown["closes"] == "After a cool-down of 60 s one incident goes first, and how that ends decides."


async def test_playbooks_are_listed_in_the_order_in_which_they_answer(limited: OpenCell) -> None:
    await limited.nodes.find("n1", off_the_bus())
    await limited.until("n1", "running")
    books = limited.cell.rules.playbooks
    async with aiohttp.ClientSession(limited.url) as http:
        shown = await get(http, "playbooks")
        assert [row["name"] for row in shown] == [b.name for b in sorted(books, key=lambda b: (b.precedence, b.name))]
        (lost,) = [row for row in shown if row["name"] == "gpu_lost"]
        assert (lost["open"], lost["ended"], lost["mode"], lost["tried"]) == (1, {}, "act", False)
        one = await get(http, "playbooks/gpu_lost")
        assert one["row"] == lost
        assert one["modes"] == [{"pool": "prod", "mode": "ask", "because": "setting pool.prod"}]
        assert [step["verb"] for step in one["steps"]][:2] == ["cordon", "drain"]
        assert [row["id"] for row in one["incidents"]] == ["inc-000001"]
        assert (await get(http, "playbooks/gpu_losst", status=404))["hint"] == "did you mean gpu_lost?"


async def test_the_audit_tells_acts_from_decisions_and_goes_back_to_the_beginning(
    cell: OpenCell, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auditing, "MOST_ENTRIES", 3)
    await cell.nodes.find("n3", off_the_bus())
    await cell.until_step("n3", "probation")
    await cell.tell(OperatorActed("pause", "fleet", "alice", "a visit"), OperatorActed("resume", "fleet", "bob", ""))
    people = await get(http, "audit?what=people")
    assert [(row["by"], row["verb"]) for row in people["entries"]] == [("bob", "resume"), ("alice", "pause")]
    assert [row["by"] for row in (await get(http, "audit?by=alice"))["entries"]] == ["alice"]
    (opened,) = (await get(http, "audit?what=decisions&node=n3&verb=opened"))["entries"]
    assert opened["entry"]["kind"] == "incident.opened" and opened["entry"]["inputs"]
    seen, before = list[int](), ""
    while True:
        page = await get(http, f"audit?{before}")
        seen += [row["entry"]["event_id"] for row in page["entries"]]
        if page["before"] is None:
            break
        before = f"before={page['before']}"
    assert seen == sorted(set(seen), reverse=True)
    log = await cell.cell.log.timeline(limit=10_000)
    assert seen == [entry.event_id for entry in reversed(log) if kind_of(entry.event) in auditing.KINDS[""]]


async def test_the_audit_turns_no_empty_pages_where_entries_were_deleted(
    cell: OpenCell, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auditing, "STRETCH", 2)
    monkeypatch.setattr(auditing, "MOST_STRETCHES", 1)
    await cell.tell(*[OperatorActed("pause", f"node=n{number % 4}", "alice", "a visit") for number in range(40)])
    last = cell.cell.belief.last_event_id
    cell.cell.log.delete_events(through=last - 4, before=cell.clock() + 1.0, keep_incidents=frozenset(), limit=last)
    cell.front.store_use = lambda: {"name": "", "used_bytes": 0, "events": 4, "deleted_through": last - 4}

    first = await get(http, "audit?by=alice")
    second = await get(http, f"audit?by=alice&before={first['before']}")

    assert [len(page["entries"]) for page in (first, second)] == [2, 2]
    assert (second["before"], second["looked_through"]) == (None, 1)


@pytest.mark.parametrize("query", ["what=all", "before=x", "before=0", "before=-1"])
async def test_a_filter_that_is_none_is_refused(http: aiohttp.ClientSession, query: str) -> None:
    assert (await get(http, f"audit?{query}", status=422))["field"] == query.partition("=")[0]


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("/incidents?state=gone", 422),
        ("/incidents?page=0", 422),
        ("/incidents?page=x", 422),
        ("/incidents?colour=red", 400),
        ("/budgets?colour=red", 400),
        ("/audit?what=all", 422),
        ("/playbooks/none", 404),
    ],
)
async def test_pages_refuse_what_they_do_not_know(http: aiohttp.ClientSession, address: str, status: int) -> None:
    async with http.get(address, headers={"Accept": "text/html"}) as answer:
        assert (answer.status, answer.content_type) == (status, "text/html")


async def test_nothing_anybody_says_becomes_markup(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    await hostile(cell)
    for address in ("/incidents", "/budgets", "/audit", "/audit?by=%3Cscript%3E", "/incidents?text=%3Cscript%3E"):
        async with http.get(address, headers={"Accept": "text/html"}) as answer:
            assert answer.status == 200
            assert HOSTILE not in await answer.text()


async def test_incidents_are_narrowed_and_followed_live(cell: OpenCell, browse: Browsing) -> None:
    await cell.nodes.find("n3", disk_full())
    await cell.until("n3", "waiting")
    page = await browse(f"{cell.url}/incidents")
    await expect(page.page.locator("tbody tr")).to_have_count(1)
    await cell.nodes.find("n2", off_the_bus())
    await expect(page.page.locator("tbody tr")).to_have_count(2)
    await page.page.get_by_role("textbox", name="Node").fill("n2")
    await page.page.keyboard.press("Enter")
    await expect(page.page.locator("tbody tr")).to_have_count(1)
    assert page.page.url == f"{cell.url}/incidents?node=n2"
    await page.page.get_by_role("link", name="closed", exact=True).click()
    await expect(page.page.locator(".empty")).to_have_text("No incident fits.")
    assert page.complaints == []


async def test_a_pause_is_ended_from_the_page_of_budgets(cell: OpenCell, browse: Browsing) -> None:
    await cell.tell(OperatorActed("pause", "n3", "alice", "a visit"))
    page = await browse(f"{cell.url}/budgets")
    await page.page.locator("#pauses").get_by_role("button", name="Resume").click()
    await page.page.get_by_label("Why (goes into the log)").fill("the visit is over")
    await page.page.locator("#act-do").click()
    await expect(page.page.locator("#pauses .empty")).to_be_visible()
    assert not cell.cell.belief.pauses
    assert page.complaints == []


async def test_a_rollout_is_promoted_from_the_page_of_its_playbook(tmp_path: Path, browse: Browsing) -> None:
    book = rules().playbooks[0]
    changed = replace(book, digest="9c1d" * 4, summary="Another text.")
    async with open_cell(tmp_path, replace(rules(), playbooks=(changed,))) as opened:
        await opened.add_nodes("n1")
        await opened.tell(PlaybooksTrusted([book], "so."), RolloutBegan(changed, "so."))
        page = await browse(f"{opened.url}/playbooks/{book.name}")
        await page.page.get_by_role("button", name="Promote").click()
        await page.page.locator("#act-do").click()
        await expect(page.page.locator("#rollout")).to_have_count(0)
        assert not opened.cell.belief.rollouts.changed
        assert page.complaints == []


async def test_the_audit_of_a_person_is_a_link(cell: OpenCell, browse: Browsing) -> None:
    await cell.tell(OperatorActed("pause", "fleet", "alice", "a visit"))
    page = await browse(f"{cell.url}/audit?what=people&by=alice")
    await expect(page.page.locator(".audit li")).to_have_count(1)
    await expect(page.page.locator(".audit .badge")).to_have_text("alice")
    await page.page.locator("#kinds").get_by_role("link", name="all").click()
    assert page.page.url == f"{cell.url}/audit?by=alice"
