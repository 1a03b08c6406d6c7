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
    ("ways", "code", "severity"),
    [
        (h100(478, 366), "", ""),
        (h100(478, 300), "link_fault", Outcome.WARN),
        (h100(366, 366), "nvls_off", Outcome.FAIL),
        (h100(380, 366), "nvls_off", Outcome.FAIL),
        (h100(420, 366), "multicast_fault", Outcome.FAIL),
        (h100(300, 366), "multicast_fault", Outcome.FAIL),
        (h100(300, 250), "link_fault", Outcome.FAIL),
        (h100(250, 300), "link_fault", Outcome.FAIL),
        (h100(300, 300), "link_fault", Outcome.FAIL),
        (h100(366, 366, offered=False), "nvls_off", Outcome.FAIL),
        (h100(478, 366, offered=False), "nvls_off", Outcome.WARN),
        (Ways(846, 682), "", ""),
        (Ways(700, 682), "nvls_off", Outcome.WARN),
        (Ways(600, 682), "multicast_fault", Outcome.FAIL),
    ],
)
def test_two_numbers_tell_what_one_does_not(ways: Ways, code: str, severity: str) -> None:
    fault = read_ways(ways)

    assert (fault.code if fault else "", fault.severity if fault else "") == (code, severity)


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


@given(st.floats(1, 2000), st.floats(1, 2000))
def test_a_node_fails_for_its_set_up_alone_only_below_its_floor(auto: float, ring: float) -> None:
    fault = read_ways(h100(auto, ring))

    if fault is not None and fault.code == "nvls_off":
        assert (fault.severity is Outcome.FAIL) == (auto < 430)


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
