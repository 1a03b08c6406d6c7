"""Signing in with a real browser."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from playwright.async_api import expect

from controller.access.roles import Role
from controller.access.tokens import changing
from tests.support.browser import Browsing, browse, chromium
from tests.support.open_cell import OpenCell, disk_full, open_cell
from tests.support.tokens import guarded, make_token

__all__ = ["browse", "chromium"]


@pytest.fixture
async def cell(tmp_path: Path) -> AsyncIterator[OpenCell]:
    """A cell with n1 and n2 that asks for tokens."""
    async with open_cell(tmp_path, access=guarded(tmp_path / "access-tokens.json")) as opened:
        await opened.add_nodes("n1", "n2")
        yield opened


async def test_a_person_signs_in_acts_and_signs_out(cell: OpenCell, browse: Browsing, tmp_path: Path) -> None:
    token = make_token(tmp_path / "access-tokens.json", "alice", Role.OPERATOR)
    opened = await browse(f"{cell.url}/nodes/n1")
    page = opened.page
    await expect(page).to_have_title("Sign in · fleetmend")
    await page.fill("#token", "fmt_00000000_wrong")
    await page.press("#token", "Enter")
    await expect(page.locator("#failure")).to_contain_text("has expired or was revoked")
    await page.fill("#token", token)
    await page.click("button[type=submit]")
    await page.wait_for_url(f"{cell.url}/nodes/n1")
    await expect(page.locator("#account")).to_have_text("alice")
    assert await opened.evaluate("document.cookie") == ""
    await page.click("html[data-ready] button[data-act=cordon]")
    await page.click("#act-do")
    await cell.until_true(lambda: "n1" in cell.scheduler.held)
    await page.click("#sign-out")
    await page.wait_for_url(f"{cell.url}/login")
    await page.goto(f"{cell.url}/nodes/n1")
    await expect(page.locator("#token")).to_be_visible()
    assert all("401" in each for each in opened.complaints), opened.complaints


async def test_what_a_person_may_no_more_is_said_where_it_was_asked(
    cell: OpenCell, browse: Browsing, tmp_path: Path
) -> None:
    file = tmp_path / "access-tokens.json"
    token = make_token(file, "bob", Role.OPERATOR)
    page = (await browse(f"{cell.url}/login?next=/nodes/n1")).page
    await page.fill("#token", token)
    await page.click("button[type=submit]")
    await page.click("html[data-ready] button[data-act=cordon]")
    with changing(file) as tokens:
        tokens[0] = msgspec.structs.replace(tokens[0], roles=[Role.VIEWER])
    await page.click("#act-do")
    await expect(page.locator("#act-failure")).to_contain_text("it needs the role operator")


@pytest.mark.parametrize(
    ("role", "may", "may_not"),
    [
        (Role.VIEWER, [], ["cordon", "pause", "approve", "abort"]),
        (Role.OPERATOR, ["cordon", "pause", "abort"], ["approve"]),
        (Role.ADMIN, ["cordon", "pause", "abort"], ["approve"]),
        (Role.APPROVER, ["approve"], ["cordon", "pause", "abort"]),
    ],
)
async def test_a_page_offers_what_its_reader_may(
    cell: OpenCell, browse: Browsing, tmp_path: Path, role: Role, may: list[str], may_not: list[str]
) -> None:
    token = make_token(tmp_path / "access-tokens.json", "bob", role)
    await cell.nodes.find("n2", disk_full())
    incident = await cell.until("n2", "waiting")
    page = (await browse(f"{cell.url}/login?next=/nodes/n1")).page
    await page.fill("#token", token)
    await page.click("button[type=submit]")
    await page.wait_for_url(f"{cell.url}/nodes/n1")
    offered = set()
    for address in ("/nodes/n1", f"/incidents/{incident.id}"):
        await page.goto(f"{cell.url}{address}")
        await expect(page.locator("html[data-may]")).to_be_attached()
        for act in (*may, *may_not):
            if await page.locator(f"button[data-act={act}]").first.is_visible():
                offered.add(act)
    assert offered == set(may)


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:x()"])
async def test_signing_in_leads_to_no_other_site(cell: OpenCell, browse: Browsing, tmp_path: Path, target: str) -> None:
    token = make_token(tmp_path / "access-tokens.json", "alice", Role.VIEWER)
    page = (await browse(f"{cell.url}/login?next={target}")).page
    await page.fill("#token", token)
    await page.click("button[type=submit]")
    await page.wait_for_url(f"{cell.url}/")


async def test_a_page_that_is_open_asks_to_sign_in_again_when_the_token_is_revoked(
    cell: OpenCell, browse: Browsing, tmp_path: Path
) -> None:
    file = tmp_path / "access-tokens.json"
    token = make_token(file, "alice", Role.VIEWER)
    page = (await browse(f"{cell.url}/login?next=/nodes/n1")).page
    await page.fill("#token", token)
    await page.click("button[type=submit]")
    await page.wait_for_url(f"{cell.url}/nodes/n1")
    await page.wait_for_function("() => document.body.classList.contains('streaming')")
    with changing(file) as tokens:
        tokens.clear()
    await cell.hang_up()
    await cell.answer()
    await page.wait_for_url(f"{cell.url}/login?next=%2Fnodes%2Fn1")
