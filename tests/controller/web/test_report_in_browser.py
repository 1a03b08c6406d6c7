"""The report in a real browser: on its page under the page's own policy, and as a file that needs nothing else."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, async_playwright

from controller.assembly import rules_of
from controller.settings import ControllerSettings
from controller.simulation.fleet import racks_and_leaves
from controller.simulation.model import load_model
from controller.simulation.policies import POLICIES
from controller.simulation.result import result_of, results_of
from controller.simulation.run import Asked, simulate
from controller.web.report_view import report_file
from controller.web.simulation_view import simulation_page
from tests.support.browser import CHROMIUM
from tests.support.open_cell import off_the_bus, open_cell
from tests.support.told_log import HOUR, ToldLog

pytestmark = pytest.mark.skipif(
    not CHROMIUM and os.environ.get("CI") != "true", reason="no Chromium on this machine: apt-get install chromium"
)

WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 800}
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
FILL = "getComputedStyle(document.querySelector('rect.state-held_out')).fill"
BACKGROUND = "getComputedStyle(document.body).backgroundColor"


@dataclass(slots=True)
class Opened:
    """A page, what it complained about, and what it asked for."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """This machine's own browser, driven by Playwright."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        await browser.close()


async def opened(browser: Browser, url: str, *, dark: bool = False, phone: bool = False) -> Opened:
    """Open an address as a person who was never here before."""
    context = await browser.new_context(
        color_scheme="dark" if dark else "light",
        viewport=PHONE if phone else WIDE,  # type: ignore[arg-type]  # a TypedDict of the same keys
    )
    found = Opened(await context.new_page())
    found.page.on("console", lambda said: found.complaints.append(said.text) if said.type == "error" else None)
    found.page.on("request", lambda request: found.asked.append(request.url))
    await found.page.goto(url)
    return found


async def test_the_page_draws_its_plots_under_its_own_policy(browser: Browser, tmp_path: Path) -> None:
    async with open_cell(tmp_path) as cell:
        await cell.add_nodes("n1", "n2")
        await cell.nodes.find("n2", off_the_bus())
        await cell.until_step("n2", "probation")
        cell.clock.now += HOUR
        shown = await opened(browser, f"{cell.url}/report?since=7d")
        assert await shown.page.text_content("h1") == "Report"
        assert await shown.page.evaluate(f"{OVERFLOW}") <= 0
        drawn = await shown.page.evaluate(
            "document.querySelector('#plot-over-time rect').getBoundingClientRect().width"
        )
        assert drawn > 1 and await shown.page.evaluate(FILL) not in {"none", "rgb(0, 0, 0)"}
        assert shown.complaints == []
        narrow = await opened(browser, f"{cell.url}/report", phone=True)
        assert await narrow.page.evaluate(OVERFLOW) <= 0, "wide tables scroll by themselves"


async def test_the_file_stands_alone_in_light_dark_and_print(browser: Browser, tmp_path: Path) -> None:
    log = ToldLog().node("n1", "n2")
    log.repaired("n1", HOUR)
    file = tmp_path / "report.html"
    file.write_text(report_file(log.report(10 * HOUR), about="a log"))
    light = await opened(browser, file.as_uri())
    dark = await opened(browser, file.as_uri(), dark=True)
    for each in (light, dark):
        assert each.complaints == [] and each.asked == [file.as_uri()]
        assert await each.page.evaluate("document.querySelectorAll('figure svg rect').length") > 10
    assert await light.page.evaluate(BACKGROUND) != await dark.page.evaluate(BACKGROUND)
    assert await light.page.evaluate(FILL) != await dark.page.evaluate(FILL)
    await dark.page.emulate_media(media="print")
    assert await dark.page.evaluate(BACKGROUND) == "rgb(255, 255, 255)", "no ink for a dark page"


async def test_the_page_of_a_simulated_fleet_stands_alone_on_a_desk_and_a_phone(
    browser: Browser, tmp_path: Path
) -> None:
    rules, model = rules_of(ControllerSettings(state=tmp_path)), load_model(rate=40.0)
    asked = [Asked(racks_and_leaves(32), 3.0, seed, model) for seed in (1, 2)]
    ours = results_of([result_of(each, simulate(each, rules), took_s=1.0) for each in asked])
    paged = [simulate(each, rules, policy=POLICIES["page a person"]) for each in asked]
    beside = results_of([result_of(each, score, took_s=1.0) for each, score in zip(asked, paged, strict=True)])
    file = tmp_path / "simulated.html"
    file.write_text(simulation_page({"fleetmend": ours, "page a person": beside}, model))
    for phone in (False, True):
        shown = await opened(browser, file.as_uri(), phone=phone)
        assert shown.complaints == [] and shown.asked == [file.as_uri()]
        assert await shown.page.evaluate(OVERFLOW) <= 0, "wide tables scroll by themselves"
        assert await shown.page.evaluate("document.querySelectorAll('figure svg.canvas').length") == 5
        assert await shown.page.evaluate(CUT_LABELS) == []


CUT_LABELS = """[...document.querySelectorAll('figure svg.canvas text')].filter(label => {
  const box = label.getBoundingClientRect(), picture = label.closest('svg').getBoundingClientRect();
  return box.left < picture.left - 1 || box.right > picture.right + 1;
}).map(label => label.textContent)"""
