"""What an operator sets about benchmarks that fleetmend begins by itself: on which nodes, when, and for how much."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from checks.bench_result import Benchmark
from controller.policy.week import MINUTES_A_DAY, MINUTES_A_WEEK, minute_now


class Admission(StrEnum):
    """What a node begins with that was never seen before, or has other parts."""

    OFF = "off"
    """With nothing; it is one node among others."""
    MEASURE = "measure"
    """It is measured before others, when it is idle."""
    HOLD = "hold"
    """It is kept out of service until its benchmarks passed."""


@dataclass(frozen=True, slots=True)
class Window:
    """A time in which idle nodes may be measured, each day or each week.

    Attributes:
        begins, ends: minutes since Monday 0:00 in `zone`, or since 0:00 of a `daily` one; an end before the beginning
            is the next day's, or the next week's.
        zone: IANA name of the time zone.
    """

    begins: int
    ends: int
    zone: str = "UTC"
    daily: bool = False

    def holds(self, now: float) -> bool:
        """Return whether it is open; its beginning is in it, its end is not."""
        minute = minute_now(now, self.zone) % (MINUTES_A_DAY if self.daily else MINUTES_A_WEEK)
        if self.begins < self.ends:
            return self.begins <= minute < self.ends
        return minute >= self.begins or minute < self.ends


TIER = 1
"""Of all that is begun by itself: what takes longer is for verifications, and for people. Source: the reference of
active benchmarks, where tier 1 is what an idle node may be measured with at any time."""

MEASURED = (Benchmark.GPU_BANDWIDTH, Benchmark.NCCL_ALL_REDUCE, Benchmark.GEMM, Benchmark.RDMA, Benchmark.STORAGE)


@dataclass(frozen=True, slots=True)
class WhenRules:
    """When fleetmend begins a benchmark by itself.

    Attributes:
        admission: what a new node begins with.
        suspicion: whether nodes with milder findings are measured before others.
        idle: whether idle nodes are measured at all without such a reason.
        windows: when they are; none is always.
        benchmarks: out of which is chosen.
        gpu_minutes_per_hour, gpu_minutes_per_day: what all of it may cost in any hour and in any 24.
        at_once: so many nodes are measured at the same time at the most.
        loss_gpu_minutes: what a job loses to a fault that no benchmark found.
        least_value: nothing is run that saves less than this for each GPU-minute.
    """

    admission: Admission = Admission.MEASURE
    suspicion: bool = True
    idle: bool = True
    windows: tuple[Window, ...] = ()
    benchmarks: tuple[Benchmark, ...] = MEASURED
    gpu_minutes_per_hour: float = 240.0
    gpu_minutes_per_day: float = 2_400.0
    at_once: int = 4
    loss_gpu_minutes: float = 3_000.0
    least_value: float = 1.0

    def open_now(self, now: float) -> bool:
        """Return whether idle nodes may be measured at this moment."""
        return self.idle and (not self.windows or any(window.holds(now) for window in self.windows))
