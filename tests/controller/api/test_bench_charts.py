"""Bandwidth by size as lines and ticks: which numbers make a picture, and what stands for many devices."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.api.bench_charts import (
    FLOOR,
    MEASURED,
    MOST_TICKS,
    PEERS,
    Measured,
    charts,
    size_ticks,
    size_words,
    value_ticks,
)

MIB, GIB = 1 << 20, 1 << 30


def number(size_bytes: int, value: float, *, metric: str = "node_all_reduce", **rest: object) -> Measured:
    """Return a number of an all-reduce."""
    return Measured(metric, "bus bandwidth of an all-reduce", "GB/s", size_bytes, value, **rest)  # type: ignore[arg-type]  # of this test


def test_a_ring_is_in_the_picture_of_what_nccl_chose() -> None:
    (chart,) = charts(
        [
            number(8 * GIB, 462.0, fail=430.0, median=478.0, peers=12),
            number(MIB, 20.0),
            number(8 * GIB, 362.0, metric="node_all_reduce_ring", way="ring"),
            number(MIB, 18.0, metric="node_all_reduce_ring", way="ring"),
        ]
    )
    assert (chart.metric, chart.sizes, chart.most) == ("node_all_reduce", (MIB, 8 * GIB), 500.0)
    assert [(line.kind, line.name, line.points) for line in chart.lines] == [
        (MEASURED, "NCCL's choice", ((MIB, 20.0), (8 * GIB, 462.0))),
        (MEASURED, "ring", ((MIB, 18.0), (8 * GIB, 362.0))),
        (PEERS, "NCCL's choice, median of 12 peers", ((8 * GIB, 478.0),)),
        (FLOOR, "NCCL's choice, fails below 430 GB/s from 8 GiB on", ((8 * GIB, 430.0),)),
    ]
    assert chart.described == (
        "GB/s by size of message, 1 MiB to 8 GiB. NCCL's choice: 462 GB/s at 8 GiB; ring: 362 GB/s at 8 GiB; "
        "NCCL's choice, median of 12 peers: 478 GB/s at 8 GiB; NCCL's choice, fails below 430 GB/s from 8 GiB on."
    )


def test_many_devices_are_the_slowest_and_the_median() -> None:
    copies = [
        number(size, value, metric="host_to_device", device=device)
        for device, values in (("GPU-a", (20.0, 54.0)), ("GPU-b", (21.0, 31.0)), ("GPU-c", (22.0, 55.0)))
        for size, value in zip((MIB, 256 * MIB), values, strict=True)
    ]
    (chart,) = charts(copies)
    assert [(line.name, line.points) for line in chart.lines] == [
        ("slowest, GPU-b", ((MIB, 21.0), (256 * MIB, 31.0))),
        ("median of 3 devices", ((MIB, 21.0), (256 * MIB, 54.0))),
    ]


@pytest.mark.parametrize(
    "numbers",
    [
        [],
        [number(8 * GIB, 462.0)],
        [number(8 * GIB, 462.0), number(8 * GIB, 463.0)],
        [number(0, 462.0), number(MIB, 3.0)],
        [number(8 * GIB, math.nan), number(MIB, 3.0)],
        [number(8 * GIB, -1.0), number(MIB, 3.0)],
        [Measured("rdma_write_latency", "", "µs", 2, 3.0), Measured("rdma_write_latency", "", "µs", 4, 3.0)],
    ],
)
def test_what_is_no_curve_has_no_picture(numbers: list[Measured]) -> None:
    assert charts(numbers) == ()


@pytest.mark.parametrize(
    ("size_bytes", "words"),
    [(8, "8 B"), (8 << 10, "8 KiB"), (3 << 29, "1.5 GiB"), (16 << 30, "16 GiB"), (1 << 70, "1.05e+06 PiB")],
)
def test_sizes_in_words(size_bytes: int, words: str) -> None:
    assert size_words(size_bytes) == words


def test_ticks_of_sizes_are_powers_of_two_evenly_apart() -> None:
    assert size_ticks(8 << 10, 16 << 30) == [16 << 10, 512 << 10, 16 << 20, 512 << 20, 16 << 30]
    assert size_ticks(5, 7) == [5]
    assert size_ticks(GIB, 2 * GIB) == [GIB, 2 * GIB]


@given(st.floats(min_value=1e-6, max_value=1e9))
def test_ticks_of_values_begin_at_0_and_reach_the_most(most: float) -> None:
    ticks = value_ticks(most)
    assert ticks[0] == 0.0 and ticks[-1] >= most * (1 - 1e-9)
    assert 2 <= len(ticks) <= MOST_TICKS + 1


@given(st.integers(1, 2**62), st.integers(1, 2**62))
def test_ticks_of_sizes_are_few_and_in_order(one: int, other: int) -> None:
    ticks = size_ticks(min(one, other), max(one, other))
    assert 1 <= len(ticks) <= MOST_TICKS
    assert ticks == sorted(set(ticks))
