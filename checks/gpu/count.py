"""`gpu.count`: GPUs that this host is known to have and that no longer answer, and GPUs in the place of others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.nvml import about, judgeable
from checks.policy import Policy
from checks.readings import GpuReading, NvmlReading

ID = "gpu.count"


def judge(readings: Sequence[NvmlReading]) -> tuple[Finding, ...]:
    """Return every GPU that is lost, that answers only what it lacks, or that is not the one that was approved."""
    reading = readings[-1]
    usable = judgeable(reading)
    answering = {gpu.uuid for gpu in usable}
    gone = {uuid: pci for uuid, pci in _known(reading, usable).items() if uuid not in answering}
    nameless = [gpu for gpu in reading.gpus if gpu.lost and gpu.uuid not in gone and gpu.pci not in gone.values()]
    return (
        *(_lost(reading, uuid, pci) for uuid, pci in gone.items()),
        *(_lost(reading, gpu.uuid or gpu.pci, gpu.pci) for gpu in nameless),
        *(finding for gpu in usable for finding in _judge_gpu(gpu, reading)),
    )


def _known(reading: NvmlReading, usable: Sequence[GpuReading]) -> dict[str, str]:
    """Return UUID → PCI of every GPU that should answer. One whose place another has taken was replaced, not lost."""
    taken = {gpu.pci for gpu in usable}
    approved = {uuid: pci for pci, uuid in reading.approved_gpus.items() if pci not in taken}
    return approved | reading.known_gpus


def _lost(reading: NvmlReading, device: str, pci: str) -> Finding:
    ours = next((gpu for gpu in reading.gpus if gpu.uuid == device or gpu.pci == pci), None)
    said = "NVML says that it is lost" if ours else "NVML no longer lists it"
    known = max(len(reading.known_gpus), len(reading.approved_gpus), len(reading.gpus))
    because = f"GPU at {pci} does not answer: {said} ({len(judgeable(reading))} of {known} GPUs answer)"
    serial = ours.serial if ours else ""
    return Finding(ID, device, "lost", Verdict.FAILED, Action.REBOOT, because, pci=pci, serial=serial)


def _judge_gpu(gpu: GpuReading, reading: NvmlReading) -> Iterator[Finding]:
    if gpu.power_cable_missing:
        because = f"GPU at {gpu.pci} answers only that its power cables are not plugged in (NVML INSUFFICIENT_POWER)"
        yield about(ID, gpu, "power_cable", Verdict.FAILED, Action.CHECK_CABLING, because)
    if gpu.reset_required:
        because = f"GPU at {gpu.pci} answers only that it has to be reset (NVML RESET_REQUIRED)"
        yield about(ID, gpu, "reset_required", Verdict.FAILED, Action.RESET_GPU, because)
    approved = reading.approved_gpus.get(gpu.pci, "")
    if not reading.approved_gpus or not gpu.uuid or gpu.uuid == approved:
        return
    serial = f"serial {gpu.serial}" if gpu.serial else "no serial number"
    if approved:
        because = (
            f"GPU at {gpu.pci} is {gpu.uuid} ({serial}), approved is {approved}: approve it, or find out who swapped it"
        )
        yield about(ID, gpu, "swapped", Verdict.DEGRADED, Action.NONE, because)
    else:
        because = f"GPU at {gpu.pci} is {gpu.uuid} ({serial}), there none was approved"
        yield about(ID, gpu, "unapproved", Verdict.DEGRADED, Action.NONE, because)


CHECK = LevelCheck(
    id=ID,
    summary="GPUs of this host that no longer answer, or that are not those that were approved.",
    reading=NvmlReading,
    judge=judge,
    outcomes=(
        Outcome("lost", Verdict.FAILED, Action.REBOOT),
        Outcome("reset_required", Verdict.FAILED, Action.RESET_GPU),
        Outcome("power_cable", Verdict.FAILED, Action.CHECK_CABLING),
        Outcome("swapped", Verdict.DEGRADED),
        Outcome("unapproved", Verdict.DEGRADED),
    ),
    policy=Policy(raise_after=2, because="a driver reload takes the GPUs away for one reading"),
    thresholds={
        "readings": "2 in a row without an answer: a driver reload takes the GPUs away for one (our choice)",
        "identity": "UUID by place, as a person approved it; nothing is judged before that",
    },
)
