"""The fleet page of 10,000 nodes in a real Chromium: how soon it can be used, its bytes, and how soon it shows a fault.

A finding is published over MQTT and its cell on the map is looked at: from there on the whole way counts, broker,
intake, decision, commit, the stream and the browser's drawing. The second half has the fleet talk meanwhile, and the
last has two hundred pages open at once.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import tempfile
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import aiohttp
from playwright.async_api import Browser, CDPSession, Page, async_playwright

from benchmarks.bench_cell import BenchCell, bench_cell
from benchmarks.cordon_latency import PLAYBOOK
from benchmarks.fleet_traffic import CELL, Wire, envelope, fault, node_name, online, raised
from benchmarks.report import Row, percentile, publish, spread
from checks.finding import Verdict
from tests.support.browser import CHROMIUM
from wire.messages import NodeFacts, Status
from wire.topics import Address, Channel

LOADS: Final = 10
FAULTS: Final = 200
GAP_S: Final = 0.1
QUIET_S: Final = 20.0
PAGES: Final = 200
TALK_A_SECOND: Final = 300
"""Edges of the whole fleet, 0.03 a second and node, as in `cordon_latency`."""

WATCH: Final = """
window.drawn = [];
window.shown = {};
window.busyUntil = 0;
new PerformanceObserver((list) => {
  for (const task of list.getEntries()) window.busyUntil = task.startTime + task.duration;
}).observe({ type: "longtask", buffered: true });
let pending = [];
document.addEventListener("fleetmend:change", ({ detail }) => pending.push(...detail.nodes.map(([name]) => name)));
document.addEventListener("fleetmend:drawn", () => {
  window.drawn.push(performance.now());
  const names = pending;
  pending = [];
  requestAnimationFrame(() => {
    const now = performance.timeOrigin + performance.now();
    for (const name of names) window.shown[name] ??= now;
  });
});
"""
"""Kept by the page itself: when the map was drawn, until when a task kept it from answering, when a node was shown.
Shown is said in the frame after that in which it was drawn, when the pixels are on their way to the screen."""


@dataclass(slots=True)
class Meter:
    """What the network brought to one page, bytes as they came over the wire. `live`: those of the stream."""

    first: int = 0
    live: int = 0
    _streams: set[str] = field(default_factory=set)

    def watch(self, session: CDPSession) -> None:
        """Count from here on."""
        session.on("Network.responseReceived", lambda event: self._answered(event))
        session.on("Network.dataReceived", lambda event: self._came(event))
        session.on("Network.loadingFinished", lambda event: self._ended(event))

    def _answered(self, event: dict[str, Any]) -> None:
        if event["type"] == "EventSource":
            self._streams.add(event["requestId"])

    def _came(self, event: dict[str, Any]) -> None:
        if event["requestId"] in self._streams:
            self.live += event["encodedDataLength"] or event["dataLength"]

    def _ended(self, event: dict[str, Any]) -> None:
        if event["requestId"] not in self._streams:
            self.first += int(event["encodedDataLength"])


@contextlib.asynccontextmanager
async def fleet_page(browser: Browser, url: str) -> AsyncIterator[tuple[Page, Meter]]:
    """Open the fleet page as somebody who was never here, and wait until its map is drawn."""
    context = await browser.new_context(viewport={"width": 1440, "height": 1000})
    page, meter = await context.new_page(), Meter()
    await page.add_init_script(WATCH)
    session = await context.new_cdp_session(page)
    await session.send("Network.enable")
    meter.watch(session)
    await page.goto(url)
    await page.wait_for_function("() => window.drawn.length > 0")
    yield page, meter
    await context.close()


async def loads(browser: Browser, url: str) -> list[Row]:
    """Return how soon the page can be used, and the bytes until then."""
    interactive, drawn, first, again = [], [], [], []
    for _ in range(LOADS):
        async with fleet_page(browser, url) as (page, meter):
            await page.keyboard.press("m")
            await page.wait_for_selector(".walker:focus")
            await page.wait_for_function("() => performance.now() - window.busyUntil > 500")
            drawn.append(await page.evaluate("window.drawn[0]"))
            interactive.append(await page.evaluate("Math.max(window.drawn[0], window.busyUntil)"))
            first.append(meter.first)
            meter.first = 0
            await page.reload()
            await page.wait_for_function("() => window.drawn.length > 0")
            again.append(meter.first)
    return [
        *spread(f"time to interactive, {LOADS} loads", interactive, "ms", "≤ 1,000"),
        *spread("map drawn", drawn, "ms"),
        Row("bytes of a first visit", percentile(first, 0.5) / 1_000, "kB"),
        Row("bytes of a further one", percentile(again, 0.5) / 1_000, "kB"),
    ]


async def shown_after(page: Page, wire: Wire, cell: BenchCell, first: int) -> tuple[list[float], list[float]]:
    """Let nodes fail one by one; return how long after it was published, and logged, each was shown, milliseconds."""
    published = {}
    for name in map(node_name, range(first, first + FAULTS)):
        published[name] = 1_000 * time.time()
        await asyncio.to_thread(_say, wire, name)
        await asyncio.sleep(GAP_S)
    await page.wait_for_function("(names) => names.every((name) => name in window.shown)", arg=list(published))
    shown = await page.evaluate("window.shown")
    logged = {name: await asyncio.to_thread(_logged_at, cell, name) for name in published}
    return [shown[name] - at for name, at in published.items()], [shown[name] - at for name, at in logged.items()]


def _say(wire: Wire, name: str) -> None:
    wire.publish(*raised(name, 1, fault("31", "GPU-0", verdict=Verdict.DEGRADED)))
    wire.flush()


def _logged_at(cell: BenchCell, name: str) -> float:
    """Return when the controller put a node's finding into its log, Unix milliseconds."""
    timeline = cell.get("nodes", name)["timeline"]
    at = next(entry["at"] for entry in timeline if entry["kind"] == "finding.raised")
    return 1_000 * datetime.fromisoformat(at).timestamp()


def introduce(cell: BenchCell, wire: Wire, nodes: int) -> None:
    """Make a fleet known that stands in racks of 32 behind rails of eight leaf switches for 256."""
    for number in range(nodes):
        name, rail = node_name(number), number // 256
        places = {
            "site": ["ams1" if number < nodes // 2 else "fra2"],
            "pool": ["training" if number % 5 else "serving"],
            "rack": [f"r{number // 32:03d}"],
            "leaf": [f"leaf-{rail:02d}-{plane}" for plane in range(1, 9)],
        }
        facts = NodeFacts(agent_version="1", gpu_model="H100", gpu_count=8, serial=f"S-{number:06d}", places=places)
        status = envelope(name, Status(facts, [], {}, 0, time.time(), time.time()))
        wire.publish(*online(name), retain=True)
        wire.publish(Address(CELL, name, Channel.STATUS).topic, status, retain=True)
    wire.flush()
    end = time.monotonic() + 120
    while cell.get("status")["counts"]["ok"] < nodes:
        assert time.monotonic() < end, "the fleet is not known"
        time.sleep(0.2)


@contextlib.asynccontextmanager
async def talking(cell: BenchCell, nodes: int) -> AsyncIterator[None]:
    """Have the second half of the fleet find and clear small faults meanwhile."""
    ending = threading.Event()
    task = asyncio.create_task(asyncio.to_thread(_talk, cell, nodes, ending))
    try:
        yield
    finally:
        ending.set()
        await task


def _talk(cell: BenchCell, nodes: int, ending: threading.Event) -> None:
    dice, seq = random.Random(1), 1_000
    with cell.wire("talking") as wire:
        while not ending.wait(0.01):
            for _ in range(TALK_A_SECOND // 100):
                seq += 1
                name = node_name(dice.randrange(nodes // 2, nodes))
                wire.publish(*raised(name, seq, fault("43", "GPU-1", verdict=Verdict.DEGRADED)))
            wire.listen(0.0)


async def cost_of_pages(cell: BenchCell, wire: Wire, first: int, pages: int) -> float:
    """Return which share of a core the controller takes while nodes fail and so many pages are told, percent."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        readers = [asyncio.create_task(_read(session, f"{cell.url}/api/v1/live")) for _ in range(pages)]
        await asyncio.sleep(2.0)
        used, began = cell.usage()[0], time.monotonic()
        for name in map(node_name, range(first, first + FAULTS)):
            await asyncio.to_thread(_say, wire, name)
            await asyncio.sleep(GAP_S)
        share = 100 * (cell.usage()[0] - used) / (time.monotonic() - began)
        for reader in readers:
            reader.cancel()
        ended = await asyncio.gather(*readers, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ended), ended
        return share


async def _read(session: aiohttp.ClientSession, url: str) -> None:
    async with session.get(url, timeout=aiohttp.ClientTimeout(total=None)) as answer:
        while await answer.content.readany():
            pass
    raise ConnectionError("the stream ended")


async def measure(cell: BenchCell, nodes: int) -> list[Row]:
    """Return the figures."""
    cell.start()
    with cell.wire() as wire:
        await asyncio.to_thread(introduce, cell, wire, nodes)
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            rows = await loads(browser, cell.url)
            async with fleet_page(browser, cell.url) as (page, meter):
                await asyncio.sleep(QUIET_S)
                rows.append(Row("bytes of a quiet fleet, a minute", 60 * (meter.live / QUIET_S) / 1_000, "kB"))
                meter.live = 0
                rows += _spread("finding", await shown_after(page, wire, cell, 0))
                rows.append(Row("bytes of the stream for each of them", meter.live / FAULTS, "B"))
                async with talking(cell, nodes):
                    meter.live, began = 0, time.monotonic()
                    rows += _spread("finding in a talking fleet", await shown_after(page, wire, cell, FAULTS))
                    took_s = time.monotonic() - began
                rows.append(Row("bytes of the stream of a talking fleet, a second", meter.live / took_s / 1_000, "kB"))
            await browser.close()
        none = await cost_of_pages(cell, wire, 2 * FAULTS, 0)
        many = await cost_of_pages(cell, wire, 3 * FAULTS, PAGES)
    return [*rows, Row("a core's share, no page, 10 faults a second", none, "%"), Row(f"with {PAGES} pages", many, "%")]


def _spread(what: str, found: tuple[list[float], list[float]]) -> list[Row]:
    whole, from_log = found
    return [
        *spread(f"{what} published → shown", whole, "ms", "≤ 500"),
        *spread(f"{what} logged → shown", from_log, "ms", "≤ 250"),
    ]


async def run(nodes: int, folder: Path) -> list[Row]:
    """Return the figures of one cell."""
    playbooks = folder / "playbooks"
    playbooks.mkdir()
    (playbooks / "cordon_and_ask.yaml").write_text(PLAYBOOK)
    async with bench_cell(folder, f'playbooks = "{playbooks}"\n') as cell:
        return await measure(cell, nodes)


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=10_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fleetmend-web-") as folder:
        rows = asyncio.run(run(arguments.nodes, Path(folder)))
    publish("web", rows, about=f"the fleet page of {arguments.nodes:,} nodes in Chromium")


if __name__ == "__main__":
    main()
