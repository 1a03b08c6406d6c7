"""Reads beside the event loop."""

from __future__ import annotations

import asyncio
import threading

import pytest

from agent.sources.thread import Apart
from checks.errors import CannotObserve
from tests.support.eventually import eventually


async def test_results_and_errors_come_back() -> None:
    answers = iter([1, 2])
    counting = Apart("counting", lambda: next(answers))
    assert [await counting.result(deadline_s=5), await counting.result(deadline_s=5)] == [1, 2]

    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await Apart("failing", fail).result(deadline_s=5)


async def test_many_results_in_a_row_never_meet_the_one_before() -> None:
    quick = Apart("quick", lambda: 1)
    assert sum([await quick.result(deadline_s=5) for _ in range(300)]) == 300


async def test_a_late_read_is_left_behind_and_none_is_started_until_it_is_over() -> None:
    release, starts = threading.Event(), []

    def read() -> int:
        starts.append(1)
        release.wait(10)
        return len(starts)

    reading = Apart("files", read)
    with pytest.raises(CannotObserve, match=r"reading files took longer than 0.05 s"):
        await reading.result(deadline_s=0.05)
    with pytest.raises(CannotObserve, match="reading files hangs"):
        await reading.result(deadline_s=0.05)
    assert len(starts) == 1
    release.set()
    await eventually("it is over", lambda: not reading.is_running)
    assert await reading.result(deadline_s=5) == 2


def test_a_read_that_outlives_its_loop_harms_nobody() -> None:
    release = threading.Event()
    reading = Apart("files", lambda: release.wait(10))
    with pytest.raises(CannotObserve):
        asyncio.run(reading.result(deadline_s=0.05))
    release.set()
    asyncio.run(eventually("it is over", lambda: not reading.is_running))
