"""The report of a running cell: by the API and on its page, from a real log with a real drill."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from controller.api.moments import iso
from controller.api.report_words import hours
from controller.api.spans import moment_of
from controller.events import NodePlaced, NodeSeen, OperatorActed
from controller.policy.reporting.asked import Asked, Prices
from controller.policy.reporting.fold import Fold
from controller.policy.reporting.shapes import Report
from controller.store.cloud_events import cloud_event
from controller.store.compaction import write_snapshot
from controller.store.exported import read_exported
from controller.store.sqlite import SqliteLog
from tests.controller.api.test_pages import HOSTILE, page
from tests.support.open_cell import START, OpenCell, off_the_bus
from wire.messages import NodeFacts


async def report_of(http: aiohttp.ClientSession, **query: str) -> Report:
    """Return the report as the API gives it."""
    async with http.get("/api/v1/report", params=query) as answer:
        assert answer.status == 200, await answer.text()
        return msgspec.json.decode(await answer.read(), type=Report)


async def refusal(http: aiohttp.ClientSession, **query: str) -> tuple[int, dict[str, Any]]:
    """Return status and body of a request that is refused."""
    async with http.get("/api/v1/report", params=query) as answer:
        return answer.status, await answer.json()


async def mended(cell: OpenCell, node: str) -> None:
    """Have a fault on a node found and mended, with probation, by the whole of the cell."""
    await cell.nodes.find(node, off_the_bus())
    await cell.until_step(node, "probation")
    cell.clock.now += 61.0
    await cell.tell(OperatorActed("resume", "fleet", "kim", ""))
    await cell.until(node, "closed")


async def test_a_fault_that_was_mended_is_in_the_report(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    cell.front._reporter.prices = Prices(2.0, {}, "EUR")
    cell.clock.now += 3600.0
    await mended(cell, "n2")
    cell.clock.now += 3600.0
    report = await report_of(http)
    assert (report.span.nodes, report.span.gpus, report.span.simulated_nodes) == (10, 80, 10)
    assert report.span.since == report.span.log_tells_from == START
    times = {row.node: row for row in report.nodes}
    assert times["n2"].held_out_h == pytest.approx(61 / 3600, abs=1e-3) and times["n1"].held_out_h == 0.0
    assert [(row.fault_class, row.opened, row.closed) for row in report.outcomes] == [("gpu_lost", 1, {"returned": 1})]
    assert [(row.action, row.pending) for row in report.fixes] == [("reboot", 1)]
    assert report.losses.money == pytest.approx(report.losses.gpu_hours * 2.0, abs=0.01)
    assert "Some nodes are simulated: their hardware is not real, and their time passes faster." in report.notes


async def test_a_drill_is_counted_apart(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    async with http.post("/api/v1/drills", json={"node": "n4", "fault": "gpu-off-bus"}) as answer:
        assert answer.status == 200, await answer.text()
    await cell.until_step("n4", "probation")
    cell.clock.now += 61.0
    await cell.tell(OperatorActed("resume", "fleet", "kim", ""))
    await cell.until("n4", "closed")
    cell.clock.now += 1.0
    report = await report_of(http)
    assert (report.drills.injected, report.drills.incidents, report.drills.returned) == (1, 1, 1)
    assert report.drills.found is not None and report.drills.found.count == 1
    assert (report.availability.nodes, report.outcomes, report.fixes, report.losses.gpu_hours) == (1.0, [], [], 0.0)
    assert {row.kind for row in report.losses.rows} == {"drill"}
    asked_for = await report_of(http, drills="include")
    assert asked_for.availability.nodes is not None and asked_for.availability.nodes < 1.0
    assert [row.opened for row in asked_for.outcomes] == [1]


async def test_the_span_can_be_given(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    cell.clock.now += 7200.0
    for since in ("1h", "60m", iso(START + 3600.0)):
        report = await report_of(http, since=since, until=iso(START + 5400.0) if since != "1h" else "")
        assert report.span.since == START + 3600.0
    assert (await report_of(http, until=iso(START + 1e9))).span.until == cell.clock.now, "nothing is told of the future"


@pytest.mark.parametrize(
    ("query", "field", "error"),
    [
        ({"since": "soon"}, "since", "'soon' is no moment"),
        ({"until": "2026-13-01"}, "until", "'2026-13-01' is no moment"),
        ({"since": "1h", "until": "2h"}, "since", "before it begins"),
        ({"since": "0s"}, "since", "the span is empty"),
        ({"drills": "maybe"}, "drills", "'maybe' is not known here"),
    ],
)
async def test_what_is_no_span_is_refused(
    http: aiohttp.ClientSession, query: dict[str, str], field: str, error: str
) -> None:
    status, body = await refusal(http, **query)
    assert (status, body["field"]) == (422, field) and error in body["error"]


async def test_what_the_log_tells_no_more_is_refused(
    cell: OpenCell, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """The first entries are deleted; what they said is used as far as it is known not to have changed."""
    cell.clock.now += 3600.0
    await cell.tell(NodePlaced("n1", {"rack": ["r1"]}))
    log = SqliteLog(tmp_path / "events.sqlite")
    write_snapshot(log, cell.cell.belief, now=cell.clock.now)
    through = cell.cell.belief.last_event_id - 1
    while log.delete_events(through=through, before=cell.clock.now, keep_incidents=frozenset(), limit=100):
        pass
    log.close()
    cell.clock.now += 3600.0
    status, body = await refusal(http, since="90m")
    assert (status, body["hint"]) == (422, f"since={iso(START + 3600.0)}")
    assert body["error"] == f"older entries were deleted: the log tells from {iso(START + 3600.0)} on"
    report = await report_of(http)
    assert report.span.since == START + 3600.0
    assert report.availability.nodes == 1.0 and report.goodput.gpu_hours == 80.0
    assert any("are not all in the log" in note for note in report.notes)
    assert (await report_of(http, since="30m")).goodput.gpu_hours == 40.0


async def test_the_cell_decides_while_reports_are_made(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    cell.clock.now += 10.0
    made = [asyncio.create_task(report_of(http)) for _ in range(4)]
    await cell.nodes.find("n2", off_the_bus())
    await cell.until_step("n2", "probation")
    assert [report.span.nodes for report in await asyncio.gather(*made)] == [10, 10, 10, 10]


async def test_the_page_shows_figures_plots_and_tables(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    cell.clock.now += 3600.0
    await mended(cell, "n2")
    cell.clock.now += 3600.0
    shown = await page(http, "/report?since=7d")
    assert "availability" in shown.text and "Time to repair (MTTR)" in shown.text and "gpu lost" in shown.text
    assert {str(figure["id"]) for figure in shown.all("figure")} == {"plot-over-time", "plot-lost", "plot-repair"}
    assert all(svg.get("aria-label") for svg in shown.all("svg") if svg.get("role") == "img")
    assert not [element for element, attributes in shown.elements if "style" in attributes or element == "style"]
    current = [link["href"] for link in shown.all("a") if "aria-current" in link and "since" in str(link["href"])]
    assert current == ["/report?since=7d"]


async def test_a_hostile_name_is_text_on_the_page(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    facts = NodeFacts(gpu_model=HOSTILE, gpu_count=8, places={"rack": [HOSTILE]})
    await cell.tell(NodeSeen("n1", "boot-1", facts))
    cell.clock.now += 3600.0
    shown = await page(http, "/report")
    assert HOSTILE in " ".join(shown.words)
    assert not shown.all("img") or all("onerror" not in image for image in shown.all("img"))
    assert all("onmouseover" not in attributes for _, attributes in shown.elements)


async def test_a_span_that_is_none_has_a_page_that_says_so(http: aiohttp.ClientSession) -> None:
    shown = await page(http, "/report?since=soon", status=422)
    assert "'soon' is no moment" in shown.text


def test_moments_are_read_as_people_write_them() -> None:
    day = 86_400.0
    assert [moment_of(text, 10 * day) for text in ("7d", "1w", "24h", "90m", "30s")] == [
        3 * day,
        3 * day,
        9 * day,
        10 * day - 5400.0,
        10 * day - 30.0,
    ]
    assert moment_of("1970-01-02", 0.0) == moment_of("1970-01-02T02:00:00+02:00", 0.0) == day


@pytest.mark.parametrize("text", ["", "7", "d", "-7d", "1969-12-31", "9999999d9", "٧d", "2026-02-30"])
def test_other_texts_are_no_moments(text: str) -> None:
    with pytest.raises(ValueError, match="is no moment"):
        moment_of(text, 0.0)


async def test_the_exported_log_gives_the_same_report(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    cell.clock.now += 3600.0
    await mended(cell, "n2")
    cell.clock.now += 3600.0
    answered = await report_of(http, since=iso(START))
    entries = await cell.cell.log.follow(after=0)
    fold = Fold(Asked(answered.span.since, answered.span.until))
    fold.take_all(read_exported([cloud_event(entry, "main") for entry in entries], "log"))
    told = fold.report()
    assert told.availability.nodes == pytest.approx(answered.availability.nodes)
    for name in ("outcomes", "fixes", "notices", "notes", "lemons"):
        assert getattr(told, name) == getattr(answered, name)


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.0, "0"), (7e-06, "< 0.001"), (0.001, "0.001"), (0.0479, "0.0479"), (2.741, "2.74"), (1234.5, "1,234")],
)
def test_hours_are_said_with_the_digits_that_mean_something(value: float, said: str) -> None:
    assert hours(value) == said
