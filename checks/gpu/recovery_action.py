"""`gpu.recovery_action`: what the driver itself asks for, read as NVML field 230."""

from __future__ import annotations

from collections.abc import Sequence

from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.latched import ADVICE
from checks.nvml import about, judgeable, unreadable
from checks.readings import GpuReading, NvmlReading
from checks.recovery_action import MEANINGS, recovery_action

ID = "gpu.recovery_action"


def judge(readings: Sequence[NvmlReading]) -> tuple[Finding, ...]:
    """Return every GPU for which the driver asks for something."""
    return tuple(finding for gpu in judgeable(readings[-1]) for finding in _judge_gpu(gpu))


def _judge_gpu(gpu: GpuReading) -> tuple[Finding, ...]:
    if gpu.recovery_action is None:
        return unreadable(ID, gpu, "recovery_action")
    if gpu.recovery_action == 0:
        return ()
    wanted = recovery_action(gpu.recovery_action)
    because = f"the driver asks for {wanted.meaning} (recovery action {gpu.recovery_action}); {ADVICE[wanted.action]}"
    return (about(ID, gpu, wanted.code, wanted.verdict, wanted.action, because),)


CHECK = LevelCheck(
    id=ID,
    summary="The recovery action that the driver asks for, which outranks every table of codes.",
    reading=NvmlReading,
    judge=judge,
    outcomes=(
        *(Outcome(each.code, each.verdict, each.action) for each in map(recovery_action, range(1, MEANINGS))),
        Outcome("unknown_*", Verdict.DEGRADED, Action.CONTACT_SUPPORT),
        Outcome("unreadable", Verdict.UNKNOWN),
    ),
    thresholds={"recovery_action": "0 is none (NVML field 230)"},
)
