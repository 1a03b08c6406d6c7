"""The last day of a node's counters: what is kept of it, and that it never takes more room, whatever is told when."""

from __future__ import annotations

import math
import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.node_counters import NODE_COUNTERS, Kind
from controller.counter_ring import KEPT_S, LANE_BYTES, MINUTES, QUARTERS, CounterRing, Sample
from controller.counters import CLEAR_EVERY_S, Counters
from tests.support.open_cell import Clock
from wire.messages import NodeFacts, Status

MIDNIGHT = 1_790_035_200.0
HEAT, ERRORS = "gpu_temperature_celsius", "gpu_corrected_errors"


def told(*values: tuple[float, float], name: str = HEAT) -> CounterRing:
    """Return a ring that was told these values at these seconds after midnight."""
    ring = CounterRing()
    for after_s, value in values:
        ring.tell({name: value}, told_at=MIDNIGHT + after_s, at=MIDNIGHT + after_s)
    return ring


def test_a_level_is_kept_by_the_minute() -> None:
    ring = told((5.0, 40.0), (65.0, 43.0), (119.0, 42.0))
    assert ring.samples(HEAT, now=MIDNIGHT + 120.0) == [
        Sample(MIDNIGHT, 60.0, 40.0, 40.0),
        Sample(MIDNIGHT + 60.0, 60.0, 42.0, 42.0),
    ]


def test_what_is_older_than_two_hours_is_kept_by_the_quarter_with_its_least_and_most() -> None:
    day = 24 * 60
    ring = told(*((60.0 * minute, float(minute % 15)) for minute in range(day)))
    samples = ring.samples(HEAT, now=MIDNIGHT + 60.0 * day)
    quarters = [sample for sample in samples if sample.over_s == 900.0]
    assert [(sample.low, sample.high) for sample in quarters] == [(0.0, 14.0)] * 88
    assert [sample.low for sample in samples[88:]] == [float(minute % 15) for minute in range(MINUTES)]
    assert all(one.at + one.over_s == other.at for one, other in pairwise(samples))
    assert samples[-1].at + samples[-1].over_s - samples[0].at == KEPT_S


def test_a_total_is_kept_as_its_growth() -> None:
    ring = told((0.0, 100.0), (60.0, 100.0), (90.0, 103.0), (119.0, 104.0), (180.0, 2.0), (240.0, 5.0), name=ERRORS)
    assert [(s.at - MIDNIGHT, s.low, s.high) for s in ring.samples(ERRORS, now=MIDNIGHT + 300.0)] == [
        (60.0, 4.0, 4.0),
        (180.0, 0.0, 0.0),
        (240.0, 3.0, 3.0),
    ]
    assert ring.newest == {ERRORS: 5.0}


def test_what_a_total_grew_by_during_a_silence_is_known_when_the_node_speaks_again() -> None:
    ring = told((0.0, 1.0), (60.0, 1.0), (7_200.0, 9.0), name=ERRORS)
    samples = ring.samples(ERRORS, now=MIDNIGHT + 7_200.0)
    assert [(sample.at - MIDNIGHT, sample.high) for sample in samples] == [(0.0, 0.0), (7_200.0, 8.0)]


def test_a_silence_is_a_gap_and_what_is_older_than_a_day_is_gone() -> None:
    ring = told((0.0, 40.0), (KEPT_S, 41.0))
    assert [sample.low for sample in ring.samples(HEAT, now=MIDNIGHT + KEPT_S - 1.0)] == [41.0]
    assert ring.samples(HEAT, now=MIDNIGHT + 2 * KEPT_S + 60.0) == []


def test_what_comes_late_changes_nothing_and_a_clock_that_was_set_back_does_not_stop_it() -> None:
    ring = told((100.0, 1.0), (160.0, 2.0), name=ERRORS)
    ring.tell({ERRORS: 1.0}, told_at=MIDNIGHT + 100.0, at=MIDNIGHT + 161.0)
    assert ring.newest == {ERRORS: 2.0}
    ring.tell({ERRORS: 4.0}, told_at=MIDNIGHT - 3_600.0, at=MIDNIGHT + 220.0)
    assert ring.samples(ERRORS, now=MIDNIGHT + 220.0)[-1].high == 2.0


def test_our_own_clock_may_be_set_back() -> None:
    ring = told((7_200.0, 40.0), (7_260.0, 41.0))
    ring.tell({HEAT: 42.0}, told_at=MIDNIGHT + 7_320.0, at=MIDNIGHT + 7_000.0)
    assert ring.samples(HEAT, now=MIDNIGHT + 7_300.0)[-1] == Sample(MIDNIGHT + 7_260.0, 60.0, 42.0, 42.0)
    ring.tell({HEAT: 43.0}, told_at=MIDNIGHT + 7_380.0, at=MIDNIGHT)
    assert ring.samples(HEAT, now=MIDNIGHT) == [Sample(MIDNIGHT, 60.0, 43.0, 43.0)]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e16, -1e300])
def test_what_is_no_number_is_left_out(value: float) -> None:
    ring = told((0.0, value))
    assert (ring.newest, ring.samples(HEAT, now=MIDNIGHT)) == ({}, [])


def test_names_that_nobody_knows_take_no_room() -> None:
    ring = CounterRing()
    ring.tell({f"made up {number}": 1.0 for number in range(1_000)}, told_at=MIDNIGHT, at=MIDNIGHT)
    assert (ring.newest, ring.room_bytes) == ({}, CounterRing().room_bytes)


def test_totals_that_never_grow_share_one_lane_until_they_do_or_are_not_told() -> None:
    names = [each.name for each in NODE_COUNTERS if each.kind is Kind.TOTAL]
    ring = CounterRing()

    def tell(after_s: float, **values: float) -> None:
        ring.tell(dict.fromkeys(names, 5.0) | values, told_at=MIDNIGHT + after_s, at=MIDNIGHT + after_s)

    for minute in range(3):
        tell(60.0 * minute)
    assert ring.room_bytes == CounterRing().room_bytes
    tell(180.0, **{ERRORS: 6.0})
    ring.tell({ERRORS: 6.0}, told_at=MIDNIGHT + 240.0, at=MIDNIGHT + 240.0)
    tell(300.0, **{ERRORS: 6.0})
    now = MIDNIGHT + 300.0
    assert [(s.at - MIDNIGHT, s.high) for s in ring.samples(ERRORS, now=now)] == [
        (60.0, 0.0), (120.0, 0.0), (180.0, 1.0), (240.0, 0.0), (300.0, 0.0),
    ]  # fmt: skip
    others = [[s.at - MIDNIGHT for s in ring.samples(name, now=now)] for name in names if name != ERRORS]
    assert others == [[60.0, 120.0, 180.0, 300.0]] * (len(names) - 1)


moments = st.floats(0.0, 4e9) | st.floats(MIDNIGHT, MIDNIGHT + 200_000.0)
names = st.sampled_from([*(each.name for each in NODE_COUNTERS), "made up"])
levels = st.tuples(moments, moments, st.dictionaries(names, st.floats(), max_size=20))


@given(st.lists(levels, max_size=40))
def test_whatever_is_told_when_the_room_is_bounded_and_the_samples_are_in_order(
    said: list[tuple[float, float, dict[str, float]]],
) -> None:
    ring = CounterRing()
    for told_at, at, values in said:
        ring.tell(values, told_at=told_at, at=at)
    assert ring.room_bytes <= (len(NODE_COUNTERS) + 1) * (LANE_BYTES + sys.getsizeof(ring))
    for counter in NODE_COUNTERS:
        samples = ring.samples(counter.name, now=ring.heard_at)
        assert len(samples) <= MINUTES + QUARTERS
        assert all(one.at + one.over_s <= other.at for one, other in pairwise(samples))
        assert all(sample.low <= sample.high and math.isfinite(sample.high) for sample in samples)


@given(st.lists(st.tuples(st.integers(1, 900), st.integers(0, 40)), min_size=1, max_size=200))
def test_of_a_total_everything_that_was_added_is_kept(steps: list[tuple[int, int]]) -> None:
    """As long as it is not older than a day, however far apart the node speaks."""
    ring, at, total = told((0.0, 0.0), name=ERRORS), 0.0, 0
    for after_s, added in steps:
        at, total = at + after_s, total + added
        ring.tell({ERRORS: float(total)}, told_at=MIDNIGHT + at, at=MIDNIGHT + at)
    kept = sum(sample.high for sample in ring.samples(ERRORS, now=MIDNIGHT + at))
    assert kept == total if at < KEPT_S - 900.0 else kept <= total


def level(clock: Clock, **counters: float) -> Status:
    return Status(NodeFacts(), [], {}, 0, 0.0, clock.now, counters=counters)


def test_no_more_nodes_are_kept_than_there_is_room_for() -> None:
    clock = Clock()
    counters = Counters(clock, most_nodes=2)
    counters.heard("n0", level(clock))
    assert (counters.of("n0"), counters.since) == (None, 0.0)
    for node in ("n1", "n2", "n3"):
        counters.heard(node, level(clock, gpu_power_watts=1.0))
    assert counters.since == clock.now and counters.is_full
    assert counters.of("n1") and counters.of("n2") and counters.of("n3") is None
    clock.now += KEPT_S
    counters.heard("n1", level(clock, gpu_power_watts=1.0))
    clock.now += CLEAR_EVERY_S
    counters.heard("n3", level(clock, gpu_power_watts=1.0))
    assert counters.of("n1") and counters.of("n2") is None and counters.of("n3")
