"""What an all-reduce with multicast and one without it say together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.bench_limits import shipped_limits
from checks.bench_nvls import ALIKE, Ways, read_ways, uses_nvls
from checks.bench_outcome import Outcome

AUTO_FLOOR = shipped_limits().floor("node_all_reduce", "H100")
RING_FLOOR = shipped_limits().floor("node_all_reduce_ring", "H100")


def h100(auto: float, ring: float, *, offered: bool = True) -> Ways:
    """Return what an H100 node measured, whose floors are 430 and 330 GB/s."""
    return Ways(auto, ring, offered, AUTO_FLOOR, RING_FLOOR)


@pytest.mark.parametrize(
    ("ways", "code"),
    [
        (h100(478, 366), ""),
        (h100(478, 300), "link_fault"),
        (h100(366, 366), "nvls_off"),
        (h100(380, 366), "nvls_off"),
        (h100(420, 366), "multicast_fault"),
        (h100(300, 366), "multicast_fault"),
        (h100(300, 250), "link_fault"),
        (h100(250, 300), "link_fault"),
        (h100(300, 300), "link_fault"),
        (h100(366, 366, offered=False), "nvls_off"),
        (h100(478, 366, offered=False), "nvls_off"),
        (Ways(846, 682), ""),
        (Ways(700, 682), "nvls_off"),
        (Ways(600, 682), "multicast_fault"),
    ],
)
def test_two_numbers_tell_what_one_does_not(ways: Ways, code: str) -> None:
    fault = read_ways(ways)

    assert (fault.code if fault else "") == code
    assert fault is None or fault.severity is Outcome.WARN


def test_the_sentence_has_both_numbers() -> None:
    fault = read_ways(h100(366, 365))

    assert fault is not None
    assert fault.because == (
        "The all-reduce is no faster with multicast, which is silently off "
        "(366 GB/s as NCCL chooses, 365 GB/s with NVLS off)."
    )


@given(st.floats(1, 2000), st.floats(1, 2000), st.booleans())
def test_nothing_is_said_only_when_both_are_well_and_multicast_is_used(auto: float, ring: float, offered: bool) -> None:
    fault = read_ways(h100(auto, ring, offered=offered))

    assert (fault is None) == (offered and auto >= 430 and ring >= 330 and auto > (1 + ALIKE) * ring)


@pytest.mark.parametrize(
    ("capability", "gpus", "used"),
    [
        ((9, 0), 8, True),
        ((9, 0), 5, True),
        ((9, 0), 4, False),
        ((10, 0), 5, False),
        ((10, 0), 6, True),
        ((8, 0), 8, False),
    ],
)
def test_nccl_uses_multicast_from_so_many_gpus_on(capability: tuple[int, int], gpus: int, used: bool) -> None:
    assert uses_nvls(capability, gpus) is used
