"""`gpu.persistence`: GPUs that the driver shuts down whenever nobody uses them.

Then every job waits for the GPU to start, and its volatile error counters begin anew, so that faults go unseen.
"""

from __future__ import annotations

from collections.abc import Iterator

from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.nvml import about, each_gpu, unreadable
from checks.policy import PeerRule, Policy
from checks.readings import GpuReading, NvmlReading

ID = "gpu.persistence"
BOOT_GRACE_S = 300.0
"""Source: our choice: nvidia-persistenced starts late in the boot, and gpud was blamed for alarms right after one."""


def _judge_gpu(gpu: GpuReading) -> Iterator[Finding]:
    yield from unreadable(ID, gpu, "persistence")
    if gpu.details.persistence is False:
        because = "persistence mode is off: jobs start late, and error counters are lost between them"
        yield about(ID, gpu, "off", Verdict.DEGRADED, Action.NONE, because)


CHECK = LevelCheck(
    id=ID,
    summary="GPUs that the driver shuts down whenever nobody uses them.",
    reading=NvmlReading,
    judge=each_gpu(_judge_gpu),
    outcomes=(Outcome("unreadable", Verdict.UNKNOWN), Outcome("off", Verdict.DEGRADED)),
    policy=Policy(
        raise_after=2,
        boot_grace_s=BOOT_GRACE_S,
        peers=PeerRule(Action.NONE, "so nvidia-persistenced does not run"),
        because="the service that sets it starts late in the boot, and is off while the driver is reloaded",
    ),
    thresholds={"boot_grace": f"{BOOT_GRACE_S:.0f} s (our choice)"},
)
