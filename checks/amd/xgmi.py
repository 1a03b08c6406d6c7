"""`amd.xgmi`: the links between the GPUs of one host.

GPUs that are linked form a hive, and a reset of one resets them all: so there is none here, only a reboot.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from checks.accelerator import UNREADABLE, about, judgeable, unreadable
from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.policy import Policy
from checks.readings import AcceleratorDevice, AmdReading

ID = "amd.xgmi"
KIND = "XGMI"
DOWN = "down"
WELL = frozenset({"", "NO_ERRORS", "NO_ERRORS_DETECTED"})
"""Source: amdsmi, `amdsmi_xgmi_status_t`: no errors, error, multiple errors; worded so since ROCm 5."""

ERRORS = {"ERROR": "one error", "MULTIPLE_ERRORS": "several errors"}


def judge(readings: Sequence[AmdReading]) -> tuple[Finding, ...]:
    """Return every GPU with links that are down or that had errors."""
    return tuple(finding for device in judgeable(readings[-1]) for finding in _judge_device(device))


def _judge_device(device: AcceleratorDevice) -> Iterator[Finding]:
    yield from unreadable(ID, device, "links")
    links = [link for link in device.links if link.kind == KIND]
    down = [link.peer for link in links if link.state == DOWN]
    if down:
        because = f"XGMI links {', '.join(down)} are down: drain and reboot the host"
        yield about(ID, device, "down", (Verdict.FAILED, Action.REBOOT), because, links=", ".join(down))
    for link in links:
        yield from _judge_status(device, link.health)


def _judge_status(device: AcceleratorDevice, status: str) -> Iterator[Finding]:
    if status in WELL:
        return
    if status not in ERRORS:
        because = f"the status of its XGMI links is {status!r}, which says nothing"
        yield about(ID, device, "unknown", (Verdict.UNKNOWN, Action.NONE), because)
        return
    because = f"its XGMI links report {ERRORS[status]} since the status was last cleared"
    yield about(ID, device, "errors", (Verdict.DEGRADED, Action.NONE), because, status=status)


CHECK = LevelCheck(
    id=ID,
    summary="XGMI, the links between the AMD GPUs of a host.",
    reading=AmdReading,
    judge=judge,
    outcomes=(
        Outcome("down", Verdict.FAILED, Action.REBOOT),
        Outcome("errors", Verdict.DEGRADED),
        Outcome("unknown", Verdict.UNKNOWN),
        Outcome(UNREADABLE, Verdict.UNKNOWN),
    ),
    policy=Policy(raise_after=2, because="links train for some seconds while a hive is reset"),
    thresholds={"state": "no link D by `amd-smi xgmi --link-status`; one that is disabled (X) is none of the board's"},
)
