"""A benchmark of a simulated machine behind the real gate: measured when idle, and ended when a job arrives."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from agent.benches import Benches
from agent.clock import Clock
from agent.desk import Desk
from agent.simulation.machine import SimulatedMachine
from agent.simulation.sources import bench_place
from agent.telling import Telling
from checks.bench_outcome import Outcome
from checks.bench_result import Benchmark, BenchResult
from tests.support.agent_node import MemoryJournal
from tests.support.bench_site import Looks
from tests.support.eventually import eventually
from wire.bench import BenchWish, to_parameters
from wire.messages import BenchEnded, BenchProgress
from wire.orders import Order, OrderAction

GONE_S = 3.0
"""From a job's arrival until nothing of the benchmark is left. Source: the aim that is measured in benchmarks/."""


@dataclass(slots=True)
class Site:
    """A simulated machine and what runs benchmarks on it."""

    machine: SimulatedMachine
    benches: Benches
    journal: MemoryJournal = field(default_factory=MemoryJournal)
    said: list[BenchProgress] = field(default_factory=list)

    async def run(self, benchmark: Benchmark, tier: int = 1) -> BenchResult:
        now = time.time()
        wish = BenchWish("lease-1", benchmark, tier, limit_s=60.0, lease_ends_at=now + 120.0, idle_by="none")
        order = Order("o1", "n1", OrderAction.BENCH, now, now + 120.0, 1, parameters=to_parameters(wish))
        await self.benches.run(order)
        (ended,) = [event for event in self.journal.events if isinstance(event, BenchEnded)]
        return ended.result


def children() -> list[psutil.Process]:
    """Return the processes of benchmarks, and those that ask NVML for them."""
    return [child for child in psutil.Process().children(recursive=True) if child.status() != psutil.STATUS_ZOMBIE]


@pytest.fixture(params=[20.0])
async def site(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    machine = SimulatedMachine.create(tmp_path / "n1", name="n1", seed=1, speedup=request.param)
    journal, said = MemoryJournal(), list[BenchProgress]()
    desk = Desk((), journal=journal, boot_id=machine.boot_id(), notify=lambda: None, clock=Clock())
    place = bench_place(machine, tmp_path)
    benches = Benches(place, Looks(), Telling(journal, desk, lambda: None), Clock(), said.append)
    await benches.recover()
    before = {child.pid for child in children()}
    yield Site(machine, benches, journal, said)
    assert {child.pid for child in children()} <= before


async def test_an_idle_machine_is_measured(site: Site) -> None:
    began = time.monotonic()
    result = await site.run(Benchmark.RDMA)
    assert (result.outcome, len(result.numbers)) == (Outcome.PASS, 16), result.because
    assert time.monotonic() - began >= 1.5
    assert site.said


async def test_a_machine_at_work_is_not_measured(site: Site) -> None:
    await site.machine.inject_fault("job-arrives", device="", parameters={})
    result = await site.run(Benchmark.RDMA)
    assert result.outcome is Outcome.SKIP
    assert "is on GPU-" in result.because


async def test_a_job_that_arrives_ends_it_within_seconds(site: Site) -> None:
    running = asyncio.create_task(site.run(Benchmark.DCGM, tier=2))
    await eventually("it runs", lambda: bool(site.said), limit_s=20.0)
    await site.machine.inject_fault("job-arrives", device="", parameters={})
    arrived = time.monotonic()
    result = await running
    assert time.monotonic() - arrived <= GONE_S
    assert result.outcome is Outcome.SKIP
    assert "is on GPU-" in result.because
