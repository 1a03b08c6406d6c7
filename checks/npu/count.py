"""`npu.count`: Ascend NPUs that this host is known to have and that are no longer listed."""

from __future__ import annotations

from collections.abc import Sequence

from checks.accelerator import missing
from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.policy import Policy
from checks.readings import AscendReading

ID = "npu.count"


def judge(readings: Sequence[AscendReading]) -> tuple[Finding, ...]:
    """Return every device that is missed, and those of which that cannot be told."""
    return tuple(missing(ID, readings[-1]))


CHECK = LevelCheck(
    id=ID,
    summary="Ascend NPUs of this host that are no longer listed.",
    reading=AscendReading,
    judge=judge,
    outcomes=(
        Outcome("lost", Verdict.FAILED, Action.REBOOT),
        Outcome("nameless", Verdict.UNKNOWN),
        Outcome("unlisted", Verdict.UNKNOWN),
    ),
    policy=Policy(raise_after=2, because="a reload of the driver takes the devices away for one reading"),
    thresholds={"readings": "2 in a row without the device: a reload of the driver takes it away for one (our choice)"},
)
