"""The pages of a node and an incident in a real browser: acts and drills from the page, and a phone's width."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from playwright.async_api import expect

from controller.events import FindingRaised, NodeSeen
from controller.notice_events import NoticeFiled
from tests.controller.api.test_detail_pages import DEVICES
from tests.controller.api.test_pages import hostile
from tests.support.browser import Browsing, browse, chromium
from tests.support.open_cell import OpenCell, off_the_bus
from wire.messages import NodeFacts

__all__ = ["browse", "chromium"]

PHONE: dict[str, Any] = {"viewport": {"width": 360, "height": 740}, "is_mobile": True}


async def test_whoever_takes_over_has_the_incident_and_the_node_stays_out(cell: OpenCell, browse: Browsing) -> None:
    cell.scheduler.jobs["n3"] = ("17",)
    await cell.nodes.find("n3", off_the_bus())
    await cell.until_step("n3", "drain")
    opened = await browse(f"{cell.url}/incidents/inc-000001")
    page = opened.page
    await page.get_by_role("button", name="Take over").click()
    await expect(page.get_by_role("dialog")).to_contain_text("n3 stays out until you return it")
    await page.fill("#act-because", "I know this one")
    await page.get_by_role("dialog").get_by_role("button", name="Take over").click()
    await expect(page.locator("#notices")).to_contain_text("looks after it")
    incident = await cell.until("n3", "aborted")
    assert incident.holding and incident.acknowledged_by
    await expect(page.locator("#why")).to_contain_text("the node stays out")
    await expect(page.get_by_role("button", name="Undo: return at once")).to_be_visible()
    assert opened.complaints == []


async def test_the_links_of_a_page_lead_to_what_they_name_and_do_nothing_by_themselves(
    cell: OpenCell, browse: Browsing
) -> None:
    cell.scheduler.jobs["n3"] = ("17",)
    await cell.nodes.find("n3", off_the_bus())
    incident = await cell.until_step("n3", "drain")
    links = {"stop": "Take over inc-000001", "undo": "Return n3 to service"}
    page = (await browse(f"{cell.url}/incidents/inc-000001")).page
    for name, title in links.items():
        await page.goto(f"{cell.url}/incidents/inc-000001#{name}")
        await page.reload()
        await expect(page.locator("#act-title")).to_have_text(title)
    await page.goto(f"{cell.url}/incidents/inc-000001#approve")
    await page.reload()
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await expect(page.locator("#cannot")).to_have_attribute("open", "")
    await expect(page.locator("#cannot dl")).to_contain_text("Approve")
    assert not incident.acknowledged_by and not incident.stop_asked


async def test_a_drill_is_started_from_the_page_and_a_refusal_said_beside_the_button(
    cell: OpenCell, browse: Browsing
) -> None:
    cell.scheduler.jobs["n4"] = ("17",)
    page = (await browse(f"{cell.url}/nodes/n4")).page
    await page.select_option("#drill select[name=fault]", "disk-full")
    await page.get_by_role("button", name="Inject the fault").click()
    await expect(page.locator("#drill .said.failure")).to_contain_text("no fault is called 'disk-full'")
    await page.select_option("#drill select[name=fault]", "gpu-off-bus")
    await page.get_by_role("button", name="Inject the fault").click()
    await expect(page.locator("#drill .said")).to_have_text("A kernel-log record was written.")
    await expect(page.locator("#findings")).to_contain_text("gpu.xid 79")
    assert await page.input_value("#drill select[name=fault]") == "gpu-off-bus"


async def test_what_is_open_and_chosen_stays_while_the_node_changes(cell: OpenCell, browse: Browsing) -> None:
    await cell.tell(NodeSeen("n5", "boot-1", NodeFacts(True, devices={**DEVICES, "GPU-2": "gpu 2 A serial S at 3c"})))
    await cell.tell(NodeSeen("n5", "boot-1", NodeFacts(True, devices=DEVICES | {"GPU-3": "gpu 2 A serial T at 3c"})))
    page = await browse(f"{cell.url}/nodes/n5")
    await page.page.locator("#part-GPU-3 summary").click()
    await page.page.select_option("#drill select[name=fault]", "mount-hang")
    await cell.tell(FindingRaised("n5", "boot-1", off_the_bus(), cell.clock.now))
    await page.until("document.querySelector('#findings .findings')")
    await expect(page.page.locator("#part-GPU-3 .past")).to_contain_text("S sat here from")
    assert await page.page.input_value("#drill select[name=fault]") == "mount-hang"


POINTS = "document.querySelector('#plot-counter-gpu_temperature_celsius polyline').points.numberOfItems"


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_picture_of_a_counter_grows_while_the_page_is_open(
    cell: OpenCell, browse: Browsing, scheme: str
) -> None:
    """Levels are no entries of the log, so no stream tells of them: the page asks by itself, sooner without one."""
    await cell.add_nodes("n1")
    for celsius in (40.0, 41.0, 42.0):
        await cell.nodes.tell_level("n1", gpu_temperature_celsius=celsius, gpu_corrected_errors=3.0)
        cell.clock.now += 60.0
    opened = await browse(f"{cell.url}/nodes/n1", color_scheme=scheme)
    page = opened.page
    await opened.until(f"{POINTS} === 3")
    plot = page.locator("#plot-counter-gpu_temperature_celsius")
    await plot.get_by_text("As a table").click()
    await expect(plot.locator("tbody tr")).to_have_count(3)
    await page.route("**/api/v1/live*", lambda route: route.abort())
    await page.reload()
    await cell.nodes.tell_level("n1", gpu_temperature_celsius=58.0, gpu_corrected_errors=3.0)
    await opened.until(f"{POINTS} === 4")
    await expect(plot.get_by_role("img")).to_have_attribute("aria-label", re.compile("in each minute: last 58"))
    await expect(page.locator("#counters")).to_contain_text("Nothing was added to these totals: corrected")
    stroke = "getComputedStyle(document.querySelector('#plot-counter-gpu_temperature_celsius polyline')).stroke"
    assert await opened.evaluate(stroke) not in ("none", await opened.evaluate("getComputedStyle(document.body).color"))
    assert [each for each in opened.complaints if "api/v1/live" not in each and "ERR_FAILED" not in each] == []


REFERENCE = '{alertname="fleetmend_gpu_lost",cell="main",class="gpu_lost",incident="inc-000001",node="n1"}'
FILED = NoticeFiled("inc-000001", "page", "am", REFERENCE, "https://am.example/x", "n1 GPU-3", "k", "so")


@pytest.mark.parametrize("path", ["/nodes/n1", "/incidents/inc-000001", "/docs/how-to/paging.md", "/docs/"])
async def test_no_page_is_wider_than_a_phone_whatever_things_are_called(
    cell: OpenCell, browse: Browsing, path: str
) -> None:
    await hostile(cell)
    await cell.tell(
        msgspec.structs.replace(FILED, destination="files", reference=f"/var/lib/{'x' * 60}/tickets.jsonl:1", url="")
    )
    await cell.tell(NodeSeen("n1", "boot-1", NodeFacts(True, devices=DEVICES | {"x" * 90: "y" * 200})), FILED)
    page = await browse(f"{cell.url}{path}", **PHONE)
    assert await page.evaluate("document.documentElement.scrollWidth <= 360")
    assert page.complaints == []
