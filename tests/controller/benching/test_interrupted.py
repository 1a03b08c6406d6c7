"""I4 and I7: the controller is killed at every boundary of a run of benchmarks, enumerated, and goes on.

Boundaries are before and after every commit and every message. Whatever happens, no order is carried out twice, the
run comes to the same end, what failed is found once, and no lease is left.
"""

from __future__ import annotations

import time

import pytest

from checks.bench_result import BenchResult
from controller.bench_events import BenchAsked, BenchJudged
from controller.events import FindingRaised, Logged
from controller.policy.benching.bench_rules import BenchRules
from controller.policy.rules import Budget, Rules
from tests.controller.conftest import NewStore, Store
from tests.support.bench_life import BenchWorld, bench_life
from tests.support.bench_policy import GPU, memory_read, result_of
from tests.support.interrupted import Died, Fuse
from wire.messages import AgentStarted

NO_FUSE = 10**9
SLOW = result_of(memory_read(1_000.0))
RULES = Rules((), Budget(nodes=1), domains=(), bench=BenchRules(idle_by="counting", again_after_s=0.01))
ASKED = BenchAsked("run-1", ["n1"], ["gpu_bandwidth"], 1, "operator", "kim", "to see")


def new_world(*results: BenchResult) -> BenchWorld:
    world = BenchWorld("n1", results=list(results))
    world.put(AgentStarted(False, "", "1", time.time()))
    return world


async def one_life(store: Store, world: BenchWorld, fuse: Fuse) -> str:
    cell = await bench_life(store, world, RULES, fuse, ASKED, until=time.monotonic() + 20)
    run = cell.belief.bench.runs.get("run-1")
    assert fuse.died.is_set() or not cell.belief.bench.leases
    return run.outcome if run is not None else ""


async def whole_story(store: Store, burns_at: int, *results: BenchResult) -> tuple[BenchWorld, str, bool]:
    """Run to the end, dying once; return the world, the outcome, and whether it died at all."""
    world, fuse = new_world(*results), Fuse(burns_at)
    try:
        outcome = await one_life(store, world, fuse)
    except Died:
        outcome = ""
    if fuse.died.is_set():
        outcome = await one_life(store, world, Fuse(NO_FUSE))
    return world, outcome, fuse.died.is_set()


def entries(store: Store) -> list[Logged]:
    log = store()
    try:
        return list(log.read())
    finally:
        log.close()


@pytest.mark.timeout(300)
async def test_i4_killed_at_every_boundary(new_store: NewStore) -> None:
    """The node is slow, rests, is slow again, and is condemned: two leases, two orders, one finding."""
    died, burns_at = True, 0
    while died:
        burns_at += 1
        store = new_store()
        world, outcome, died = await whole_story(store, burns_at, SLOW, SLOW)
        assert outcome == "fail", f"boundary {burns_at}"
        assert world.effects == {"bench bench/lease-000001/n1": 1, "bench bench/lease-000002/n1": 1}, burns_at
        log = [entry.event for entry in entries(store)]
        raised = [(e.finding.device, e.finding.code) for e in log if isinstance(e, FindingRaised)]
        assert raised == [(GPU, "memory_read")], f"boundary {burns_at}"
        assert len([e for e in log if isinstance(e, BenchJudged)]) == 2, f"boundary {burns_at}"
    assert burns_at > 12
