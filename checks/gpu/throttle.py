"""`gpu.throttle`: GPUs that slow themselves down because something is too hot or too weak.

That the power limit is reached, or that there is nothing to do, keeps the clocks of a healthy GPU down all day.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from checks.check import LevelCheck, Outcome
from checks.counters import growth
from checks.finding import Action, Finding, Verdict
from checks.nvml import about, each_history, unreadable
from checks.policy import PeerRule, Policy
from checks.readings import GpuReading, NvmlReading

ID = "gpu.throttle"
WINDOW_S = 600.0
FAILED_MINUTES = 6
"""Of ten, in which it was seen. Source: gpud, 0.6 events a minute over 10 min."""

SW_THERMAL_SPAN_S = 570.0
"""That the readings of a whole window span. Source: our choice: ten minutes less two readings."""

HW_SLOWDOWN, SW_THERMAL, HW_THERMAL, POWER_BRAKE = 0x8, 0x20, 0x40, 0x80
"""Source: nvml.h, nvmlClocksEventReason...; 0x40 and 0x80 say why 0x8 is set, where the GPU can tell them apart."""

Seen = Sequence[tuple[float, GpuReading]]


def _judge_gpu(gpu: GpuReading, seen: Seen) -> Iterator[Finding]:
    if gpu.clock_event_reasons is None:
        yield from unreadable(ID, gpu, "clock_event_reasons")
        return
    heat, brake = _minutes(seen, HW_THERMAL), _minutes(seen, POWER_BRAKE)
    if heat >= FAILED_MINUTES:
        because = f"too hot: {_said(heat, [each.hw_thermal_ns for _, each in seen])}; check its cooling"
        yield about(ID, gpu, "hw_thermal", Verdict.FAILED, Action.CONTACT_SUPPORT, because)
    if brake >= FAILED_MINUTES:
        because = f"the power brake is drawn from outside: {_said(brake, [each.power_brake_ns for _, each in seen])}"
        told = f"{because}; check the power supplies of host and rack"
        yield about(ID, gpu, "power_brake", Verdict.FAILED, Action.CHECK_CABLING, told)
    slow = _minutes(seen, HW_SLOWDOWN, unless=HW_THERMAL | POWER_BRAKE)
    if slow >= FAILED_MINUTES:
        because = f"heat or weak power, it does not say which: {_said(slow, [])}; check its cooling and its power"
        yield about(ID, gpu, "hw_slowdown", Verdict.FAILED, Action.CONTACT_SUPPORT, because)
    if _is_warm(seen):
        because = (
            f"the driver keeps the clocks down because of heat: {_said(10, [each.sw_thermal_ns for _, each in seen])}"
        )
        yield about(ID, gpu, "sw_thermal", Verdict.DEGRADED, Action.NONE, because)


def _minutes(seen: Seen, bit: int, *, unless: int = 0) -> int:
    """Return in how many minutes the bit was seen, and none of the others with it."""
    return len({int(at_s // 60) for at_s, gpu in seen if _has(gpu, bit) and not _has(gpu, unless)})


def _has(gpu: GpuReading, bits: int) -> bool:
    return gpu.clock_event_reasons is not None and bool(gpu.clock_event_reasons & bits)


def _is_warm(seen: Seen) -> bool:
    span_s = seen[-1][0] - seen[0][0]
    return span_s >= SW_THERMAL_SPAN_S and all(_has(gpu, SW_THERMAL) for _, gpu in seen)


def _said(minutes: int, counters_ns: Sequence[int | None]) -> str:
    counted_s = growth(counters_ns) // 10**9
    by_the_clock = f", {counted_s} s of them by the driver's clock" if counted_s else ""
    return f"seen in {minutes} of {WINDOW_S / 60:.0f} minutes{by_the_clock}"


CHECK = LevelCheck(
    id=ID,
    summary="GPUs that slow themselves down because of heat or of weak power.",
    reading=NvmlReading,
    judge=each_history(_judge_gpu),
    outcomes=(
        Outcome("unreadable", Verdict.UNKNOWN),
        Outcome("hw_thermal", Verdict.FAILED, Action.CONTACT_SUPPORT),
        Outcome("power_brake", Verdict.FAILED, Action.CHECK_CABLING),
        Outcome("hw_slowdown", Verdict.FAILED, Action.CONTACT_SUPPORT),
        Outcome("sw_thermal", Verdict.DEGRADED),
    ),
    window_s=WINDOW_S,
    policy=Policy(
        peers=PeerRule(
            Action.CHECK_CABLING, "so it is the power or the cooling of the host or its rack, not the GPUs'"
        ),
        because="what slows most GPUs of a host comes from outside them",
    ),
    thresholds={
        "hw_thermal, power_brake, hw_slowdown": f"seen in {FAILED_MINUTES} of {WINDOW_S / 60:.0f} minutes (gpud)",
        "sw_thermal": f"in every reading of {WINDOW_S / 60:.0f} minutes (our choice)",
    },
)
