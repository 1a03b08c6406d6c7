"""`gpu.gsp`: GPUs whose system processor (GSP) does not run, or runs firmware of another driver."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.nvml import about, judgeable, unreadable
from checks.readings import GpuReading, NvmlReading

ID = "gpu.gsp"


def judge(readings: Sequence[NvmlReading]) -> tuple[Finding, ...]:
    """Return every GPU without the firmware that the driver means it to have."""
    driver = readings[-1].driver_version
    return tuple(finding for gpu in judgeable(readings[-1]) for finding in _judge_gpu(gpu, driver))


def _judge_gpu(gpu: GpuReading, driver: str) -> Iterator[Finding]:
    yield from unreadable(ID, gpu, "gsp_enabled", "gsp_version")
    details = gpu.details
    if details.gsp_enabled is False and details.gsp_default:
        because = "its GSP firmware is switched off, which is not the default of this GPU"
        yield about(ID, gpu, "off", Verdict.DEGRADED, Action.NONE, because)
    if details.gsp_enabled and details.gsp_version and driver and details.gsp_version != driver:
        because = f"its GSP firmware is {details.gsp_version}, the driver {driver}: a reboot loads both alike"
        yield about(ID, gpu, "mismatch", Verdict.DEGRADED, Action.REBOOT, because)


CHECK = LevelCheck(
    id=ID,
    summary="GPUs whose system processor does not run, or runs firmware of another driver.",
    reading=NvmlReading,
    judge=judge,
    outcomes=(
        Outcome("unreadable", Verdict.UNKNOWN),
        Outcome("off", Verdict.DEGRADED),
        Outcome("mismatch", Verdict.DEGRADED, Action.REBOOT),
    ),
    thresholds={"gsp_version": "that of the driver, which ships the firmware"},
)
