"""`gpu.clocks`: GPUs that are set slower than their siblings, or run slower under load and do not say why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.nvml import about, judgeable, unreadable, usual
from checks.policy import Policy
from checks.readings import GpuReading, NvmlReading

ID = "gpu.clocks"
SET_DRIFT_MHZ = 30
SLOW_MHZ = 75
"""Source: gcm's clock policy: 30 MHz of drift are a warning, 75 MHz critical."""

BUSY_PERCENT = 90
"""Source: our choice: below, a GPU rests often enough to lower its clocks by itself."""
MIN_SIBLINGS = 2
"""Source: our choice: with fewer busy ones beside it, the clock that the GPU is set to is the measure."""

IDLE, SETTINGS = 0x1, 0x2
"""Reasons that explain nothing: that it has nothing to do, and that it runs as it is set. Source: nvml.h."""


def judge(readings: Sequence[NvmlReading]) -> tuple[Finding, ...]:
    """Return every GPU that is slower than it should be, as the newest reading shows it."""
    gpus = judgeable(readings[-1])
    return tuple(finding for gpu in gpus for finding in (*_judge_settings(gpu, gpus), *_judge_load(gpu, gpus)))


def _judge_settings(gpu: GpuReading, gpus: Sequence[GpuReading]) -> Iterator[Finding]:
    yield from unreadable(ID, gpu, "sm_clock_mhz", "application_sm_clock_mhz")
    common, mine = usual(gpu, gpus, _setting), _setting(gpu)
    if common is not None and mine is not None and common - mine >= SET_DRIFT_MHZ:
        because = f"it is set to {mine} MHz, most GPUs like it on this host to {common} MHz"
        yield about(ID, gpu, "setting", Verdict.DEGRADED, Action.NONE, because)


def _setting(gpu: GpuReading) -> int | None:
    return gpu.details.application_sm_clock_mhz


def _judge_load(gpu: GpuReading, gpus: Sequence[GpuReading]) -> Iterator[Finding]:
    if gpu.sm_clock_mhz is None or not _is_unexplained(gpu):
        return
    siblings = [
        each.sm_clock_mhz for each in gpus if each is not gpu and each.name == gpu.name and _is_unexplained(each)
    ]
    known = [clock for clock in siblings if clock is not None]
    if len(known) >= MIN_SIBLINGS:
        should, whose = int(median(known)), "GPUs like it that work beside it run at"
    else:
        should, whose = gpu.details.application_sm_clock_mhz or gpu.details.max_sm_clock_mhz or 0, "it is set to"
    if should - gpu.sm_clock_mhz >= SLOW_MHZ:
        because = f"it works at {gpu.sm_clock_mhz} MHz and names no reason, {whose} {should} MHz"
        yield about(ID, gpu, "slow", Verdict.DEGRADED, Action.CONTACT_SUPPORT, because)


def _is_unexplained(gpu: GpuReading) -> bool:
    """Return whether the GPU works at full power and nothing is said to keep its clocks down."""
    busy = (gpu.utilization_percent or 0) >= BUSY_PERCENT and gpu.performance_state == 0
    return busy and gpu.clock_event_reasons is not None and not gpu.clock_event_reasons & ~(IDLE | SETTINGS)


CHECK = LevelCheck(
    id=ID,
    summary="GPUs that run slower than their siblings without a reason.",
    reading=NvmlReading,
    judge=judge,
    outcomes=(
        Outcome("unreadable", Verdict.UNKNOWN),
        Outcome("setting", Verdict.DEGRADED),
        Outcome("slow", Verdict.DEGRADED, Action.CONTACT_SUPPORT),
    ),
    policy=Policy(
        raise_after=10,
        raise_within=12,
        clear_after=3,
        because="between two kernels of a job the clocks fall for a moment",
    ),
    thresholds={
        "setting": f"{SET_DRIFT_MHZ} MHz below what most like GPUs are set to (gcm)",
        "slow": f"{SLOW_MHZ} MHz below the median of like GPUs under load (gcm), in 10 of 12 readings (our choice)",
    },
)
