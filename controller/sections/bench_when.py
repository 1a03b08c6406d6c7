"""When fleetmend begins a benchmark by itself, and for how much."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from checks.bench_result import Benchmark
from controller.policy.benching.when import MEASURED, Admission, WhenRules, Window
from controller.policy.freezes import minute_of_week
from controller.sections.section import Section
from controller.sections.zone import Zone

_DAILY = re.compile(r"(?P<hour>[01][0-9]|2[0-3]):(?P<minute>[0-5][0-9])")

_Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class WindowSection(Section):
    """A time in which idle nodes may be measured: `22:00` to `06:00` of each day, or `Fri 18:00` to `Mon 06:00`."""

    begins: str = Field(description="`22:00` (each day) or `Fri 18:00` (each week)")
    ends: str = Field(description="as `begins`; not included")
    zone: Zone = Field(default="UTC", description="IANA time zone of both, such as Europe/Berlin")

    @model_validator(mode="after")
    def _understood(self) -> WindowSection:
        self.window()
        return self

    def window(self) -> Window:
        """Return the window for the policy.

        Raises:
            ValueError: the two times are not of one kind, or the same.
        """
        daily = [_DAILY.fullmatch(text.strip()) for text in (self.begins, self.ends)]
        if any(daily) and not all(daily):
            raise ValueError("`begins` and `ends` must both be like `22:00`, or both be like `Fri 18:00`")
        minutes = [int(each["hour"]) * 60 + int(each["minute"]) for each in daily if each is not None]
        begins, ends = minutes or (minute_of_week(self.begins), minute_of_week(self.ends))
        if begins == ends:
            raise ValueError(f"`begins` and `ends` are both {self.begins}; leave the window out for all of the time")
        return Window(begins, ends, self.zone, daily=bool(minutes))


class WhenSection(Section):
    """What fleetmend measures by itself. Only idle nodes are, whose agents allow the order `bench`."""

    admission: Admission = Field(
        default=Admission.MEASURE,
        description="a node never seen before, or with other parts: `off` is one among others, `measure` is measured "
        "before others when it is idle, `hold` stays out of service until its benchmarks passed",
    )
    suspicion: bool = Field(default=True, description="measure nodes with milder findings before others")
    idle: bool = Field(default=True, description="measure idle nodes without such a reason, by what that is worth")
    windows: list[WindowSection] = Field(default=[], description="when idle nodes may be; always when empty")
    benchmarks: Annotated[list[Benchmark], Field(min_length=1)] = Field(
        default=list(MEASURED), description="out of which is chosen, each of tier 1"
    )
    gpu_minutes_per_hour: _Amount = Field(
        default=240.0, description="what all of this may cost in any hour; a run is counted as the most it may take"
    )
    gpu_minutes_per_day: _Amount = Field(default=2_400.0, description="and in any 24 hours")
    at_once: Annotated[int, Field(ge=0)] = Field(default=4, description="nodes that are measured at the same time")
    loss_gpu_minutes: _Amount = Field(
        default=3_000.0, description="what a job loses to a fault that nobody found: its GPUs, times minutes of work"
    )
    least_value: _Amount = Field(
        default=1.0, description="nothing is run that is expected to save fewer GPU-minutes for each one it costs"
    )

    @field_validator("benchmarks")
    @classmethod
    def _each_once(cls, names: list[Benchmark]) -> list[Benchmark]:
        if len(set(names)) < len(names):
            raise ValueError("each benchmark may stand here once")
        return names

    def rules(self) -> WhenRules:
        """Return what the policy goes by."""
        return WhenRules(
            admission=self.admission,
            suspicion=self.suspicion,
            idle=self.idle,
            windows=tuple(each.window() for each in self.windows),
            benchmarks=tuple(self.benchmarks),
            gpu_minutes_per_hour=self.gpu_minutes_per_hour,
            gpu_minutes_per_day=self.gpu_minutes_per_day,
            at_once=self.at_once,
            loss_gpu_minutes=self.loss_gpu_minutes,
            least_value=self.least_value,
        )
