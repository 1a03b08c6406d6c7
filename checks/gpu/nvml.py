"""`gpu.nvml`: whether the driver answers at all. A driver that hangs is a fault, one that errs is unknown."""

from __future__ import annotations

from collections.abc import Sequence

from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.nvml import is_absent, not_asked, told
from checks.readings import NvmlReading

ID = "gpu.nvml"
MISSED_DEADLINES_OF_A_HANG = 2
"""Source: our choice (NVIDIA's own nvidia-smi can take a deadline's time once, when it initialises a GPU)."""

HUNG = "hung"


def judge(readings: Sequence[NvmlReading]) -> tuple[Finding, ...]:
    """Return what is wrong with NVML as a whole."""
    reading = readings[-1]
    if not reading.failure or is_absent(reading):
        return ()
    if reading.failure == "stuck":
        because = told(reading, "NVML hangs: the process that asked it cannot be killed, it is stuck in the driver")
        return (_finding(reading, HUNG, Verdict.FAILED, Action.REBOOT, because),)
    if reading.failure == "timeout" and reading.missed_deadlines >= MISSED_DEADLINES_OF_A_HANG:
        because = told(reading, f"NVML hangs: {reading.missed_deadlines} deadlines in a row were missed")
        return (_finding(reading, HUNG, Verdict.FAILED, Action.REBOOT, because),)
    if reading.failure == "version_mismatch":
        because = told(reading, "library and kernel module of the driver differ: it was upgraded without a reboot")
        return (_finding(reading, reading.failure, Verdict.DEGRADED, Action.REBOOT, because),)
    return (_finding(reading, reading.failure, Verdict.UNKNOWN, Action.NONE, not_asked(reading)),)


def _finding(reading: NvmlReading, code: str, verdict: Verdict, action: Action, because: str) -> Finding:
    return Finding(ID, "host", code, verdict, action, because, evidence={"failure": reading.failure})


CHECK = LevelCheck(
    id=ID,
    summary="Whether NVML, the driver's management library, answers in time.",
    reading=NvmlReading,
    judge=judge,
    outcomes=(
        Outcome(HUNG, Verdict.FAILED, Action.REBOOT),
        Outcome("version_mismatch", Verdict.DEGRADED, Action.REBOOT),
        Outcome("*", Verdict.UNKNOWN),
    ),
    thresholds={"missed_deadlines": f"{MISSED_DEADLINES_OF_A_HANG} in a row are a hang (our choice)"},
)
