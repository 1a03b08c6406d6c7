"""`gpu.row_remap`: memory rows that wait for a reset to be replaced, and rows that could not be replaced."""

from __future__ import annotations

from collections.abc import Sequence

from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.nvml import about, judgeable, unreadable
from checks.readings import GpuReading, NvmlReading

ID = "gpu.row_remap"


def judge(readings: Sequence[NvmlReading]) -> tuple[Finding, ...]:
    """Return every GPU whose memory needs a reset or a replacement.

    Source: NVIDIA GPU memory error management: a pending remap needs a reset, the failure flag field diagnostics; a
    number of remaps alone is never a fault.
    """
    return tuple(finding for gpu in judgeable(readings[-1]) for finding in _judge_gpu(gpu))


def _judge_gpu(gpu: GpuReading) -> tuple[Finding, ...]:
    found = list(unreadable(ID, gpu, "remap_pending", "remap_failed"))
    if gpu.remap_failed:
        because = (
            f"a row of memory could not be remapped{_counts(gpu)}: run field diagnostics, replace the GPU if they fail"
        )
        found.append(about(ID, gpu, "failed", Verdict.FAILED, Action.CONTACT_SUPPORT, because))
    if gpu.remap_pending:
        because = f"a row of memory is marked for remapping{_counts(gpu)}: a GPU reset activates it"
        found.append(about(ID, gpu, "pending", Verdict.DEGRADED, Action.RESET_GPU, because))
    return tuple(found)


def _counts(gpu: GpuReading) -> str:
    if gpu.remapped_correctable is None or gpu.remapped_uncorrectable is None:
        return ""
    return f" ({gpu.remapped_uncorrectable} uncorrectable, {gpu.remapped_correctable} correctable so far)"


CHECK = LevelCheck(
    id=ID,
    summary="Rows of GPU memory that wait for a reset to be replaced, or that could not be replaced.",
    reading=NvmlReading,
    judge=judge,
    outcomes=(
        Outcome("unreadable", Verdict.UNKNOWN),
        Outcome("failed", Verdict.FAILED, Action.CONTACT_SUPPORT),
        Outcome("pending", Verdict.DEGRADED, Action.RESET_GPU),
    ),
    thresholds={"pending, failed": "the driver's flags (NVML fields 144 and 145)"},
)
