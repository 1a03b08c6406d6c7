"""Two clocks side by side: whatever a node says of time, no span ends before it begins."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.tracing.moments import LONGEST_S, Arrival, Way, way_of

NOW = 1_790_000_000.0
TIMES = st.floats(allow_nan=False, allow_infinity=False) | st.floats(NOW - 100, NOW + 100)


def arrival(*, recorded: float, sent: float, received: float = NOW) -> Arrival:
    return Arrival("topic", "n1/boot-1/1", recorded, sent, received, 1)


def test_clocks_that_agree_are_left_alone() -> None:
    way = way_of(arrival(recorded=NOW - 2, sent=NOW - 1), observed_at=NOW - 3)
    assert way == Way(NOW - 3, NOW - 3, NOW - 2, NOW - 1, NOW)


def test_a_clock_that_is_ahead_is_moved_back_as_a_whole() -> None:
    way = way_of(arrival(recorded=NOW + 58, sent=NOW + 60), observed_at=NOW + 57)
    assert way == Way(NOW - 3, NOW - 3, NOW - 2, NOW, NOW, shift_s=-60.0)


def test_an_order_is_not_carried_out_before_it_was_given() -> None:
    given_at = NOW - 5
    way = way_of(
        arrival(recorded=NOW - 62, sent=NOW - 61), observed_at=NOW - 63, began_at=NOW - 65, not_before=given_at
    )
    assert way == Way(NOW - 5, NOW - 3, NOW - 2, NOW - 1, NOW, shift_s=60.0)


def test_what_an_earlier_run_wrote_has_no_moment_of_its_own() -> None:
    assert way_of(arrival(recorded=0.0, sent=NOW), observed_at=NOW - 1).recorded == NOW - 1


@pytest.mark.parametrize("observed_at", [0.0, -1.0, NOW - LONGEST_S - 1])
def test_a_node_without_a_clock_does_not_stretch_a_trace_over_years(observed_at: float) -> None:
    assert way_of(arrival(recorded=NOW, sent=NOW), observed_at=observed_at).observed == NOW


@given(TIMES, TIMES, TIMES, TIMES, st.just(0.0) | st.floats(NOW - 100, NOW))
def test_any_times_are_put_in_order(
    began: float, observed: float, recorded: float, sent: float, not_before: float
) -> None:
    way = way_of(arrival(recorded=recorded, sent=sent), observed_at=observed, began_at=began, not_before=not_before)
    times = [way.began, way.observed, way.recorded, way.sent, way.received]
    assert all(map(math.isfinite, times))
    assert times == sorted(times)
    assert times[0] >= max(not_before, NOW - LONGEST_S)
