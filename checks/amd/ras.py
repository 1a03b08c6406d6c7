"""`amd.ras`: memory and logic errors that the blocks of an AMD GPU count (RAS)."""

from __future__ import annotations

from collections.abc import Sequence

from checks.accelerator_memory import OUTCOMES, THRESHOLDS, WINDOW_S, judge_memory
from checks.check import LevelCheck
from checks.finding import Finding
from checks.readings import AmdReading

ID = "amd.ras"


def judge(readings: Sequence[AmdReading]) -> tuple[Finding, ...]:
    """Return every block of every GPU with new errors."""
    return judge_memory(ID, readings)


CHECK = LevelCheck(
    id=ID,
    summary="Errors that the blocks of AMD GPUs count.",
    reading=AmdReading,
    judge=judge,
    outcomes=OUTCOMES,
    window_s=WINDOW_S,
    thresholds=THRESHOLDS,
)
