"""The pages of one node and of one incident: what they say, and what they offer."""

from __future__ import annotations

from dataclasses import replace

import aiohttp

from checks.finding import Action, Finding, Verdict
from controller.events import CheckLevelsChanged, FindingRaised, NodeSeen, OperatorActed
from controller.policy.incident import Incident
from controller.policy.noticing.book import Thread, Trouble
from tests.controller.api.test_pages import HOSTILE, buttons, page
from tests.support import benching
from tests.support.open_cell import GPU, OpenCell, disk_full, off_the_bus
from wire.messages import CheckLevel, NodeFacts

DEVICES = {GPU: "gpu 1 NVIDIA H100 80GB HBM3 serial 1650324018533 at 0000:3b:00"}


async def test_a_node_page_shows_a_part_with_its_place_serial_and_past(
    cell: OpenCell, http: aiohttp.ClientSession
) -> None:
    before = {"GPU-old": "gpu 1 NVIDIA H100 80GB HBM3 serial 1650324010000 at 0000:3b:00"}
    for node, devices in (("n1", DEVICES), ("n2", before), ("n2", DEVICES)):
        await cell.tell(NodeSeen(node, "boot-1", NodeFacts(True, devices=devices)))
    await cell.nodes.find("n1", off_the_bus())
    await cell.until_step("n1", "probation")
    cell.clock.now += 61.0
    await cell.until("n1", "closed")
    shown = await page(http, "/nodes/n2")
    assert "GPU 1, PCI 0000:3b:00" in shown.text and "1650324018533" in shown.text
    assert "1 past incident of it, 1 part sat here before" in shown.text
    assert "returned inc-000001 gpu lost on n1" in shown.text and "tried: reboot (verified)" in shown.text
    assert "1650324010000 sat here from" in shown.text and "no incident of it is known" in shown.text


async def test_a_node_page_draws_what_the_log_tells_and_says_when_it_tells_nothing(
    cell: OpenCell, http: aiohttp.ClientSession
) -> None:
    assert "Every check that judged anything was ok" in (await page(http, "/nodes/n1")).text
    for at, downed in enumerate((3, 8), 1):
        cell.clock.now += 60.0
        flap = Finding(
            "fabric.rdma_flap", "mlx5_0/1", "flapping", Verdict.DEGRADED, Action.NONE, f"{at}",
            evidence={"link_downed": str(downed)},
        )  # fmt: skip
        levels = {"fabric.rdma_flap": CheckLevel("degraded" if at == 1 else "failed", cell.clock.now, "it flaps")}
        await cell.tell(FindingRaised("n1", "boot-1", flap, cell.clock.now), CheckLevelsChanged("n1", levels))
    shown = await page(http, "/nodes/n1")
    drawn = [str(svg.get("aria-label", "")) for svg in shown.all("svg")]
    assert any(said.startswith("Value over time") and said.endswith("link downed: last 8.") for said in drawn)
    assert any(said.startswith("fabric.rdma_flap: degraded from") for said in drawn)


async def test_a_benchmark_that_ran_once_has_numbers_and_no_line(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    await cell.ask_bench("n1")
    await cell.nodes.come_back("n1", benching.measured())
    assert "Measured once so far, so there is no line yet" in (await page(http, "/nodes/n1")).text


async def test_a_drill_is_offered_where_the_node_takes_part(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    assert [form["data-node"] for form in (await page(http, "/nodes/n1")).all("form") if "data-node" in form] == ["n1"]
    await cell.tell(NodeSeen("n1", "boot-1", NodeFacts(orders_allowed=["reboot"])))
    shown = await page(http, "/nodes/n1")
    assert "n1 does not take part in drills: inject_fault is not among its orders_allowed." in shown.text
    assert not [form for form in shown.all("form") if "data-node" in form]


async def test_an_incident_says_why_and_what_would_have_to_differ(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    cell.scheduler.jobs["n3"] = ("17",)
    await cell.nodes.find("n3", off_the_bus())
    await cell.until_step("n3", "drain")
    shown = await page(http, "/incidents/inc-000001")
    assert "It would not have happened if gpu.xid 79 were not failed" in shown.text
    assert "left; it fails at" in shown.text and "if it fails: hand over to people" in shown.text
    assert "Approve inc-000001 asks for no approval now" in shown.text
    assert "Nobody was told: no step of the plan has filed a ticket or sent a page." in shown.text


async def test_a_standby_offers_nothing_and_says_why(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    await cell.nodes.find("n3", disk_full())
    await cell.until("n3", "waiting")
    assert buttons(await page(http, "/incidents/inc-000001")) == {"approve", "abort"}
    cell.front.leads = lambda: False
    shown = await page(http, "/incidents/inc-000001")
    assert buttons(shown) == set()
    assert "Approve this controller stands by and changes nothing" in shown.text


async def until_people_have_it(cell: OpenCell) -> Incident:
    """Let every attempt of a verification fail at n3."""
    incident = await cell.until("n3", "running")
    while incident.state != "handed_over":
        cell.clock.now += 11.0
        await cell.tell()
    return await cell.until("n3", "handed_over")


async def test_an_incident_shows_its_tickets_and_pages_and_who_looks_after_it(
    cell: OpenCell, http: aiohttp.ClientSession
) -> None:
    cell.nodes.mends = False
    await cell.nodes.find("n3", off_the_bus())
    incident = await until_people_have_it(cell)
    shown = await page(http, f"/incidents/{incident.id}")
    assert "open ticket ticket-1 in ticket" in shown.text and "open page page-1 in page" in shown.text
    assert buttons(shown) == {"approve", "uncordon", "acknowledge"}
    await cell.tell(OperatorActed("acknowledge", incident.id, "kim", "on it"))
    shown = await page(http, f"/incidents/{incident.id}")
    assert "kim looks after it" in shown.text and buttons(shown) == {"approve", "uncordon"}


async def test_what_a_destination_says_is_text_and_links_to_the_web_alone(
    cell: OpenCell, http: aiohttp.ClientSession
) -> None:
    await cell.nodes.find("n3", disk_full())
    incident = await cell.until("n3", "waiting")
    book, at = cell.cell.belief.notices, cell.clock.now
    trouble = Trouble("told", "retry", HOSTILE, 3, at, at + 60.0)
    thread = Thread(
        "ticket", HOSTILE, HOSTILE, "javascript:alert(1)", HOSTILE, HOSTILE, HOSTILE, "critical", at,
        incidents={incident.id: ""}, told=HOSTILE, told_at=at, trouble=trouble,
    )  # fmt: skip
    linked = replace(thread, reference="OPS-7", url="https://tickets.example/OPS-7", trouble=None)
    for each in (thread, linked):
        book.threads[each.id] = each
        book.by_incident.setdefault(incident.id, {})[each.id] = None
    shown = await page(http, f"/incidents/{incident.id}")
    links = [str(link.get("href")) for link in shown.all("a")]
    assert "https://tickets.example/OPS-7" in links and not [each for each in links if each.startswith("javascript:")]
    assert not [name for _, found in shown.elements for name in found if name.startswith("on")]
    assert all(image["src"] == "/static/favicon.svg" for image in shown.all("img"))
    assert HOSTILE in shown.text


async def test_parts_and_numbers_of_hostile_names_are_text(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    devices = {HOSTILE: f"gpu 1 {HOSTILE} serial S at {'0000:3b:00'}", "x": HOSTILE}
    await cell.tell(NodeSeen("n1", "boot-1", NodeFacts(devices=devices)))
    for value in ("1", "2"):
        cell.clock.now += 60.0
        finding = Finding("c", HOSTILE, HOSTILE, Verdict.FAILED, Action.NONE, HOSTILE, evidence={HOSTILE: value})
        level = CheckLevel("failed" if value == "1" else HOSTILE, cell.clock.now, HOSTILE)
        await cell.tell(
            FindingRaised("n1", "boot-1", finding, cell.clock.now), CheckLevelsChanged("n1", {HOSTILE: level})
        )
    shown = await page(http, "/nodes/n1")
    assert not [name for _, found in shown.elements for name in found if name.startswith("on")]
    assert all(str(script["src"]).startswith("/static/") for script in shown.all("script"))
    assert all(image["src"] == "/static/favicon.svg" for image in shown.all("img"))
    assert HOSTILE in shown.text
