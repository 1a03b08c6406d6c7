"""What reaches the whole fleet takes two people, whoever asks, and however often one of them says yes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from playwright.async_api import expect

from controller.access.roles import Role
from controller.api.proposals import VALID_S
from controller.cell import Cell
from controller.events import ActCarried, ActLapsed, OperatorActed
from controller.policy.scopes import FLEET
from controller.store.sqlite import SqliteLog
from tests.support.browser import Browsing, browse, chromium
from tests.support.open_cell import OpenCell, open_cell, rules
from tests.support.tokens import bearer, guarded, make_token

__all__ = ["browse", "chromium"]

RESUME = "/api/v1/resume"
PEOPLE: dict[str, tuple[Role, ...]] = {
    "olga": (Role.OPERATOR,),
    "oscar": (Role.OPERATOR, Role.APPROVER),
    "anna": (Role.APPROVER,),
    "bert": (Role.APPROVER,),
    "root": (Role.ADMIN,),
}


@dataclass(slots=True)
class Team:
    """A paused fleet and the people who look after it."""

    cell: OpenCell
    http: aiohttp.ClientSession
    tokens: dict[str, str]

    async def ask(self, who: str, path: str, **body: Any) -> tuple[int, dict[str, Any]]:
        """Have somebody do something; return the status and the answer."""
        async with self.http.post(path, json=body, headers=bearer(self.tokens[who])) as answer:
            return answer.status, await answer.json()

    async def propose(self, who: str = "olga") -> str:
        """Have somebody ask for the fleet to be resumed; return the proposal."""
        status, answer = await self.ask(who, RESUME, scope="fleet", because="it is over")
        assert status == 200 and answer["text"].startswith("Nothing is done yet"), answer
        return str(answer["proposal_id"])

    async def agree(self, who: str, name: str) -> int:
        """Have somebody say yes."""
        return (await self.ask(who, f"/api/v1/proposals/{name}/agree", because="I looked"))[0]

    @property
    def is_paused(self) -> bool:
        """Whether the fleet is."""
        return FLEET in self.cell.cell.belief.pauses


@pytest.fixture
async def team(tmp_path: Path) -> AsyncIterator[Team]:
    """A fleet of n1 and n2 that one person has paused by themselves."""
    file = tmp_path / "access-tokens.json"
    tokens = {name: make_token(file, name, *roles) for name, roles in PEOPLE.items()}
    async with open_cell(tmp_path, access=guarded(file, alone=False)) as cell:
        await cell.add_nodes("n1", "n2")
        async with aiohttp.ClientSession(cell.url) as http:
            found = Team(cell, http, tokens)
            assert (await found.ask("olga", "/api/v1/pause", scope="fleet"))[0] == 200
            assert found.is_paused
            yield found


async def test_two_approvers_resume_the_fleet_for_an_operator(team: Team) -> None:
    name = await team.propose()
    assert team.is_paused
    assert await team.agree("anna", name) == 200
    assert team.is_paused
    assert await team.agree("bert", name) == 200
    assert not team.is_paused
    entries = [entry.event for entry in await team.cell.front.back(before=10_000, after=0, kinds=["act.carried"])]
    (carried,) = entries
    assert isinstance(carried, ActCarried)
    assert carried.act == OperatorActed("resume", "fleet", "olga", "it is over")
    assert (carried.agreed_by, carried.reason.because) == (
        ["anna", "bert"],
        "olga asked: resume fleet; anna and bert said yes.",
    )


async def test_an_approver_who_asks_is_one_of_the_two(team: Team) -> None:
    name = await team.propose("oscar")
    assert await team.agree("oscar", name) == 409
    assert team.is_paused
    assert await team.agree("anna", name) == 200
    assert not team.is_paused


async def test_one_person_is_never_two(team: Team) -> None:
    name = await team.propose()
    assert [await team.agree("anna", name) for _ in range(3)] == [200, 409, 409]
    other = make_token(_file(team), "anna", Role.APPROVER)
    team.tokens["anna again"] = other
    assert await team.agree("anna again", name) == 409
    assert team.is_paused


def _file(team: Team) -> Path:
    door: Any = team.cell.access.door if team.cell.access else None
    found: Path = door.tokens.path
    return found


async def test_who_is_no_approver_says_no_yes(team: Team) -> None:
    name = await team.propose()
    assert [await team.agree(who, name) for who in ("olga", "root")] == [403, 403]
    assert team.is_paused


async def test_asking_twice_makes_no_second_proposal(team: Team) -> None:
    name = await team.propose()
    status, answer = await team.ask("oscar", RESUME, scope="fleet")
    assert (status, name in answer["hint"]) == (409, True)


async def test_what_is_taken_back_or_too_old_is_not_done(team: Team) -> None:
    name = await team.propose()
    assert (await team.ask("oscar", f"/api/v1/proposals/{name}/disagree"))[0] == 200
    assert await team.agree("anna", name) == 404
    late = await team.propose()
    assert await team.agree("anna", late) == 200
    team.cell.clock.now += VALID_S
    await team.cell.until_true(lambda: not team.cell.cell.belief.proposals)
    assert await team.agree("bert", late) == 404
    assert team.is_paused
    lapsed = [entry.event for entry in await team.cell.front.back(before=10_000, after=0, kinds=["act.lapsed"])]
    assert [event.proposal_id for event in lapsed if isinstance(event, ActLapsed)] == [late]


async def test_one_part_of_the_fleet_needs_one_person(team: Team) -> None:
    assert (await team.ask("olga", "/api/v1/pause", scope="n1"))[0] == 200
    status, answer = await team.ask("olga", RESUME, scope="n1")
    assert (status, answer["text"], answer["proposal_id"]) == (200, "n1 is resumed.", None)


async def test_a_check_or_a_driver_may_be_the_whole_fleet(team: Team) -> None:
    assert (await team.ask("olga", "/api/v1/pause", scope="check=gpu.xid"))[0] == 200
    _, answer = await team.ask("olga", RESUME, scope="check=gpu.xid")
    assert answer["proposal_id"]


async def test_a_yes_that_was_said_survives_a_restart(team: Team, tmp_path: Path) -> None:
    name = await team.propose()
    assert await team.agree("anna", name) == 200
    again = Cell(SqliteLog(tmp_path / "events.sqlite"), rules())
    again.recall()
    assert list(again.belief.proposals[name].agreed) == ["anna"]
    again.log.close()


async def test_the_audit_names_everybody(team: Team) -> None:
    name = await team.propose()
    await team.agree("anna", name)
    await team.agree("bert", name)
    async with team.http.get("/api/v1/audit?what=people", headers=bearer(team.tokens["olga"])) as answer:
        rows = (await answer.json())["entries"]
    newest = [(row["by"], row["verb"]) for row in rows[:3]]
    assert newest == [("bert", "agreed"), ("anna", "agreed"), ("olga", "proposed")]


async def test_on_the_page_two_people_agree(team: Team, browse: Browsing) -> None:
    name = await team.propose()

    found = team.cell.cell.belief.proposals[name]

    async def until_known(who: str) -> None:
        await team.cell.until_true(lambda: who in found.agreed)

    for who in ("anna", "bert"):
        page = (await browse(f"{team.cell.url}/login?next=/budgets")).page
        await page.fill("#token", team.tokens[who])
        await page.click("button[type=submit]")
        await page.click(f"html[data-ready] #{name} button[data-act=agree]")
        await page.click("#act-do")
        await until_known(who)
    await team.cell.until_true(lambda: not team.is_paused)


async def test_the_page_says_that_an_act_waits(team: Team, browse: Browsing) -> None:
    page = (await browse(f"{team.cell.url}/login?next=/")).page
    await page.fill("#token", team.tokens["olga"])
    await page.click("button[type=submit]")
    await page.click("html[data-ready] button[data-act=resume]")
    await page.click("#act-do")
    await expect(page.locator("#act-text")).to_contain_text("Nothing is done yet", timeout=20_000)
    assert team.is_paused
