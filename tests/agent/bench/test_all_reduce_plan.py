"""What an all-reduce is measured at, by tier and memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.bench.all_reduce_plan import GIB, LEAST_BYTES, MIB, SHARE_OF_MEMORY, plan_of
from agent.bench.child import Broken


def test_the_first_tier_measures_the_one_size_that_is_judged() -> None:
    assert plan_of(1, memory_bytes=80 * GIB).sizes_bytes == (8 * GIB,)


@pytest.mark.parametrize("tier", [2, 3])
def test_the_others_draw_a_curve_that_ends_where_limits_hold(tier: int) -> None:
    plan = plan_of(tier, memory_bytes=80 * GIB)

    assert plan.sizes_bytes[0] == MIB
    assert list(plan.sizes_bytes) == sorted(set(plan.sizes_bytes))
    assert plan.largest_bytes == (8 if tier == 2 else 16) * GIB
    assert plan.checks_all


@given(st.integers(1, 3), st.integers(4 * MIB, 400 * GIB))
def test_both_buffers_fit_and_no_size_that_fits_is_larger(tier: int, memory_bytes: int) -> None:
    plan = plan_of(tier, memory_bytes=memory_bytes)

    room = SHARE_OF_MEMORY * memory_bytes
    assert all(size >= LEAST_BYTES and 2 * size <= room for size in plan.sizes_bytes)
    assert 4 * plan.largest_bytes > room or plan.largest_bytes >= 4 * GIB or tier == 2


@given(st.integers(0, 2 * MIB))
def test_a_gpu_without_room_is_an_error(memory_bytes: int) -> None:
    with pytest.raises(Broken, match="has no room for two buffers"):
        plan_of(1, memory_bytes=memory_bytes)
