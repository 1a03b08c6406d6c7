"""`gpu.inforom`: boards whose own memory, which keeps serial number, error history and settings, is damaged."""

from __future__ import annotations

from collections.abc import Iterator

from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.nvml import about, each_gpu, unreadable
from checks.readings import GpuReading, NvmlReading

ID = "gpu.inforom"


def _judge_gpu(gpu: GpuReading) -> Iterator[Finding]:
    yield from unreadable(ID, gpu, "inforom_corrupt")
    if gpu.details.inforom_corrupt:
        version = gpu.details.inforom_version or "of unknown version"
        because = f"the checksum of its InfoROM {version} is wrong (NVML error 14): its error history cannot be trusted"
        yield about(ID, gpu, "corrupt", Verdict.DEGRADED, Action.CONTACT_SUPPORT, because)


CHECK = LevelCheck(
    id=ID,
    summary="Boards whose InfoROM, which keeps their error history, is damaged.",
    reading=NvmlReading,
    judge=each_gpu(_judge_gpu),
    outcomes=(Outcome("unreadable", Verdict.UNKNOWN), Outcome("corrupt", Verdict.DEGRADED, Action.CONTACT_SUPPORT)),
    thresholds={"inforom_corrupt": "nvmlDeviceValidateInforom answers CORRUPTED_INFOROM (nvml.h)"},
)
