"""The status page in a real browser: it keeps itself fresh, acts, and says when nobody answers."""

from __future__ import annotations

from playwright.async_api import Page, expect

from controller.events import NodePlaced, OperatorActed
from tests.controller.api.test_pages import hostile
from tests.support.browser import Browsing, browse, chromium
from tests.support.open_cell import OpenCell, disk_full, off_the_bus
from wire.messages import NodeFacts

__all__ = ["browse", "chromium"]

STREAMING = "document.body.classList.contains('streaming')"


async def test_a_change_appears_without_reloading_and_focus_stays(cell: OpenCell, browse: Browsing) -> None:
    page = await browse(f"{cell.url}/")
    await page.page.focus("#tile-n5 a")
    await page.evaluate("window.before = document.activeElement, 1")
    await cell.nodes.find("n3", disk_full())
    await page.until("document.querySelector('#tile-n3 .doing').textContent === 'waits: approval'")
    await page.until("document.querySelector('#row-inc-000001')")
    assert await page.evaluate("document.activeElement === window.before && window.before.isConnected")
    assert await page.evaluate("document.querySelectorAll('.map li').length") == 10
    await cell.add_nodes("n4a")
    await page.until("document.querySelector('#tile-n4a')")
    names = "[...document.querySelectorAll('.tile-name')].map((e) => e.textContent).join()"
    assert await page.evaluate(names) == "n1,n2,n3,n4,n4a,n5,n6,n7,n8,n9,n10"
    assert page.complaints == []


async def test_a_page_that_is_told_asks_for_nothing_while_nothing_happens(cell: OpenCell, browse: Browsing) -> None:
    page = await browse(f"{cell.url}/nodes/n4")
    await page.until(STREAMING)
    asked: list[str] = []
    page.page.on("request", lambda request: asked.append(request.url))
    await cell.nodes.find("n3", disk_full())
    await cell.nodes.find("n4", disk_full())
    await page.until("document.querySelector('#findings .findings')")
    assert [address.rpartition("?")[2] for address in asked] == ["part=live"] * len(asked)
    assert len(asked) <= 2


async def test_every_node_is_on_the_map_with_shape_and_word(cell: OpenCell, browse: Browsing) -> None:
    cell.scheduler.jobs["n2"] = ("17",)
    await cell.nodes.find("n2", off_the_bus())
    await cell.until_step("n2", "drain")
    cell.scheduler.foreign["n5"] = "bios update (bob)"
    await cell.until_foreign("n5")
    await cell.tell(OperatorActed("pause", "n7", "alice", ""))
    page = (await browse(f"{cell.url}/")).page
    await expect(page.locator(".tile")).to_have_count(10)
    await expect(page.locator("#tile-n2 a")).to_have_accessible_name("n2, failed, drain")
    await expect(page.locator("#tile-n5 a")).to_have_accessible_name("n5, ok, held by others")
    await expect(page.locator("#tile-n7 a")).to_have_accessible_name("n7, ok, paused")
    await expect(page.locator("#tile-n2 .shape")).to_have_text("■")
    await expect(page.locator("#tile-n2 a")).to_have_attribute("href", "/nodes/n2")


async def test_the_map_narrows_by_health_and_by_words(cell: OpenCell, browse: Browsing) -> None:
    await cell.nodes.find("n3", disk_full())
    await cell.until("n3", "waiting")
    await cell.tell(NodePlaced("n8", {"rack": ["r12"]}, "file"))
    page = (await browse(f"{cell.url}/?health=degraded")).page
    await expect(page.locator(".tile-name")).to_have_text(["n3"])
    await cell.nodes.find("n6", disk_full())
    await expect(page.locator(".tile-name")).to_have_text(["n3", "n6"])
    await page.goto(f"{cell.url}/?health=failed")
    await expect(page.locator("#map-said")).to_have_text("No node is failed.")
    await page.goto(f"{cell.url}/")
    await page.fill("#map-find", "R12")
    await expect(page.locator(".tile-name")).to_have_text(["n8"])
    await page.fill("#map-find", "approval")
    await expect(page.locator(".tile-name")).to_have_text(["n3", "n6"])
    assert page.url.endswith("?find=approval")


async def many(cell: OpenCell, count: int) -> None:
    """Have so many nodes, 32 in a rack, 64 behind each pair of leaves."""
    names = [f"gpu-{number:03d}" for number in range(count)]
    await cell.add_nodes(*names)
    await cell.tell(
        *(
            NodePlaced(name, {"rack": [f"r{at // 32}"], "leaf": [f"leaf-{at // 64}a", f"leaf-{at // 64}b"]}, "file")
            for at, name in enumerate(names)
        )
    )


async def test_many_nodes_are_cells_grouped_by_place_that_the_keyboard_walks(cell: OpenCell, browse: Browsing) -> None:
    cell.cell.belief.nodes.clear()
    await many(cell, 200)
    await cell.nodes.find("gpu-070", disk_full())
    page = (await browse(f"{cell.url}/")).page
    await expect(page.locator(".group canvas")).to_have_count(7)
    await expect(page.get_by_role("group", name="rack r2: 1 degraded, 31 ok")).to_be_visible()
    await page.keyboard.press("m")
    await expect(page.locator(".walker:focus")).to_have_accessible_name("gpu-000, ok")
    for key in ("ArrowRight", "ArrowDown", "ArrowDown"):
        await page.keyboard.press(key)
    await expect(page.locator(".walker:focus")).to_have_accessible_name("gpu-017, ok")
    await page.keyboard.press("n")
    await expect(page.locator(".walker:focus")).to_have_accessible_name("gpu-070, degraded, waits: approval")
    await expect(page.locator("#map-card")).to_contain_text("rack r2 · leaf leaf-1a, leaf-1b")
    await cell.tell(OperatorActed("pause", "gpu-070", "alice", ""))
    await expect(page.locator(".walker:focus")).to_have_accessible_name("gpu-070, degraded, waits: approval, paused")
    await page.select_option("#map-group", "leaf")
    await expect(page.get_by_role("group", name="leaf leaf-1a, leaf-1b: 1 degraded, 63 ok")).to_be_visible()
    await page.keyboard.press("Escape")
    await page.locator("#map-group").blur()
    await page.keyboard.press("n")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/nodes/gpu-070")


async def test_a_click_on_a_cell_opens_its_node_and_a_touch_says_what_it_is(cell: OpenCell, browse: Browsing) -> None:
    cell.cell.belief.nodes.clear()
    await many(cell, 160)
    page = (await browse(f"{cell.url}/?group=rack")).page
    box = await page.locator(".group canvas").nth(1).bounding_box()
    assert box is not None
    await page.mouse.move(box["x"] + 25, box["y"] + 25)
    await expect(page.locator("#map-card")).to_contain_text("gpu-041")
    await page.mouse.down()
    await page.mouse.up()
    await page.wait_for_url("**/nodes/gpu-041")
    phone = (await browse(f"{cell.url}/", has_touch=True, is_mobile=True, viewport={"width": 390, "height": 844})).page
    await phone.locator(".group canvas").first.tap(position={"x": 25, "y": 8})
    await phone.locator("#map-card a").tap()
    await phone.wait_for_url("**/nodes/gpu-001")


async def test_a_cell_is_drawn_anew_when_its_node_changes(cell: OpenCell, browse: Browsing) -> None:
    cell.cell.belief.nodes.clear()
    await many(cell, 160)
    page = await browse(f"{cell.url}/?group=rack")
    pixel = "[...document.querySelector('.group canvas').getContext('2d').getImageData(4, 4, 1, 1).data].join()"
    await page.until("document.querySelectorAll('.group canvas').length === 5")
    before = await page.evaluate(pixel)
    await cell.nodes.find("gpu-000", off_the_bus())
    await page.until(f"{pixel} !== '{before}'")
    assert page.complaints == []


async def test_the_search_is_reached_walked_and_followed_by_keys(cell: OpenCell, browse: Browsing) -> None:
    await cell.add_nodes("gpu<b>17", facts=NodeFacts(serial="S-0815"))
    page = await browse(f"{cell.url}/nodes/n1")
    keys = page.page.keyboard
    await keys.press("/")
    await keys.type("s-0815")
    await expect(page.page.locator("#search-found").get_by_role("option")).to_have_count(1)
    await expect(page.page.locator("#search-found").get_by_role("option")).to_contain_text("serial of gpu<b>17")
    await page.page.fill("#search-for", "n1")
    await expect(page.page.locator("#search-found").get_by_role("option")).to_have_count(4)
    await keys.press("ArrowDown")
    await expect(page.page.locator("#search-found").get_by_role("option", selected=True)).to_contain_text("n10")
    await keys.press("Enter")
    await page.page.wait_for_url("**/nodes/n10")
    await page.page.fill("#search-for", "nobody")
    await expect(page.page.locator("#search-found")).to_have_text("Nothing is called “nobody”")
    await keys.press("Escape")
    await expect(page.page.locator("#search-found")).to_be_hidden()
    assert page.complaints == []


async def test_keys_open_the_help_and_other_pages_but_not_while_somebody_types(
    cell: OpenCell, browse: Browsing
) -> None:
    page = (await browse(f"{cell.url}/nodes/n1")).page
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    await page.keyboard.press("Escape")
    await page.fill("#search-for", "")
    await page.keyboard.type("?gf")
    await expect(page.locator("#search-for")).to_have_value("?gf")
    await page.locator("#search-for").blur()
    await page.keyboard.type("gf")
    await page.wait_for_url(f"{cell.url}/")


async def background(page: Page) -> str:
    """Return the colour of the page."""
    return str(await page.evaluate("getComputedStyle(document.body).backgroundColor"))


async def test_colours_follow_the_system_or_what_was_chosen_and_that_is_remembered(
    cell: OpenCell, browse: Browsing
) -> None:
    page = (await browse(f"{cell.url}/nodes/n1", color_scheme="light")).page
    light = await background(page)
    await page.emulate_media(color_scheme="dark")
    dark = await background(page)
    assert light != dark
    await page.emulate_media(color_scheme="light")
    await page.get_by_role("button", name="Colours: as the system").click()
    assert await background(page) == dark
    await page.goto(f"{cell.url}/")
    assert await background(page) == dark
    await page.keyboard.press("t")
    await page.emulate_media(color_scheme="dark")
    assert await background(page) == light


async def test_a_phone_has_no_need_to_scroll_sideways(cell: OpenCell, browse: Browsing) -> None:
    await cell.nodes.find("n3", disk_full())
    await cell.until("n3", "waiting")
    for path in ("/", "/nodes/n3", "/incidents/inc-000001"):
        page = await browse(f"{cell.url}{path}", is_mobile=True, viewport={"width": 360, "height": 740})
        assert await page.evaluate("document.documentElement.scrollWidth") == 360, path


async def test_an_opened_reason_stays_open(cell: OpenCell, browse: Browsing) -> None:
    await cell.nodes.find("n3", disk_full())
    await cell.until("n3", "waiting")
    page = await browse(f"{cell.url}/incidents/inc-000001")
    await page.evaluate("document.querySelector('.timeline details').open = true, 1")
    await cell.tell(OperatorActed("approve", "inc-000001", "alice", "looks right"))
    await page.until("document.querySelector('.timeline').textContent.includes('looks right')")
    assert await page.evaluate("document.querySelectorAll('.timeline details[open]').length") == 1


async def test_a_plan_is_approved_with_two_clicks_and_a_reason(cell: OpenCell, browse: Browsing) -> None:
    await cell.nodes.find("n3", disk_full())
    await cell.until("n3", "waiting")
    page = await browse(f"{cell.url}/incidents/inc-000001")
    await page.page.click("html[data-ready] button[data-act=approve]")
    assert await page.evaluate("document.activeElement.closest('dialog') !== null")
    await page.page.fill("#act-because", "looks right")
    await page.page.click("#act-do")
    await page.until("!document.querySelector('#act').open")
    (given,) = cell.cell.belief.incidents["inc-000001"].approvals.values()
    assert given.by == "operator: looks right"
    await page.until("!document.querySelector('button[data-act=approve]')")
    assert page.complaints == []


async def test_a_refusal_is_shown_where_it_was_asked(cell: OpenCell, browse: Browsing) -> None:
    page = (await browse(f"{cell.url}/nodes/n4")).page
    await page.click("html[data-ready] button[data-act=cordon]")
    cell.scheduler.foreign["n4"] = "bios update (bob)"
    await cell.until_foreign("n4")
    await page.click("#act-do")
    await expect(page.locator("#act-failure")).to_contain_text("bios update (bob)")


async def test_a_page_says_when_the_controller_is_gone_and_goes_on_when_it_is_back(
    cell: OpenCell, browse: Browsing
) -> None:
    page = await browse(f"{cell.url}/")
    await page.until(STREAMING)
    await cell.hang_up()
    await page.until("document.body.classList.contains('stale')")
    said = await page.text("#freshness")
    assert said.startswith("No answer from the controller since ")
    assert await page.text("[role=alert]#lost") == said
    await cell.nodes.find("n3", disk_full())
    await cell.answer()
    await page.until(f"{STREAMING} && document.querySelector('#tile-n3 .doing').textContent === 'waits: approval'")


async def test_a_page_without_a_stream_asks_every_two_seconds(cell: OpenCell, browse: Browsing) -> None:
    page = await browse("about:blank")
    await page.page.route("**/api/v1/live*", lambda route: route.abort())
    await page.page.goto(f"{cell.url}/nodes/n3")
    await cell.nodes.find("n3", disk_full())
    await page.until("document.querySelector('#findings .findings')")
    assert (await page.text("#freshness")).startswith("as of ")


async def test_hostile_names_run_nothing_in_a_browser(cell: OpenCell, browse: Browsing) -> None:
    await hostile(cell)
    for path in ("/", "/incidents/inc-000001"):
        page = await browse(f"{cell.url}{path}")
        await page.until(STREAMING)
        await cell.tell(OperatorActed("pause", "n2", "alice", ""), OperatorActed("approve", "inc-000001", "alice", ""))
        if path == "/":
            await page.until("document.querySelector('#tile-n2 .tile.paused')")
            await page.page.fill("#map-find", "script")
            await page.until("document.querySelectorAll('.tile').length === 1")
        await page.page.fill("#search-for", "script")
        await page.until("document.querySelector('#search-found [role=option]')")
        assert (
            await page.evaluate("document.querySelectorAll('main script, main img, #search script, [onerror]').length")
            == 0
        )
        assert page.complaints == []
