"""`gpu.ecc_uncorrected`: new uncorrectable memory errors, judged as growth and never as a lifetime total.

Errors of the HBM are contained and their rows replaced; one in the SRAM is in the chip itself. Where a GPU or its
driver does not tell them apart, the total is judged as if it were the HBM's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from checks.check import LevelCheck, Outcome
from checks.counters import growth, since_reset
from checks.finding import Action, Finding, Verdict
from checks.nvml import about, each_history, unreadable
from checks.readings import GpuReading, NvmlReading

ID = "gpu.ecc_uncorrected"
WINDOW_S = 3600.0
"""Source: our choice. The counters are volatile, so a reset of the GPU ends the finding at once."""

SRAM_FIELDS = ("dram_uncorrected_volatile", "sram_uncorrected_volatile", "sram_threshold_exceeded")


def _judge_gpu(gpu: GpuReading, seen: Sequence[tuple[float, GpuReading]]) -> Iterator[Finding]:
    if gpu.sram_threshold_exceeded:
        because = (
            f"the driver's threshold of uncorrectable SRAM errors is exceeded ({gpu.sram_uncorrected_aggregate} "
            "in its life): run field diagnostics, replace the GPU if they fail"
        )
        yield about(ID, gpu, "sram_threshold", Verdict.FAILED, Action.CONTACT_SUPPORT, because)
    if gpu.dram_uncorrected_volatile is None or gpu.sram_uncorrected_volatile is None:
        yield from unreadable(ID, gpu, "ecc_uncorrected_volatile", *SRAM_FIELDS)
        if new := _new(each.ecc_uncorrected_volatile for _, each in seen):
            yield about(ID, gpu, "", Verdict.DEGRADED, Action.RESET_GPU, _because(new, "memory"))
        return
    if new := _new(each.dram_uncorrected_volatile for _, each in seen):
        yield about(ID, gpu, "dram", Verdict.DEGRADED, Action.RESET_GPU, _because(new, "HBM"))
    if new := _new(each.sram_uncorrected_volatile for _, each in seen):
        yield about(ID, gpu, "sram", Verdict.FAILED, Action.RESET_GPU, _because(new, "SRAM"))


def _new(values: Iterator[int | None]) -> int:
    return growth(since_reset(values))


def _because(new: int, where: str) -> str:
    return f"{new} new uncorrectable {where} errors within {WINDOW_S / 60:.0f} min: drain and reset the GPU"


CHECK = LevelCheck(
    id=ID,
    summary="New uncorrectable ECC errors of GPU memory.",
    reading=NvmlReading,
    judge=each_history(_judge_gpu),
    outcomes=(
        Outcome("unreadable", Verdict.UNKNOWN),
        Outcome("", Verdict.DEGRADED, Action.RESET_GPU),
        Outcome("dram", Verdict.DEGRADED, Action.RESET_GPU),
        Outcome("sram", Verdict.FAILED, Action.RESET_GPU),
        Outcome("sram_threshold", Verdict.FAILED, Action.CONTACT_SUPPORT),
    ),
    window_s=WINDOW_S,
    thresholds={
        "growth": f"any within {WINDOW_S / 60:.0f} min (NVIDIA: a volatile double-bit error is an incident)",
        "sram": "any is failed (Azure takes such a node out)",
        "sram_threshold": "the driver's flag (NVIDIA: field diagnostics, then replacement)",
    },
)
