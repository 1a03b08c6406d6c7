"""What traces cost: from a finding that is published to the cordon that is called, with traces off, on, and stuck.

Each round is a fresh controller with a broker of its own, and the three ways take turns, so that what else the machine
does hits all of them alike. `stuck` is a receiver that takes requests and never answers.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from benchmarks.bench_cell import BenchCell, bench_cell
from benchmarks.cordon_latency import delays_ms, introduce, prepared
from benchmarks.fleet_traffic import Wire, fault, node_name, raised
from benchmarks.report import Row, publish, spread

WAYS = ("off", "on", "stuck")
APART_S = 0.05
"""Between two single faults. They are of one kind on nodes of one driver, and yet no domain is to blame for them."""


@dataclass(slots=True)
class Measured:
    """What one way took, over all rounds."""

    single_ms: list[float] = field(default_factory=list)
    burst_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    memory_mib: float = 0.0


@contextlib.asynccontextmanager
async def _served(ended: asyncio.Event, *, answers: bool) -> AsyncIterator[str]:
    async def take(request: web.Request) -> web.Response:
        await request.read()
        if not answers:
            await ended.wait()
        return web.Response(content_type="application/x-protobuf")

    app = web.Application(client_max_size=2**26)
    app.router.add_post("/v1/traces", take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@contextmanager
def receiver(*, answers: bool) -> Iterator[str]:
    """Run a receiver beside what is measured; return its address."""
    found: Future[str] = Future()
    ended, loop = asyncio.Event(), asyncio.new_event_loop()

    async def serve() -> None:
        async with _served(ended, answers=answers) as url:
            found.set_result(url)
            await ended.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        yield found.result(10)
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        loop.close()


def _fail(wire: Wire, nodes: range, *, apart_s: float) -> dict[str, float]:
    """Let nodes fail one after the other; return node → when that was published."""
    published = {}
    for number in nodes:
        published[node_name(number)] = time.time()
        wire.publish(*raised(node_name(number), 1, fault("79", "GPU-0")))
        due = time.monotonic() + apart_s
        while (left := due - time.monotonic()) > 0:
            wire.listen(left)
    wire.flush()
    return published


def one_round(cell: BenchCell, calls: Path, faults: int, into: Measured) -> None:
    """Measure single faults and then as many at once; the first ten are to warm up."""
    cell.start()
    with cell.wire() as wire:
        introduce(cell, wire, 10 + 2 * faults)
        delays_ms(calls, _fail(wire, range(10), apart_s=APART_S))
        used = cell.usage()[0]
        into.single_ms += delays_ms(calls, _fail(wire, range(10, 10 + faults), apart_s=APART_S))
        into.burst_ms += delays_ms(calls, _fail(wire, range(10 + faults, 10 + 2 * faults), apart_s=0.0))
        time.sleep(2.0)  # what is told afterwards costs, too
        cpu_s, into.memory_mib = cell.usage()
        into.cpu_ms.append(1_000 * (cpu_s - used) / (2 * faults))


async def run(faults: int, rounds: int) -> list[Row]:
    """Return the figures of every way."""
    measured = {way: Measured() for way in WAYS}
    with receiver(answers=True) as good, receiver(answers=False) as stuck:
        tables = {"off": "", "on": f'[traces]\nendpoint = "{good}"', "stuck": f'[traces]\nendpoint = "{stuck}"'}
        for _ in range(rounds):
            for way in WAYS:
                with tempfile.TemporaryDirectory(prefix="fleetmend-traces-") as name:
                    settings, _hook, calls = prepared(Path(name))
                    async with bench_cell(Path(name), f"domains = []\n{settings}{tables[way]}") as cell:
                        await asyncio.to_thread(one_round, cell, calls, faults, measured[way])
    return [row for way, found in measured.items() for row in _rows(way, found)]


def _rows(way: str, found: Measured) -> list[Row]:
    return [
        *spread(f"traces {way}: one fault", found.single_ms, "ms"),
        *spread(f"traces {way}: many at once", found.burst_ms, "ms"),
        Row(f"traces {way}: controller's time a fault", sum(found.cpu_ms) / len(found.cpu_ms), "ms of a core"),
        Row(f"traces {way}: controller's memory", found.memory_mib, "MiB"),
    ]


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    rows = asyncio.run(run(arguments.faults, arguments.rounds))
    about = f"finding published → cordon called, {arguments.rounds} rounds of 2 × {arguments.faults} faults each way"
    publish("trace_cost", rows, about=about)


if __name__ == "__main__":
    main()
