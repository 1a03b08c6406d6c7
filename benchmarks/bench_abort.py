"""How fast a benchmark makes room: from a job's arrival to the last of the benchmark's processes being gone.

Real processes over the C double of NVML: a job arrives when its process appears on a GPU there. Three benchmarks are
ended: one that SIGTERM ends at once, one that heeds it between pieces of work of one second, which is the most that is
agreed on, and one that does not heed it, nor does the tool that it started. Half an idle second comes before each run,
in place of ten.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import random
import tempfile
import time
from pathlib import Path

import structlog

from benchmarks.report import Row, publish, spread
from tests.support.bench_site import BenchSite, is_alive
from tests.support.nvml_double import Library, build_double

MANNERS = {
    "stays": "ended by SIGTERM at once",
    "in_pieces": "ended between pieces of 1 s",
    "stubborn": "ended by SIGKILL, with its tool",
}
AIM = "≤ 3"
LONGEST_WAIT_S = 1.0
LOOK_S = 0.002
SEED = 7


async def abort_s(root: Path, library: Library, manner: str, wait_s: float) -> float:
    """Return how long one benchmark took to be gone, for a job that comes so long after its start."""
    library.say()
    site = BenchSite(root, library, manner)
    site.written.unlink(missing_ok=True)
    processes = await site.begin()
    await asyncio.sleep(wait_s)
    library.say(f"gpu 0 processes {os.getpid()}:0")
    began = time.monotonic()
    while any(map(is_alive, processes)):  # noqa: ASYNC110 # the kernel tells nobody by itself
        await asyncio.sleep(LOOK_S)
    took_s = time.monotonic() - began
    await site.orders.idle()
    (result,) = site.results
    if not result.because.startswith(f"process {os.getpid()} "):
        raise RuntimeError(f"it ended for another reason: {result.because}")
    return took_s


async def measure(scratch: Path, runs: int) -> list[Row]:
    """Return every figure."""
    library = Library(scratch, build_double(scratch / "double"))
    os.environ |= library.environment or {}
    chance, rows, all_s = random.Random(SEED), list[Row](), list[float]()
    for manner, what in MANNERS.items():
        took_s = [await abort_s(scratch, library, manner, chance.uniform(0.0, LONGEST_WAIT_S)) for _ in range(runs)]
        rows += spread(what, took_s, "s", AIM)
        all_s += took_s
    return [*rows, *spread("all of them", all_s, "s", AIM)]


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100, help="of each kind of benchmark")
    runs = parser.parse_args().runs
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with tempfile.TemporaryDirectory() as scratch:
        rows = asyncio.run(measure(Path(scratch), runs))
    publish("bench_abort", rows, about=f"{runs} runs each")


if __name__ == "__main__":
    main()
