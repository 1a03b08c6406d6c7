"""`host.cpu`: processors that are too hot, set to save power, or that give the time slowly.

None of this harms a result; each makes every job on the host slower than on its neighbours, and one slow host makes a
whole training job slow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from checks.check import LevelCheck, Outcome
from checks.counters import growth
from checks.finding import Action, Finding, Verdict
from checks.policy import Policy
from checks.readings import PlatformReading

ID = "host.cpu"
WINDOW_S = 600.0
THROTTLES = 50
"""In the window, over all cores and packages. Source: our choice; a core that touches its limit for a moment counts
once, one without enough cooling several times a second."""

PERFORMANCE = "performance"
SLOW_CLOCKS = frozenset({"hpet", "acpi_pm", "jiffies", "refined-jiffies", "pit"})
"""Clocks that cost a microsecond to read where the processor's own costs nanoseconds; the kernel falls back to them
when it no longer trusts that one. Source: kernel, drivers/clocksource, arch/x86/kernel/tsc.c; gcm checks the same."""


def judge(readings: Sequence[PlatformReading]) -> tuple[Finding, ...]:
    """Return what makes the processors slow."""
    return (*_hot(readings), *_saving(readings[-1]), *_slow_clock(readings[-1]))


def _hot(readings: Sequence[PlatformReading]) -> Iterator[Finding]:
    grown = growth(reading.throttles for reading in readings)
    if grown >= THROTTLES:
        because = f"processors were too hot and slowed down {grown} times within {WINDOW_S / 60:.0f} minutes"
        yield _finding("throttled", Action.NONE, because)


def _saving(newest: PlatformReading) -> Iterator[Finding]:
    others = {governor: count for governor, count in newest.governors.items() if governor != PERFORMANCE}
    if others:
        named = ", ".join(f"{governor} on {count}" for governor, count in sorted(others.items()))
        total = sum(newest.governors.values())
        because = f"of {total} frequency policies, the governor is {named} in place of {PERFORMANCE}"
        yield _finding("governor", Action.NONE, because)


def _slow_clock(newest: PlatformReading) -> Iterator[Finding]:
    if newest.clocksource in SLOW_CLOCKS:
        because = (
            f"the kernel takes the time from {newest.clocksource}, as it no longer trusts the processor's own clock: "
            "reboot when the host is empty"
        )
        yield _finding("clocksource", Action.REBOOT, because)


def _finding(code: str, action: Action, because: str) -> Finding:
    return Finding(ID, "host", code, Verdict.DEGRADED, action, because)


CHECK = LevelCheck(
    id=ID,
    summary="Processors that are too hot, set to save power, or that give the time slowly.",
    reading=PlatformReading,
    judge=judge,
    outcomes=(
        Outcome("throttled", Verdict.DEGRADED),
        Outcome("governor", Verdict.DEGRADED),
        Outcome("clocksource", Verdict.DEGRADED, Action.REBOOT),
    ),
    window_s=WINDOW_S,
    policy=Policy(raise_after=2, boot_grace_s=300.0, because="a service sets the governor some time after the boot"),
    thresholds={
        "throttled": f"{THROTTLES} times within {WINDOW_S:.0f} s (our choice)",
        "governor": f"any but {PERFORMANCE}, or an energy preference for it (gcm)",
        "clocksource": f"one of {', '.join(sorted(SLOW_CLOCKS))} (gcm: tsc on x86)",
    },
)
