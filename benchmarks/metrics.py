"""What `/metrics` of a controller costs at 10,000 nodes: how long a scrape takes, how many series it has, and for how
long it holds up everything else on the event loop.

The cell is whole and in this process: real log, real policy, real web server. Every node has been measured by every
benchmark, one in twenty has a finding of one of a hundred checks, forty are held out, and every rack has a budget of
its own. Another process scrapes, as Prometheus does, compressed and as OpenMetrics. Belief is counted in turns, between
which everything else goes on: each is timed by the CPU that it takes. A watcher on the loop wakes every millisecond;
what it wakes too late by, something held the loop for: a cell of this size that rests does so, too.

Beside that, what the counters of so many nodes take that the controller keeps for their pages, by Python's own account
of memory. Every node tells every counter; the room for a whole day is taken with the first that are told.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import statistics
import sys
import tempfile
import time
import tracemalloc
from collections.abc import AsyncIterator, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path

import structlog

from benchmarks.report import Row, publish, spread
from checks.bench_outcome import Outcome
from checks.bench_result import Benchmark
from checks.finding import Action, Finding, Verdict
from checks.node_counters import NODE_COUNTERS, Kind
from checks.registry import CHECKS
from controller.bench_events import BenchJudged
from controller.counters import Counters
from controller.events import Event, FindingRaised, NodePlaced, NodeSeen, PresenceChanged
from controller.main import COLLECTED_AFTER
from controller.policy.rules import Budget, Limit
from controller.policy.scopes import Scope
from controller.sections.schedulers import SchedulerSection
from tests.support.open_cell import START, Clock, OpenCell, off_the_bus, open_cell, rules
from wire.messages import NodeFacts, Status
from wire.metrics import Values

HELD = 40
POOLS, SKUS, NODES_A_RACK = 8, 4, 8
SCRAPES = 100
LEVELS = 3
TICK_S = 0.001
SCRAPER = """
import sys, time, urllib.request
asked = {"Accept": "application/openmetrics-text; version=1.0.0", "Accept-Encoding": "gzip"}
for number in range(int(sys.argv[2])):
    began = time.perf_counter()
    with urllib.request.urlopen(urllib.request.Request(sys.argv[1], headers=asked), timeout=30) as answer:
        size = len(answer.read())
    print(1000 * (time.perf_counter() - began), size, flush=True)
    time.sleep(0.02)
"""


def node_events(number: int) -> list[Event]:
    """Return what makes one node known: what it is, where it stands, what benchmarks said of it."""
    name = f"g{number:05d}"
    facts = NodeFacts(gpu_model=f"GPU model {number % SKUS}", gpu_count=8, driver_version="580.65.06", serial=name)
    places = {"pool": [f"pool-{number % POOLS}"], "rack": [f"r{number // NODES_A_RACK:04d}"]}
    judged = (BenchJudged(name, "", f"run-{number}", each, Outcome.PASS, "It passed.") for each in Benchmark)
    return [
        NodeSeen(name, "boot-1", facts),
        NodePlaced(name, places),
        PresenceChanged(name, "online", "The agent connected."),
        *judged,
    ]


def finding_of(number: int) -> Finding:
    """Return a finding that no playbook of the cell answers."""
    check = CHECKS[number % len(CHECKS)].id
    return Finding(check, f"GPU-{number}", "1", Verdict.DEGRADED, Action.NONE, "It is degraded.")


async def fill(cell: OpenCell, nodes: int) -> None:
    """Make the fleet known, and have some of it fail."""
    for first in range(0, nodes, 500):
        events = [event for number in range(first, min(nodes, first + 500)) for event in node_events(number)]
        await cell.tell(*events)
    names = [f"g{number:05d}" for number in range(nodes)]
    cell.scheduler.nodes |= set(names)
    ill = [FindingRaised(names[n], "boot-1", finding_of(n // 20), START) for n in range(0, nodes, 20)]
    await cell.tell(*ill)
    lost = [FindingRaised(names[n], "boot-1", off_the_bus(), START) for n in range(0, nodes, nodes // HELD)]
    await cell.tell(*lost)
    await cell.until_true(lambda: len(cell.cell.belief.held) >= HELD)
    cell.front.watch.interval_s = SchedulerSection().interval_s
    gc.freeze()  # as a controller does with what it has recalled


async def watch(lateness_ms: list[float]) -> None:
    """Note how late the loop wakes us, until cancelled."""
    while True:
        due = time.perf_counter() + TICK_S
        await asyncio.sleep(TICK_S)
        lateness_ms.append(1000 * (time.perf_counter() - due))


@contextlib.asynccontextmanager
async def watched() -> AsyncIterator[list[float]]:
    """Give what the watcher notes meanwhile."""
    lateness_ms: list[float] = []
    watcher = asyncio.create_task(watch(lateness_ms))
    try:
        yield lateness_ms
    finally:
        watcher.cancel()
        await asyncio.gather(watcher, return_exceptions=True)


def turns_ms(counting: Coroutine[None, None, Values]) -> Iterator[float]:
    """Yield the CPU time of each turn of counting, between which the event loop runs everything else."""
    is_over = False
    while not is_over:
        began = time.thread_time()
        try:
            counting.send(None)
        except StopIteration:
            is_over = True
        yield 1000 * (time.thread_time() - began)


async def scrape(url: str, count: int) -> tuple[list[float], int]:
    """Return how many milliseconds each of these scrapes took, and the bytes of the last one on its way."""
    scraper = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SCRAPER, f"{url}/metrics", str(count)), stdout=asyncio.subprocess.PIPE
    )
    said, _ = await scraper.communicate()
    assert scraper.returncode == 0
    lines = [line.split() for line in said.decode().splitlines()]
    return [float(took_ms) for took_ms, _ in lines], int(lines[-1][1])


def kept_counters(nodes: int) -> list[Row]:
    """Return what the counters of so many nodes take, of healthy ones and at the most, and the CPU for a level."""
    healthy, _ = counters_held(nodes, is_ill=False)
    at_most, took_us = counters_held(nodes, is_ill=True)
    return [
        Row("counters of a healthy node", healthy / nodes / 1024, "KiB"),
        Row("counters of a node, at the most", at_most / nodes / 1024, "KiB"),
        Row("counters of all nodes, at the most", at_most / 2**20, "MiB", "≤ 250"),
        Row("a level's counters taken in, CPU, p50", statistics.median(took_us), "µs"),
    ]


def counters_held(nodes: int, *, is_ill: bool) -> tuple[int, list[float]]:
    """Return the bytes that are held, and how long it takes to take one more level of each node in, microseconds."""
    clock = Clock()
    counters, names = Counters(clock), [f"g{number:05d}" for number in range(nodes)]
    tracemalloc.start()
    for _ in range(LEVELS):
        clock.now += 60.0
        for name in names:
            tell(counters, name, clock.now, is_ill=is_ill)
    held_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    clock.now += 60.0
    return held_bytes, [tell(counters, name, clock.now, is_ill=is_ill) for name in names]


def tell(counters: Counters, node: str, now: float, *, is_ill: bool) -> float:
    """Have a node tell every counter as a message of its own; return the CPU that took, in microseconds.

    Args:
        is_ill: whether it counts errors of every kind all the time.
    """
    moving = {each.name for each in NODE_COUNTERS if is_ill or each.kind is Kind.LEVEL}
    told = {each.name: place + (now if each.name in moving else 0.5) for place, each in enumerate(NODE_COUNTERS)}
    level = Status(NodeFacts(), [], {}, 0, START, now, counters=told)
    began = time.thread_time()
    counters.heard(node, level)
    return 1e6 * (time.thread_time() - began)


async def measure(scratch: Path, nodes: int) -> list[Row]:
    """Return every figure."""
    racks = (Limit(Scope("rack"), Budget(nodes=2)),)
    async with open_cell(scratch, replace(rules(nodes=HELD), limits=racks, breakers=(), domains=())) as cell:
        await fill(cell, nodes)
        text, _ = await cell.metrics.text("application/openmetrics-text; version=1.0.0")
        series = sum(not line.startswith("#") for line in text.decode().splitlines())
        turns = [took_ms for _ in range(SCRAPES) for took_ms in turns_ms(cell.metrics.values())]
        async with watched() as at_rest_ms:
            await asyncio.sleep(SCRAPES * 0.05)
        async with watched() as lateness_ms:
            times_ms, size = await scrape(cell.url, SCRAPES)
    return [
        *spread("a scrape", times_ms, "ms"),
        Row("series", series, "", "≤ 5,000"),
        Row("text", len(text) / 1024, "KiB"),
        Row("text, compressed", size / 1024, "KiB"),
        *spread("a turn of counting, CPU", turns, "ms", "≤ 20"),
        Row("all turns of a scrape, CPU", sum(turns) / SCRAPES, "ms"),
        *spread("the event loop is held at rest", at_rest_ms, "ms"),
        *spread("the event loop is held by scrapes", lateness_ms, "ms"),
        *kept_counters(nodes),
    ]


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=10_000)
    asked = parser.parse_args()
    structlog.configure(processors=[drop])
    gc.set_threshold(*COLLECTED_AFTER)
    with tempfile.TemporaryDirectory() as scratch:
        rows = asyncio.run(measure(Path(scratch), asked.nodes))
    publish("metrics", rows, about=f"{asked.nodes:,} nodes, {SCRAPES} scrapes")


def drop(*_: object) -> str:
    """Log nothing: a fleet that is made up fails a thousand times."""
    raise structlog.DropEvent


if __name__ == "__main__":
    main()
