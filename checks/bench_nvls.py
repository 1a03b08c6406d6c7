"""What an all-reduce with NVLink's multicast (NVLS) says beside one without it: which of the two is ill.

With NVLS the NVSwitches add the numbers up, without it the GPUs do, and both use the same links. So one number alone is
ambiguous, and the two together are not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from checks.bench_limits import BenchFloor
from checks.bench_outcome import Outcome
from checks.bench_result import BenchFault

NVLS_OFF: Final = "nvls_off"
LINK_FAULT: Final = "link_fault"
MULTICAST_FAULT: Final = "multicast_fault"

EXPLAINED: Final = frozenset({"node_all_reduce", "node_all_reduce_ring"})
"""Metrics whose failure these faults explain."""

EXPLAINING: Final = frozenset({NVLS_OFF, LINK_FAULT, MULTICAST_FAULT})

LEAST_GPUS: Final = {9: 5, 10: 6}
"""Major compute capability → number of GPUs of a node from which on NCCL uses NVLS. Source: ml-engineering 744d01e,
network/README.md, measured on H200 (9) and B200 (10): a ring at 4 and at 5 GPUs."""

ALIKE: Final = 0.05
"""Results that differ by less came the same way. Source: our choice: with NVLS they are 24 % (B200) and 31 % (H200)
higher, and two runs of one way differ by about 2 % (ml-engineering 744d01e)."""


@dataclass(frozen=True, slots=True)
class Ways:
    """The same all-reduce, measured twice on one node; bus bandwidths in the same unit.

    Attributes:
        auto: as NCCL chooses the way.
        ring: with NVLS switched off.
        offered: whether the driver offers multicast on every GPU.
        auto_floor, ring_floor: what is demanded of this kind of GPU, where that is known.
    """

    auto: float
    ring: float
    offered: bool = True
    auto_floor: BenchFloor | None = None
    ring_floor: BenchFloor | None = None


def uses_nvls(capability: tuple[int, int], gpus: int) -> bool:
    """Return whether NCCL is known to use NVLS on so many GPUs of a kind, all of a node that has NVSwitches."""
    least = LEAST_GPUS.get(capability[0])
    return least is not None and gpus >= least


def read_ways(ways: Ways) -> BenchFault | None:
    """Return what is wrong of multicast, links or set-up, `None` when nothing is.

    It is a warning whatever it says: one measurement condemns nobody. The number fails by itself, and this explains it.
    """
    slow, ring_slow = _is_low(ways.auto, ways.auto_floor), _is_low(ways.ring, ways.ring_floor)
    if slow and ring_slow:
        return _fault(LINK_FAULT, "slow with multicast and without it: a link or a GPU is ill", ways)
    if not ways.offered:
        return _fault(NVLS_OFF, "without multicast, which the driver does not offer", ways)
    if ways.auto < (1.0 - ALIKE) * ways.ring:
        return _fault(MULTICAST_FAULT, "slower with multicast than without: the NVSwitches are ill", ways)
    if ways.auto <= (1.0 + ALIKE) * ways.ring:
        return _fault(NVLS_OFF, "no faster with multicast, which is silently off", ways)
    if slow:
        return _fault(MULTICAST_FAULT, "slow with multicast alone: the NVSwitches are ill", ways)
    if ring_slow:
        return _fault(LINK_FAULT, "slow without multicast alone: a link may be ill", ways)
    return None


def _is_low(value: float, floor: BenchFloor | None) -> bool:
    return floor is not None and floor.fail is not None and value < floor.fail


def _fault(code: str, says: str, ways: Ways) -> BenchFault:
    numbers = f"{ways.auto:.0f} GB/s as NCCL chooses, {ways.ring:.0f} GB/s with NVLS off"
    return BenchFault(code, f"The all-reduce is {says} ({numbers}).", severity=Outcome.WARN)
