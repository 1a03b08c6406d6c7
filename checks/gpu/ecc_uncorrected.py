"""`gpu.ecc_uncorrected`: new uncorrectable memory errors, judged as growth and never as a lifetime total."""

from __future__ import annotations

from collections.abc import Sequence

from checks.check import LevelCheck, Outcome
from checks.counters import growth, since_reset
from checks.finding import Action, Finding, Verdict
from checks.nvml import about, history, judgeable, unreadable
from checks.readings import GpuReading, NvmlReading

ID = "gpu.ecc_uncorrected"
WINDOW_S = 3600.0
"""Source: our choice. The counter is volatile, so a reset of the GPU ends the finding at once."""


def judge(readings: Sequence[NvmlReading]) -> tuple[Finding, ...]:
    """Return every GPU with new uncorrectable errors in the window."""
    return tuple(finding for gpu in judgeable(readings[-1]) for finding in _judge_gpu(gpu, readings))


def _judge_gpu(gpu: GpuReading, readings: Sequence[NvmlReading]) -> tuple[Finding, ...]:
    if gpu.ecc_uncorrected_volatile is None:
        return unreadable(ID, gpu, "ecc_uncorrected_volatile")
    if gpu.ecc_uncorrected_volatile == 0:
        return ()
    new = growth(since_reset(seen.ecc_uncorrected_volatile for seen in history(readings, gpu.uuid)))
    if not new:
        return ()
    because = (
        f"{new} new uncorrectable memory errors within {WINDOW_S / 60:.0f} min "
        f"({gpu.ecc_uncorrected_volatile} since the last reset): drain and reset the GPU"
    )
    return (about(ID, gpu, "", Verdict.DEGRADED, Action.RESET_GPU, because),)


CHECK = LevelCheck(
    id=ID,
    summary="New uncorrectable ECC errors of GPU memory.",
    reading=NvmlReading,
    judge=judge,
    outcomes=(
        Outcome("unreadable", Verdict.UNKNOWN),
        Outcome("", Verdict.DEGRADED, Action.RESET_GPU),
    ),
    window_s=WINDOW_S,
    thresholds={"growth": f"any within {WINDOW_S / 60:.0f} min (NVIDIA: a volatile double-bit error is an incident)"},
)
