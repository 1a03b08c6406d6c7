"""A node's counters over the last day: heard with its levels, kept in memory alone, and drawn on its page."""

from __future__ import annotations

import aiohttp
import msgspec

from controller.api.counter_shapes import CounterSample, CountersShown
from controller.api.moments import iso
from tests.controller.api.test_pages import page
from tests.support.open_cell import START, OpenCell

MINUTE = START - START % 60.0


async def counters(http: aiohttp.ClientSession, node: str = "n1") -> CountersShown:
    async with http.get(f"/api/v1/nodes/{node}/counters") as answer:
        assert answer.status == 200
        return msgspec.json.decode(await answer.read(), type=CountersShown)


async def tell(cell: OpenCell, *levels: dict[str, float], node: str = "n1") -> None:
    """Have a node tell these counters, a minute apart."""
    for values in levels:
        await cell.nodes.tell_level(node, **values)
        cell.clock.now += 60.0


async def test_what_a_node_tells_is_given_by_the_minute(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    cell.clock.now = MINUTE
    await tell(cell, *({"gpu_temperature_celsius": 40.1 + n, "rdma_link_downs": 7.0 + n // 2} for n in range(3)))
    shown = await counters(http)
    assert (shown.since, shown.because) == (iso(MINUTE), "")
    heat, downs = shown.series
    assert (heat.name, heat.unit, heat.kind, heat.newest) == ("gpu_temperature_celsius", "°C", "level", 42.1)
    assert heat.samples == [CounterSample(iso(MINUTE + 60.0 * n), 60.0, 40.1 + n, 40.1 + n) for n in range(3)]
    assert (downs.kind, downs.newest, [sample.high for sample in downs.samples]) == ("total", 8.0, [0.0, 1.0])


async def test_nothing_of_it_is_in_the_log(cell: OpenCell) -> None:
    await tell(cell, {"gpu_power_watts": 1.0})
    before = cell.cell.belief.last_event_id
    await tell(cell, {"gpu_power_watts": 2.0}, {"gpu_power_watts": 3.0})
    assert cell.cell.belief.last_event_id == before


async def test_a_node_that_told_none_is_told_apart_from_one_that_there_is_not(
    cell: OpenCell, http: aiohttp.ClientSession
) -> None:
    assert await counters(http) == CountersShown(None, "it has told none since this controller started", [])
    async with http.get("/api/v1/nodes/n99/counters") as answer:
        assert answer.status == 404
    cell.front.counters.most_nodes = 1
    await tell(cell, {"gpu_power_watts": 1.0}, node="n2")
    assert (await counters(http)).because == "this controller keeps those of 1 nodes, and there are more"
    cell.front.leads = lambda: False
    assert (await counters(http)).because.startswith("this controller stands by")


async def test_the_page_draws_what_moves_and_says_what_does_not(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    still = {"rdma_ports_active": 8.0, "gpu_corrected_errors": 12.0}
    await tell(cell, *({**still, "gpu_temperature_celsius": 40.0 + n, "gpu_pcie_replays": 3.0 * n} for n in range(4)))
    shown = await page(http, "/nodes/n1")
    drawn = [str(each["id"]) for each in shown.all("figure") if str(each["id"]).startswith("plot-counter-")]
    assert drawn == ["plot-counter-gpu_temperature_celsius", "plot-counter-gpu_pcie_replays"]
    assert "The same all that time: active RDMA ports: 8." in shown.text
    assert "Nothing was added to these totals: corrected memory errors of all GPUs: 12." in shown.text
    assert "Packets that GPUs sent again over PCI Express: what was added, 9 in all" in shown.text
    assert "none: it has told none" in (await page(http, "/nodes/n2")).text
