"""An agent that is killed while a benchmark runs: nothing of it goes on, and the next start puts all in order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from agent.bench.lock import locked
from agent.benches import MODES, UNDER_WAY
from agent.outbox import Outbox
from checks.bench_outcome import Outcome
from tests.support.bench_site import LEASE, BenchSite, is_alive
from tests.support.eventually import eventually
from tests.support.nvml_double import GPU_UUIDS
from wire.messages import BenchEnded, OrderEnded

AGENT = """
import asyncio, sys
from pathlib import Path
from agent.outbox import Outbox
from tests.support.bench_site import BenchSite
from tests.support.nvml_double import Library

async def run(root):
    library = Library(root, None)
    site = BenchSite(root, library, manner="changes_and_stays", journal=Outbox(root / "outbox.sqlite", "boot-1"))
    await site.begin()
    await asyncio.sleep(600)

asyncio.run(run(Path(sys.argv[1])))
"""


async def test_killed_in_the_middle_it_leaves_nothing_but_a_record(site: BenchSite) -> None:
    agent = subprocess.Popen([sys.executable, "-c", AGENT, str(site.root)], env=os.environ)  # noqa: ASYNC220 # killed
    try:
        await eventually("the benchmark runs", site.written.exists, limit_s=60.0)
        processes = tuple(int(pid) for pid in site.written.read_text().split())
    finally:
        agent.send_signal(signal.SIGKILL)
        agent.wait()
    await eventually("its processes are gone", lambda: not any(map(is_alive, processes)))
    with locked(site.root):
        assert state_of(site, "persistence") == "0"

    outbox = Outbox(site.root / "outbox.sqlite", "boot-1")
    assert outbox.load(MODES)["modes"][GPU_UUIDS[0]]["persistence"] == 1
    again = BenchSite(site.root, site.library, journal=outbox)
    await again.orders.recover()
    assert state_of(site, "persistence") == "1"
    assert state_of(site, "clocks") == "345 2619 1980 2619 1980 2619"
    order, run = (event.body for event in outbox.pending(10))
    assert isinstance(order, OrderEnded)
    assert isinstance(run, BenchEnded)
    assert (order.outcome, order.because) == ("failed", "the agent stopped while carrying it out")
    assert (run.lease, run.result.outcome) == (LEASE, Outcome.ERROR)
    assert run.result.because == "the agent ended while it ran"
    assert (outbox.load(MODES), outbox.load(UNDER_WAY)) == ({}, {})
    outbox.close()


def state_of(site: BenchSite, key: str) -> str:
    """Return what the last line about the first GPU says."""
    said = [line for line in Path(site.library.state).read_text().splitlines() if line.startswith(f"gpu 0 {key} ")]
    return said[-1].removeprefix(f"gpu 0 {key} ")


def test_an_agent_that_runs_no_benchmark_does_not_carry_them() -> None:
    script = "import sys, agent.main; print(*(name for name in sys.modules if name.startswith('agent.bench.')))"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == ""
