"""`gpu.repair`: parts of the chip and its memory that wait for a reset to be repaired, and memory that cannot be."""

from __future__ import annotations

from collections.abc import Iterator

from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.nvml import about, each_gpu, unreadable
from checks.readings import GpuReading, NvmlReading

ID = "gpu.repair"


def _judge_gpu(gpu: GpuReading) -> Iterator[Finding]:
    """Yield what is to be repaired. Source: nvml.h, nvmlDeviceGetRepairStatus, GetUnrepairableMemoryFlag."""
    yield from unreadable(ID, gpu, "channel_repair_pending", "tpc_repair_pending", "unrepairable_memory")
    if gpu.details.unrepairable_memory:
        because = "the driver says that memory of this GPU cannot be repaired: replace the GPU"
        yield about(ID, gpu, "unrepairable", Verdict.FAILED, Action.CONTACT_SUPPORT, because)
    if gpu.details.channel_repair_pending:
        because = "a memory channel waits for a reset of the GPU to be repaired"
        yield about(ID, gpu, "channel_pending", Verdict.DEGRADED, Action.RESET_GPU, because)
    if gpu.details.tpc_repair_pending:
        because = "a processing cluster (TPC) waits for a reset of the GPU to be repaired"
        yield about(ID, gpu, "tpc_pending", Verdict.DEGRADED, Action.RESET_GPU, because)


CHECK = LevelCheck(
    id=ID,
    summary="Repairs of a GPU that wait for a reset, and memory that cannot be repaired.",
    reading=NvmlReading,
    judge=each_gpu(_judge_gpu),
    outcomes=(
        Outcome("unreadable", Verdict.UNKNOWN),
        Outcome("unrepairable", Verdict.FAILED, Action.CONTACT_SUPPORT),
        Outcome("channel_pending", Verdict.DEGRADED, Action.RESET_GPU),
        Outcome("tpc_pending", Verdict.DEGRADED, Action.RESET_GPU),
    ),
    thresholds={"flags": "the driver's own (NVML repair status, unrepairable memory)"},
)
