"""The status page in a real browser: it keeps itself fresh, acts, and says when nobody answers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.controller.api.test_pages import hostile
from tests.support.browser import CHROMIUM, browse
from tests.support.open_cell import OpenCell, disk_full

pytestmark = pytest.mark.skipif(
    not CHROMIUM and os.environ.get("CI") != "true", reason="no Chromium on this machine: apt-get install chromium"
)


async def test_a_change_appears_without_reloading_and_focus_stays(cell: OpenCell, tmp_path: Path) -> None:
    async with browse(tmp_path / "profile", f"{cell.url}/") as page:
        await page.evaluate("document.querySelector('#tile-n5 a').focus(); window.before = document.activeElement; 1")
        await cell.nodes.find("n3", disk_full())
        await cell.until("n3", "waiting")
        await page.until("document.querySelector('#tile-n3 .doing').textContent === 'waits: approval'")
        assert await page.evaluate("document.activeElement === window.before && window.before.isConnected")
        assert await page.evaluate("document.querySelectorAll('.map li').length") == 10
        await cell.add_nodes("n4a")
        await page.until("document.querySelector('#tile-n4a')")
        names = "[...document.querySelectorAll('.tile-name')].map((e) => e.textContent).join()"
        assert await page.evaluate(names) == "n1,n2,n3,n4,n4a,n5,n6,n7,n8,n9,n10"
        assert page.complaints == []


async def test_an_opened_reason_stays_open(cell: OpenCell, tmp_path: Path) -> None:
    await cell.nodes.find("n3", disk_full())
    await cell.until("n3", "waiting")
    async with browse(tmp_path / "profile", f"{cell.url}/incidents/inc-000001") as page:
        await page.evaluate("document.querySelector('.timeline details').open = true; 1")
        shown = await page.evaluate("document.querySelector('#freshness').textContent")
        await page.until(f"document.querySelector('#freshness').textContent !== {shown!r}")
        assert await page.evaluate("document.querySelector('.timeline details').open")


async def test_a_plan_is_approved_with_two_clicks_and_a_reason(cell: OpenCell, tmp_path: Path) -> None:
    await cell.nodes.find("n3", disk_full())
    await cell.until("n3", "waiting")
    async with browse(tmp_path / "profile", f"{cell.url}/incidents/inc-000001") as page:
        await page.evaluate("document.querySelector('button[data-act=approve]').click(); 1")
        await page.until("document.querySelector('#act').open")
        assert await page.evaluate("document.activeElement.closest('dialog') !== null")
        await page.evaluate("document.querySelector('#act-because').value = 'looks right'; 1")
        await page.evaluate("document.querySelector('#act-do').click(); 1")
        await page.until("!document.querySelector('#act').open")
        (given,) = cell.cell.belief.incidents["inc-000001"].approvals.values()
        assert given.by == "operator: looks right"
        await page.until("!document.querySelector('button[data-act=approve]')")
        assert page.complaints == []


async def test_a_refusal_is_shown_where_it_was_asked(cell: OpenCell, tmp_path: Path) -> None:
    async with browse(tmp_path / "profile", f"{cell.url}/nodes/n4") as page:
        await page.evaluate("document.querySelector('button[data-act=cordon]').click(); 1")
        cell.scheduler.foreign["n4"] = "bios update (bob)"
        await cell.until_foreign("n4")
        await page.evaluate("document.querySelector('#act-do').click(); 1")
        await page.until("!document.querySelector('#act-failure').hidden")
        assert "bios update (bob)" in await page.evaluate("document.querySelector('#act-failure').textContent")


async def test_a_page_says_when_the_controller_is_gone(cell: OpenCell, tmp_path: Path) -> None:
    async with browse(tmp_path / "profile", f"{cell.url}/") as page:
        await page.evaluate("window.fetch = () => Promise.reject(new TypeError('Failed to fetch')); 1")
        await page.until("document.body.classList.contains('stale')")
        said = await page.evaluate("document.querySelector('#freshness').textContent")
        assert said.startswith("No answer from the controller since ")
        assert await page.evaluate("document.querySelector('[role=alert]#lost').textContent") == said


async def test_hostile_names_run_nothing_in_a_browser(cell: OpenCell, tmp_path: Path) -> None:
    await hostile(cell)
    for path in ("/", "/incidents/inc-000001"):
        async with browse(tmp_path / path.replace("/", "_"), f"{cell.url}{path}") as page:
            shown = await page.evaluate("document.querySelector('#freshness').textContent")
            await page.until(f"document.querySelector('#freshness').textContent !== {shown!r}")
            assert await page.evaluate("document.querySelectorAll('main script, main img, [onerror]').length") == 0
            assert page.complaints == []
