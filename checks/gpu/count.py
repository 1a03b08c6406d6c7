"""`gpu.count`: GPUs that this host is known to have and that no longer answer."""

from __future__ import annotations

from collections.abc import Sequence

from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.nvml import about, judgeable
from checks.policy import Policy
from checks.readings import GpuReading, NvmlReading

ID = "gpu.count"


def judge(readings: Sequence[NvmlReading]) -> tuple[Finding, ...]:
    """Return every GPU that is lost or that answers only that it needs a reset."""
    reading = readings[-1]
    usable = judgeable(reading)
    answering = {gpu.uuid for gpu in usable}
    gone = {uuid: pci for uuid, pci in reading.known_gpus.items() if uuid not in answering}
    nameless = [gpu for gpu in reading.gpus if gpu.lost and gpu.uuid not in gone and gpu.pci not in gone.values()]
    return (
        *(_lost(reading, uuid, pci) for uuid, pci in gone.items()),
        *(_lost(reading, gpu.uuid or gpu.pci, gpu.pci) for gpu in nameless),
        *(_reset_required(gpu) for gpu in usable if gpu.reset_required),
    )


def _lost(reading: NvmlReading, device: str, pci: str) -> Finding:
    ours = next((gpu for gpu in reading.gpus if gpu.uuid == device or gpu.pci == pci), None)
    said = "NVML says that it is lost" if ours else "NVML no longer lists it"
    known = max(len(reading.known_gpus), len(reading.gpus))
    because = f"GPU at {pci} does not answer: {said} ({len(judgeable(reading))} of {known} GPUs answer)"
    serial = ours.serial if ours else ""
    return Finding(ID, device, "lost", Verdict.FAILED, Action.REBOOT, because, pci=pci, serial=serial)


def _reset_required(gpu: GpuReading) -> Finding:
    because = f"GPU at {gpu.pci} answers only that it has to be reset (NVML RESET_REQUIRED)"
    return about(ID, gpu, "reset_required", Verdict.FAILED, Action.RESET_GPU, because)


CHECK = LevelCheck(
    id=ID,
    summary="GPUs of this host that no longer answer.",
    reading=NvmlReading,
    judge=judge,
    outcomes=(
        Outcome("lost", Verdict.FAILED, Action.REBOOT),
        Outcome("reset_required", Verdict.FAILED, Action.RESET_GPU),
    ),
    policy=Policy(raise_after=2, because="a driver reload takes the GPUs away for one reading"),
    thresholds={"readings": "2 in a row without an answer: a driver reload takes the GPUs away for one (our choice)"},
)
