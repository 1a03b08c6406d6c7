"""`npu.health`: what the NPU's driver calls the device as a whole.

The word comes with fault codes, and what to do about those is the matter of `npu.faults`. So `Alarm` alone condemns no
device, as a code that the vendor says not to handle can raise it; `Critical` does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from checks.accelerator import UNREADABLE, about, judgeable, unreadable
from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.readings import AcceleratorDevice, AscendReading

ID = "npu.health"
WELL = "OK"

MEANINGS = {
    "warning": ("warning", Verdict.DEGRADED, Action.NONE, "a minor fault"),
    "alarm": ("alarm", Verdict.DEGRADED, Action.CONTACT_SUPPORT, "a major fault"),
    "critical": ("critical", Verdict.FAILED, Action.REBOOT, "a critical fault: drain and reboot the host"),
    "offline": ("offline", Verdict.FAILED, Action.REBOOT, "the device is not there or not started: drain and reboot"),
}
"""Word in lower case → code and meaning. Source: DCMI API reference, `dcmi_get_device_health`: 0 OK, 1 minor, 2 major,
3 critical, 0xFFFFFFFF absent or not started; the worst alarm counts. What each asks for is our choice."""


def judge(readings: Sequence[AscendReading]) -> tuple[Finding, ...]:
    """Return every NPU that its driver does not call well."""
    return tuple(finding for device in judgeable(readings[-1]) for finding in _judge_device(device))


def _judge_device(device: AcceleratorDevice) -> Iterator[Finding]:
    yield from unreadable(ID, device, "health")
    if device.health is None or device.health.said == WELL:
        return
    said, codes = device.health.said, ", ".join(fault.code for fault in device.health.faults)
    meaning = MEANINGS.get(said.lower())
    if meaning is None:
        judgement, because = (Verdict.UNKNOWN, Action.NONE), f"its health is {said!r}, which says nothing"
        yield about(ID, device, "unknown", judgement, because)
        return
    code, verdict, action, text = meaning
    because = f"its driver calls it {said}: {text}" + (f" (fault codes {codes})" if codes else " (without any code)")
    yield about(ID, device, code, (verdict, action), because, faults=codes or None)


CHECK = LevelCheck(
    id=ID,
    summary="What the driver of an Ascend NPU calls the device as a whole.",
    reading=AscendReading,
    judge=judge,
    outcomes=(
        *(Outcome(code, verdict, action) for code, verdict, action, _ in MEANINGS.values()),
        Outcome("unknown", Verdict.UNKNOWN),
        Outcome(UNREADABLE, Verdict.UNKNOWN),
    ),
    thresholds={"word": "OK is well; Warning, Alarm and Critical are 1, 2 and 3 of DCMI's health"},
)
