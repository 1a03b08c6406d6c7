"""Numbers of a node that are compared with those of its peers: no limit of their own, wrong only beside others.

Each is one number a node, the worst of its devices, and is left out where it does not apply: the temperature of a GPU
that works says nothing beside one that rests. All of them are read anyway; none costs a reading of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from checks.gpu.clocks import BUSY_PERCENT
from checks.readings import GpuReading, NvmlReading

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
        take: the number of a reading, `None` where it does not apply.
    """

    name: str
    summary: str
    unit: str
    higher_is_worse: bool
    least_spread: float
    because: str
    within_job: bool
    take: Callable[[NvmlReading], float | None]


def _busy(reading: NvmlReading) -> Iterator[GpuReading]:
    return (gpu for gpu in reading.gpus if (gpu.utilization_percent or 0) >= BUSY_PERCENT)


def _idle(reading: NvmlReading) -> Iterator[GpuReading]:
    known = (gpu for gpu in reading.gpus if gpu.utilization_percent is not None)
    return (gpu for gpu in known if (gpu.utilization_percent or 0) <= IDLE_PERCENT)


def _most(values: Iterable[int | None]) -> float | None:
    return max((float(value) for value in values if value is not None), default=None)


def _least(values: Iterable[int | None]) -> float | None:
    return min((float(value) for value in values if value is not None), default=None)


MEASURES = (
    Measure(
        "gpu_busy_sm_clock_mhz",
        "clock of the slowest GPU that works",
        "MHz",
        higher_is_worse=False,
        least_spread=25.0,
        because="our choice; three and a half of them are 87 MHz, above the 75 MHz that gcm calls critical",
        within_job=True,
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
        take=lambda reading: _most(gpu.temperature_celsius for gpu in _idle(reading)),
    ),
)

BY_NAME: Mapping[str, Measure] = MappingProxyType({measure.name: measure for measure in MEASURES})


def measures_of(reading: NvmlReading) -> dict[str, float]:
    """Return the numbers of a reading that apply; none of one that failed."""
    if reading.failure:
        return {}
    taken = ((measure.name, measure.take(reading)) for measure in MEASURES)
    return {name: value for name, value in taken if value is not None}
