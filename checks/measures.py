"""Numbers of a node that are compared with those of its peers: no limit of their own, wrong only beside others.

Each is one number a node, the worst of its devices, and is left out where it does not apply: the temperature of a GPU
that works says nothing beside one that rests. All of them are read anyway; none costs a reading of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from checks.gpu.clocks import BUSY_PERCENT
from checks.readings import GpuReading, NvmlReading, PortCounters, RdmaCountersReading, Reading

IDLE_PERCENT = 5
"""A GPU that is used less rests. Source: our choice; its own housekeeping shows as 1 or 2 %."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One number.

    Attributes:
        unit: as in its name.
        higher_is_worse: which way an outlier is bad; the other way is none.
        least_spread: differences smaller than this mean nothing, in the unit; with `because` as its reason.
        within_job: compared only with nodes that run the same job, because it depends on the job.
        reading: what it is taken from.
        take: the number of such a reading, `None` where it does not apply.
        per_s: 0 for a number that is compared as it is; else it is a total, of which the growth in so many seconds is
            compared. A total that went down began anew.
    """

    name: str
    summary: str
    unit: str
    higher_is_worse: bool
    least_spread: float
    because: str
    within_job: bool
    reading: type[Reading]
    take: Callable[[Any], float | None]
    per_s: float = 0.0


def _busy(reading: NvmlReading) -> Iterator[GpuReading]:
    return (gpu for gpu in reading.gpus if (gpu.utilization_percent or 0) >= BUSY_PERCENT)


def _idle(reading: NvmlReading) -> Iterator[GpuReading]:
    known = (gpu for gpu in reading.gpus if gpu.utilization_percent is not None)
    return (gpu for gpu in known if (gpu.utilization_percent or 0) <= IDLE_PERCENT)


def _most(values: Iterable[int | None]) -> float | None:
    return max((float(value) for value in values if value is not None), default=None)


def _least(values: Iterable[int | None]) -> float | None:
    return min((float(value) for value in values if value is not None), default=None)


def _sum(values: Iterable[int | None]) -> float | None:
    known = [float(value) for value in values if value is not None]
    return sum(known) if known else None


def _sequence_errors(port: PortCounters) -> int | None:
    """Source: kernel, drivers/infiniband/hw/mlx5/counters.c; both are totals since the driver was loaded."""
    known = [port.counters[name] for name in ("out_of_sequence", "packet_seq_err") if name in port.counters]
    return sum(known) if known else None


MEASURES = (
    Measure(
        "gpu_busy_sm_clock_mhz",
        "clock of the slowest GPU that works",
        "MHz",
        higher_is_worse=False,
        least_spread=25.0,
        because="our choice; three and a half of them are 87 MHz, above the 75 MHz that gcm calls critical",
        within_job=True,
        reading=NvmlReading,
        take=lambda reading: _least(gpu.sm_clock_mhz for gpu in _busy(reading)),
    ),
    Measure(
        "gpu_busy_temperature_celsius",
        "temperature of the hottest GPU that works",
        "°C",
        higher_is_worse=True,
        least_spread=2.0,
        because="our choice; the air of a rack varies by less than seven degrees from top to bottom",
        within_job=True,
        reading=NvmlReading,
        take=lambda reading: _most(gpu.temperature_celsius for gpu in _busy(reading)),
    ),
    Measure(
        "gpu_busy_memory_temperature_celsius",
        "temperature of the hottest memory of a GPU that works",
        "°C",
        higher_is_worse=True,
        least_spread=2.0,
        because="our choice, as for the GPU itself",
        within_job=True,
        reading=NvmlReading,
        take=lambda reading: _most(gpu.memory_temperature_celsius for gpu in _busy(reading)),
    ),
    Measure(
        "gpu_idle_temperature_celsius",
        "temperature of the hottest GPU that rests",
        "°C",
        higher_is_worse=True,
        least_spread=2.0,
        because="our choice, as for a GPU that works",
        within_job=False,
        reading=NvmlReading,
        take=lambda reading: _most(gpu.temperature_celsius for gpu in _idle(reading)),
    ),
    Measure(
        "gpu_corrected_errors",
        "rate of corrected memory errors of all GPUs",
        "an hour",
        higher_is_worse=True,
        least_spread=10.0,
        because="our choice; three and a half of them are one in two minutes, for four minutes on end",
        within_job=False,
        reading=NvmlReading,
        take=lambda reading: _sum(gpu.ecc_corrected_volatile for gpu in reading.gpus),
        per_s=3600.0,
    ),
    Measure(
        "rdma_sequence_errors",
        "rate of packets that came out of order or were asked for again, on all RDMA ports",
        "a second",
        higher_is_worse=True,
        least_spread=10.0,
        because="our choice; a lossy path shows hundreds, and a healthy one next to none",
        within_job=True,
        reading=RdmaCountersReading,
        take=lambda reading: _sum(_sequence_errors(port) for port in reading.ports),
        per_s=1.0,
    ),
)

BY_NAME: Mapping[str, Measure] = MappingProxyType({measure.name: measure for measure in MEASURES})


MEASURED = tuple(dict.fromkeys(measure.reading.SOURCE for measure in MEASURES))
"""The sources that measures are taken from."""


def measures_of(readings: Iterable[Reading]) -> dict[str, float]:
    """Return the numbers of these readings that apply; none of one that failed."""
    found = {}
    for reading in readings:
        if isinstance(reading, NvmlReading) and reading.failure:
            continue
        for measure in MEASURES:
            value = measure.take(reading) if isinstance(reading, measure.reading) else None
            if value is not None:
                found[measure.name] = value
    return found
