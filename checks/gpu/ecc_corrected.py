"""`gpu.ecc_corrected`: memory errors that were corrected, judged as a rate and never as a lifetime total.

A corrected error costs nothing, and every GPU has some. A flood of them is a part about to fail, and slows the driver
down until its own tools hang.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from checks.check import LevelCheck, Outcome
from checks.counters import rate_per_min
from checks.finding import Action, Finding, Verdict
from checks.nvml import about, each_history, unreadable
from checks.policy import Policy
from checks.readings import GpuReading, NvmlReading

ID = "gpu.ecc_corrected"
WINDOW_S = 60.0
SPAN_S = 10.0
"""Of a window whose readings lie at the fast interval. Source: our choice."""

HIGH_PER_MIN = 1_000.0
STORM_PER_MIN = 10_000.0
"""Source: our choice. A GB200 with 17,700 a second kept DCGM from answering for more than 45 s while its health was
reported as good; healthy GPUs have some an hour."""


def _judge_gpu(gpu: GpuReading, seen: Sequence[tuple[float, GpuReading]]) -> Iterator[Finding]:
    yield from unreadable(ID, gpu, "ecc_corrected_volatile")
    rate = rate_per_min(((at_s, each.ecc_corrected_volatile) for at_s, each in seen), over_s=SPAN_S)
    if gpu.ecc_corrected_volatile is None or rate is None or rate < HIGH_PER_MIN:
        return
    because = f"{rate:,.0f} memory errors a minute were corrected"
    if rate >= STORM_PER_MIN:
        told = f"{because}, the limit is {STORM_PER_MIN:,.0f}: drain and reset the GPU"
        yield about(ID, gpu, "storm", Verdict.FAILED, Action.RESET_GPU, told)
    else:
        told = f"{because}, {HIGH_PER_MIN:,.0f} are too many"
        yield about(ID, gpu, "high", Verdict.DEGRADED, Action.NONE, told)


CHECK = LevelCheck(
    id=ID,
    summary="Floods of corrected ECC errors of GPU memory.",
    reading=NvmlReading,
    judge=each_history(_judge_gpu),
    outcomes=(
        Outcome("unreadable", Verdict.UNKNOWN),
        Outcome("storm", Verdict.FAILED, Action.RESET_GPU),
        Outcome("high", Verdict.DEGRADED),
    ),
    window_s=WINDOW_S,
    policy=Policy(
        raise_after=3, clear_after=3, because="one burst is one bad row, which the driver replaces by itself"
    ),
    thresholds={
        "high": f"{HIGH_PER_MIN:,.0f} a minute (our choice)",
        "storm": f"{STORM_PER_MIN:,.0f} a minute in three readings (our choice)",
    },
)
