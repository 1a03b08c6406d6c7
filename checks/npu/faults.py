"""`npu.faults`: the fault codes of an NPU, each at the level that Huawei's own scheduler gives it.

The level says what is to be done, as NVIDIA's recovery action does. A code that no table knows is kept. A code that
comes again and again is of a higher level by rules that are a part of the table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from checks.accelerator import about, history, judgeable
from checks.check import LevelCheck, Outcome
from checks.data import AscendFrequency, ascend_faults, ascend_frequency
from checks.finding import Action, Finding, Verdict
from checks.readings import AcceleratorDevice, AscendReading
from checks.readings.accelerator import Fault

ID = "npu.faults"
WINDOW_S = 86_400.0
"""Source: `faultCustomization.json` of Huawei's device plugin, the window of every rule of frequency."""


@dataclass(frozen=True, slots=True)
class Level:
    """What a level asks for. A reset of one NPU can reset the others of its board, so a reboot stands in for it."""

    verdict: Verdict
    action: Action
    advice: str


LEVELS = {
    "NotHandleFault": Level(Verdict.DEGRADED, Action.NONE, "the vendor does nothing about it"),
    "SubHealthFault": Level(Verdict.DEGRADED, Action.CONTACT_SUPPORT, "the NPU works on, less well"),
    "RestartRequest": Level(Verdict.DEGRADED, Action.RESTART_APP, "the request has to be made again"),
    "RestartBusiness": Level(Verdict.DEGRADED, Action.RESTART_APP, "the job has to be restarted"),
    "FreeRestartNPU": Level(Verdict.DEGRADED, Action.REBOOT, "restart the NPU when no job is on it"),
    "RestartNPU": Level(Verdict.FAILED, Action.REBOOT, "the NPU has to be restarted"),
    "PreSeparateNPU": Level(Verdict.FAILED, Action.CONTACT_SUPPORT, "no new job may use the NPU"),
    "SeparateNPU": Level(Verdict.FAILED, Action.CONTACT_SUPPORT, "the NPU may not be used"),
    "ManuallySeparateNPU": Level(
        Verdict.FAILED, Action.CONTACT_SUPPORT, "the NPU may not be used before a person says so"
    ),
}
"""Source: Huawei MindCluster, fault levels of the Ascend device plugin, mildest first. The verdicts are our choice."""

UNKNOWN = Level(Verdict.DEGRADED, Action.CONTACT_SUPPORT, "no table knows the code; a newer driver may have added it")


def judge(readings: Sequence[AscendReading]) -> tuple[Finding, ...]:
    """Return every fault that an NPU reports."""
    return tuple(finding for device in judgeable(readings[-1]) for finding in _judge_device(device, readings))


def _judge_device(device: AcceleratorDevice, readings: Sequence[AscendReading]) -> Iterator[Finding]:
    if device.health is None:
        return
    seen = history(readings, device)
    codes = {fault.code: fault for fault in device.health.faults}
    for code, fault in sorted(codes.items()):
        yield _finding(device, fault, *_level(code, seen))


def _level(code: str, seen: Sequence[tuple[float, AcceleratorDevice]]) -> tuple[str, str]:
    """Return the level of a code, and what raised it there, empty when it is the code's own."""
    for rule in ascend_frequency():
        times = _times(code, seen, rule) if code in rule.codes else 0
        if times >= rule.times:
            return rule.level, f"{times} times within {rule.window_s / 3600:.0f} h"
    return ascend_faults().get(code, ""), ""


def _times(code: str, seen: Sequence[tuple[float, AcceleratorDevice]], rule: AscendFrequency) -> int:
    """Return how often the code came up within the rule's window; while it stays it came once."""
    since_s, was_there, times = seen[-1][0] - rule.window_s, False, 0
    for at_s, device in seen:
        if device.health is None:
            continue
        is_there = any(fault.code == code for fault in device.health.faults)
        times += is_there and not was_there and at_s >= since_s
        was_there = is_there
    return times


def _finding(device: AcceleratorDevice, fault: Fault, level: str, raised: str) -> Finding:
    meaning = LEVELS.get(level, UNKNOWN)
    name = f"{level}{', ' + raised if raised else ''}" if level else "not in the table"
    said = f": {fault.text}" if fault.text else ""
    because = f"fault code {fault.code} ({name}){said}; {meaning.advice}"
    judgement = (meaning.verdict, meaning.action)
    return about(ID, device, fault.code, judgement, because, level=level or None, text=fault.text or None)


CHECK = LevelCheck(
    id=ID,
    summary="Fault codes of Ascend NPUs, by the levels of Huawei's own scheduler.",
    reading=AscendReading,
    judge=judge,
    outcomes=tuple(
        Outcome("*", verdict, action)
        for verdict, action in dict.fromkeys((level.verdict, level.action) for level in (*LEVELS.values(), UNKNOWN))
    ),
    window_s=WINDOW_S,
    thresholds={
        "level": f"that of the vendor's table, {len(ascend_faults())} codes",
        **{
            f"often_{number}": f"{rule.times} times in {rule.window_s / 3600:.0f} h: {rule.level} (the vendor's rule)"
            for number, rule in enumerate(ascend_frequency(), 1)
        },
    },
)
