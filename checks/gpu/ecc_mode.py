"""`gpu.ecc_mode`: GPUs whose memory is not protected, or will not be after the next reset."""

from __future__ import annotations

from collections.abc import Iterator

from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.nvml import about, each_gpu, unreadable
from checks.policy import PeerRule, Policy
from checks.readings import GpuReading, NvmlReading

ID = "gpu.ecc_mode"
WORDS = ("off", "on")


def _judge_gpu(gpu: GpuReading) -> Iterator[Finding]:
    yield from unreadable(ID, gpu, "ecc_mode", "ecc_mode_pending")
    now, pending = gpu.details.ecc_mode, gpu.details.ecc_mode_pending
    if now == 0:
        because = "ECC is off: errors of its memory are neither corrected nor seen"
        yield about(ID, gpu, "off", Verdict.DEGRADED, Action.NONE, because)
    if now is not None and pending is not None and bool(now) != bool(pending):
        because = f"ECC is {WORDS[bool(now)]} and will be {WORDS[bool(pending)]} after the next reset of the GPU"
        yield about(ID, gpu, "pending", Verdict.DEGRADED, Action.NONE, because)


CHECK = LevelCheck(
    id=ID,
    summary="GPUs whose memory is not protected by ECC.",
    reading=NvmlReading,
    judge=each_gpu(_judge_gpu),
    outcomes=(
        Outcome("unreadable", Verdict.UNKNOWN),
        Outcome("off", Verdict.DEGRADED),
        Outcome("pending", Verdict.DEGRADED),
    ),
    policy=Policy(
        peers=PeerRule(Action.NONE, "so the host was set up this way"),
        because="who sets up a host sets up all its GPUs",
    ),
    thresholds={"ecc_mode": "on, now and after the next reset, where the GPU has ECC"},
)
