"""`gpu.row_remap`: memory rows that wait for a reset to be replaced, rows that could not be replaced, and spare rows
that are used up."""

from __future__ import annotations

from collections.abc import Iterator

from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.nvml import about, each_gpu, unreadable
from checks.readings import GpuReading, NvmlReading

ID = "gpu.row_remap"
TABLE_ROWS = 512
"""Rows that can be remapped in all; the next one sets the failure flag. Source: NVIDIA GPU memory error management;
DCGM warns at the same number."""


def _judge_gpu(gpu: GpuReading) -> Iterator[Finding]:
    """Yield why the memory needs a reset, a replacement, or to be watched.

    Source: NVIDIA GPU memory error management: a pending remap needs a reset, the failure flag field diagnostics; a
    number of remaps alone is never a reason to replace a GPU.
    """
    yield from unreadable(ID, gpu, "remap_pending", "remap_failed")
    if gpu.remap_failed:
        because = (
            f"a row of memory could not be remapped{_counts(gpu)}: run field diagnostics, replace the GPU if they fail"
        )
        yield about(ID, gpu, "failed", Verdict.FAILED, Action.CONTACT_SUPPORT, because)
    else:
        yield from _judge_spares(gpu)
    if gpu.remap_pending:
        because = f"a row of memory is marked for remapping{_counts(gpu)}: a GPU reset activates it"
        yield about(ID, gpu, "pending", Verdict.DEGRADED, Action.RESET_GPU, because)


def _judge_spares(gpu: GpuReading) -> Iterator[Finding]:
    banks, remapped = gpu.details.remap_banks, (gpu.remapped_correctable or 0) + (gpu.remapped_uncorrectable or 0)
    if banks is not None and banks.none:
        because = f"{banks.none} banks of memory have no spare row left{_counts(gpu)}: the next bad row there is final"
        yield about(ID, gpu, "bank_without_spares", Verdict.DEGRADED, Action.NONE, because)
    if remapped >= TABLE_ROWS:
        because = f"{remapped} rows of memory are remapped, the table holds {TABLE_ROWS}: the next bad row is final"
        yield about(ID, gpu, "table_full", Verdict.DEGRADED, Action.NONE, because)


def _counts(gpu: GpuReading) -> str:
    if gpu.remapped_correctable is None or gpu.remapped_uncorrectable is None:
        return ""
    return f" ({gpu.remapped_uncorrectable} uncorrectable, {gpu.remapped_correctable} correctable so far)"


CHECK = LevelCheck(
    id=ID,
    summary="Rows of GPU memory that wait for a reset to be replaced, or that could not be replaced.",
    reading=NvmlReading,
    judge=each_gpu(_judge_gpu),
    outcomes=(
        Outcome("unreadable", Verdict.UNKNOWN),
        Outcome("failed", Verdict.FAILED, Action.CONTACT_SUPPORT),
        Outcome("pending", Verdict.DEGRADED, Action.RESET_GPU),
        Outcome("bank_without_spares", Verdict.DEGRADED),
        Outcome("table_full", Verdict.DEGRADED),
    ),
    thresholds={
        "pending, failed": "the driver's flags (NVML fields 144 and 145)",
        "bank_without_spares": "any bank (NVIDIA: the row remapper's histogram, `none`)",
        "table_full": f"{TABLE_ROWS} rows (NVIDIA, DCGM)",
    },
)
