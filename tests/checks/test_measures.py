"""Measures: the worst number of a node where it applies, and none where it does not."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.measures import BY_NAME, MEASURES, measures_of
from checks.readings import GpuReading, NvmlReading, PortCounters, RdmaCountersReading


def gpu(index: int, *, use: int | None, celsius: int | None = 60, clock: int | None = 1980) -> GpuReading:
    return GpuReading(
        index,
        f"GPU-{index}",
        f"0000:0{index}:00",
        utilization_percent=use,
        temperature_celsius=celsius,
        memory_temperature_celsius=celsius + 10 if celsius is not None else None,
        sm_clock_mhz=clock,
    )


CASES = {
    "none": ((), {}),
    "at work": (
        (gpu(0, use=100, celsius=61, clock=1980), gpu(1, use=90, celsius=67, clock=1755)),
        {
            "gpu_busy_sm_clock_mhz": 1755.0,
            "gpu_busy_temperature_celsius": 67.0,
            "gpu_busy_memory_temperature_celsius": 77.0,
        },
    ),
    "at rest": (
        (gpu(0, use=0, celsius=31, clock=345), gpu(1, use=5, celsius=35, clock=210)),
        {"gpu_idle_temperature_celsius": 35.0},
    ),
    "in between": ((gpu(0, use=50), gpu(1, use=6), gpu(2, use=89)), {}),
    "use unknown": ((gpu(0, use=None),), {}),
    "numbers unknown": ((gpu(0, use=95, celsius=None, clock=None),), {}),
    "some at work": (
        (gpu(0, use=95, celsius=70, clock=1900), gpu(1, use=0, celsius=30, clock=345)),
        {
            "gpu_busy_sm_clock_mhz": 1900.0,
            "gpu_busy_temperature_celsius": 70.0,
            "gpu_busy_memory_temperature_celsius": 80.0,
            "gpu_idle_temperature_celsius": 30.0,
        },
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_worst_of_a_node_is_its_number(name: str) -> None:
    gpus, expected = CASES[name]
    assert expected == measures_of([NvmlReading(0.0, gpus)])


def test_totals_are_summed_over_what_counts() -> None:
    gpus = tuple(replace(gpu(index, use=50), ecc_corrected_volatile=count) for index, count in enumerate((3, None, 4)))
    ports = (
        PortCounters("mlx5_0/1", counters={"out_of_sequence": 5, "packet_seq_err": 2, "link_downed": 9}),
        PortCounters("mlx5_1/1", counters={"packet_seq_err": 1}),
        PortCounters("mlx5_2/1", unread=3),
    )
    assert measures_of([NvmlReading(0.0, gpus), RdmaCountersReading(0.0, ports)]) == {
        "gpu_corrected_errors": 7.0,
        "rdma_sequence_errors": 8.0,
    }
    assert measures_of([RdmaCountersReading(0.0, ports[2:])]) == {}


def test_a_reading_that_failed_has_no_numbers() -> None:
    assert measures_of([replace(NvmlReading(0.0, (gpu(0, use=100),)), failure="timeout")]) == {}


def test_every_measure_says_what_it_is() -> None:
    units = {"MHz": "_mhz", "°C": "_celsius", "an hour": "_errors", "a second": "_errors"}
    for measure in MEASURES:
        assert measure.name.endswith(units[measure.unit])
        assert "" not in {measure.summary, measure.because}
        assert measure.least_spread > 0
    assert len(BY_NAME) == len(MEASURES)


@given(
    st.lists(
        st.builds(
            gpu,
            st.integers(0, 7),
            use=st.none() | st.integers(-5, 200),
            celsius=st.none() | st.integers(-100, 200),
            clock=st.none() | st.integers(0, 5000),
        ),
        max_size=8,
    )
)
def test_any_gpus_give_numbers_or_none(gpus: list[GpuReading]) -> None:
    found = measures_of([NvmlReading(0.0, tuple(gpus))])
    assert set(found) <= set(BY_NAME)
    assert all(map(math.isfinite, found.values()))
