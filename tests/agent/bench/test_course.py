"""A benchmark from its order to its result, with real processes: what it comes back with, and that nothing is left."""

from __future__ import annotations

import fcntl
import os
from typing import Any

import psutil
import pytest

from agent.bench.lock import FILE
from agent.benches import MODES, UNDER_WAY
from checks.bench_outcome import Outcome
from tests.support.bench_site import LEASE, BenchSite, is_alive
from tests.support.nvml_double import GPU_UUIDS
from wire.messages import BenchEnded, OrderEnded

FIRST, SECOND = GPU_UUIDS
STRANGER = f"gpu 0 processes {os.getpid()}:1073741824"


@pytest.fixture(autouse=True)
def leaves_nothing(site: BenchSite) -> Any:
    """See after each test that no process, lock, record or changed setting is left."""
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    yield
    after = {child.pid for child in psutil.Process().children(recursive=True) if is_alive(child.pid)}
    assert after <= before
    assert (site.journal.load(UNDER_WAY), site.journal.load(MODES)) == ({}, {})
    if (site.root / FILE).exists():
        with (site.root / FILE).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


async def test_an_order_becomes_a_result_and_then_ends(site: BenchSite) -> None:
    result = await site.run()
    assert (result.outcome, result.because) == (Outcome.PASS, "measured"), result
    assert [number.value for number in result.numbers] == [3000.0]
    ended, answered = site.journal.events
    assert isinstance(ended, BenchEnded)
    assert isinstance(answered, OrderEnded)
    assert (ended.lease, answered.outcome) == (LEASE, "done")
    assert answered.because == "gpu_bandwidth: pass: measured"
    assert ended.observed_at - ended.started_at >= 10.0
