"""What holds for whatever an RDMA adapter counts or shows."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sources.rdma_counters import COUNTERS, HW_COUNTERS
from checks.check import LevelCheck
from checks.counters import growth
from checks.fabric import rdma_errors
from checks.finding import Verdict
from checks.rdma_counters import SATURATES_AT
from checks.readings import PortCounters, RdmaCountersReading
from checks.registry import CHECKS

RDMA_CHECKS = [check for check in CHECKS if isinstance(check, LevelCheck) and check.id.startswith("fabric.")]

port_counters = st.builds(
    PortCounters,
    name=st.sampled_from(["mlx5_0/1", "efa_0/1"]),
    link_layer=st.sampled_from(["InfiniBand", "Ethernet", ""]),
    rate_gbit_per_s=st.one_of(st.none(), st.floats(0, 800)),
    counters=st.dictionaries(
        st.sampled_from(sorted(COUNTERS | HW_COUNTERS)),
        st.one_of(st.integers(0, 2**64), st.sampled_from([15, 255, 65535, 2**32 - 1])),
        max_size=8,
    ),
    unread=st.integers(0, 60),
)
counter_windows = st.lists(
    st.builds(RdmaCountersReading, st.floats(0, 3600), st.lists(port_counters, max_size=2).map(tuple)),
    min_size=1,
    max_size=6,
).map(lambda readings: sorted(readings, key=lambda reading: reading.at_s))


@settings(max_examples=200, deadline=None)
@given(counter_windows)
def test_any_counters_are_judged_as_declared(readings: list[RdmaCountersReading]) -> None:
    for check in RDMA_CHECKS:
        if check.reading is RdmaCountersReading:
            for finding in check.judge(readings):
                assert any(outcome.covers(finding) for outcome in check.outcomes)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(SATURATES_AT)), st.integers(1, 5))
def test_a_full_counter_is_never_well(counter: str, length: int) -> None:
    port = PortCounters("mlx5_0/1", "InfiniBand", 400.0, counters={counter: SATURATES_AT[counter]})
    readings = [RdmaCountersReading(60.0 * number, (port,)) for number in range(length)]
    if counter in rdma_errors.JUDGED:
        assert {finding.verdict for finding in rdma_errors.judge(readings)} == {Verdict.UNKNOWN}


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=20), st.integers(0, 2**30))
def test_a_counter_that_wraps_loses_nothing(steps: list[int], start: int) -> None:
    steps = [step % 2**30 for step in steps]
    totals = [start + sum(steps[:count]) for count in range(len(steps) + 1)]
    assert growth((total % 2**32 for total in totals), wraps_at=2**32) == sum(steps)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(rdma_errors.JUDGED)), st.integers(0, 2**32))
def test_a_counter_that_can_no_longer_be_read_is_never_well(counter: str, value: int) -> None:
    readings = [
        RdmaCountersReading(0.0, (PortCounters("mlx5_0/1", counters={counter: value, "VL15_dropped": 0}),)),
        RdmaCountersReading(60.0, (PortCounters("mlx5_0/1", counters={"VL15_dropped": 0}, unread=1),)),
    ]
    assert [finding.verdict for finding in rdma_errors.judge(readings)] == [Verdict.UNKNOWN]
