"""`gpu.vbios`: GPUs whose firmware on the board differs from that of the same model beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.nvml import about, judgeable, unreadable, usual
from checks.readings import GpuReading, NvmlReading

ID = "gpu.vbios"


def judge(readings: Sequence[NvmlReading]) -> tuple[Finding, ...]:
    """Return every GPU that differs from most of its model; where no version is so common, all that are not alike."""
    gpus = judgeable(readings[-1])
    return tuple(finding for gpu in gpus for finding in _judge_gpu(gpu, gpus))


def _judge_gpu(gpu: GpuReading, gpus: Sequence[GpuReading]) -> Iterator[Finding]:
    yield from unreadable(ID, gpu, "vbios_version")
    mine, common = _version(gpu), usual(gpu, [each for each in gpus if _version(each)], _version)
    others = {_version(each) for each in gpus if each.name == gpu.name} - {None, mine}
    if mine and others and mine != common:
        theirs = ", ".join(sorted(filter(None, others)))
        because = f"its VBIOS is {mine}, that of other GPUs of the model on this host {theirs}"
        yield about(ID, gpu, "differs", Verdict.DEGRADED, Action.UPDATE_SOFTWARE, because)


def _version(gpu: GpuReading) -> str | None:
    return gpu.details.vbios_version


CHECK = LevelCheck(
    id=ID,
    summary="GPUs whose VBIOS differs from that of the same model beside them.",
    reading=NvmlReading,
    judge=judge,
    outcomes=(Outcome("unreadable", Verdict.UNKNOWN), Outcome("differs", Verdict.DEGRADED, Action.UPDATE_SOFTWARE)),
    thresholds={"vbios_version": "the same on all GPUs of a model"},
)
