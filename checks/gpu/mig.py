"""`gpu.mig`: GPUs that wait for a reset to be divided into instances, or to be whole again."""

from __future__ import annotations

from collections.abc import Iterator

from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.nvml import about, each_gpu, unreadable
from checks.policy import PeerRule, Policy
from checks.readings import GpuReading, NvmlReading

ID = "gpu.mig"
WORDS = ("off", "on")


def _judge_gpu(gpu: GpuReading) -> Iterator[Finding]:
    yield from unreadable(ID, gpu, "mig_mode", "mig_mode_pending")
    now, pending = gpu.details.mig_mode, gpu.details.mig_mode_pending
    if now is not None and pending is not None and bool(now) != bool(pending):
        because = f"MIG is {WORDS[bool(now)]} and will be {WORDS[bool(pending)]} after the next reset of the GPU"
        yield about(ID, gpu, "pending", Verdict.DEGRADED, Action.NONE, because)


CHECK = LevelCheck(
    id=ID,
    summary="GPUs that wait for a reset to be divided into instances, or to be whole again.",
    reading=NvmlReading,
    judge=each_gpu(_judge_gpu),
    outcomes=(Outcome("unreadable", Verdict.UNKNOWN), Outcome("pending", Verdict.DEGRADED)),
    policy=Policy(
        raise_after=2,
        peers=PeerRule(Action.NONE, "so the host is being set up anew"),
        because="who changes the mode resets the GPU right after it",
    ),
    thresholds={"mig_mode": "the same now and after the next reset"},
)
