"""Memory errors of accelerators, judged as growth: the totals of a device's whole life say little of today."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from checks.accelerator import UNREADABLE, about, history, judgeable, unreadable
from checks.check import Outcome
from checks.counters import growth, since_reset
from checks.finding import Action, Finding, Verdict
from checks.readings import AcceleratorDevice, AcceleratorReading
from checks.readings.accelerator import EccCount

WINDOW_S: Final = 3600.0
"""Source: our choice, the same as for NVIDIA's uncorrectable errors."""

CORRECTED_PER_MINUTE: Final = 1000.0
"""Source: our choice; a GB200 that slowed its host down made 17,700 a second, and healthy memory makes some a day."""

OUTCOMES: Final = (
    Outcome(UNREADABLE, Verdict.UNKNOWN),
    Outcome("uncorrected_*", Verdict.FAILED, Action.REBOOT),
    Outcome("deferred_*", Verdict.DEGRADED),
    Outcome("corrected_*", Verdict.DEGRADED),
)

THRESHOLDS: Final = {
    "uncorrected": f"any new one within {WINDOW_S / 60:.0f} min (our choice: a job may have read wrong data)",
    "deferred": f"any new one within {WINDOW_S / 60:.0f} min: found, and nobody has read it yet (our choice)",
    "corrected": f"{CORRECTED_PER_MINUTE:.0f} a minute (our choice)",
}

Counter = Callable[[EccCount], int | None]


def judge_memory(check: str, readings: Sequence[AcceleratorReading]) -> tuple[Finding, ...]:
    """Return every block of every device with new errors."""
    devices = judgeable(readings[-1])
    return tuple(finding for device in devices for finding in _judge_device(check, device, readings))


def _judge_device(check: str, device: AcceleratorDevice, readings: Sequence[AcceleratorReading]) -> Iterator[Finding]:
    yield from unreadable(check, device, "ecc")
    seen = history(readings, device)
    for block in device.ecc:
        runs = [(at_s, count) for at_s, each in seen for count in each.ecc if count.block == block.block]
        yield from _judge_block(check, device, block, runs)


def _judge_block(
    check: str, device: AcceleratorDevice, block: EccCount, runs: Sequence[tuple[float, EccCount]]
) -> Iterator[Finding]:
    name, window = block.block.lower(), f"within {WINDOW_S / 60:.0f} min"
    if new := _new(runs, lambda count: count.uncorrected):
        because = f"{new} new uncorrectable errors in {block.block} {window} ({block.uncorrected} in all)"
        judgement = (Verdict.FAILED, Action.REBOOT)
        yield about(check, device, f"uncorrected_{name}", judgement, because, uncorrected=block.uncorrected)
    if new := _new(runs, lambda count: count.deferred):
        because = f"{new} new errors in {block.block} {window} that nobody has read yet"
        judgement = (Verdict.DEGRADED, Action.NONE)
        yield about(check, device, f"deferred_{name}", judgement, because, deferred=block.deferred)
    per_minute = _per_minute(runs)
    if per_minute >= CORRECTED_PER_MINUTE:
        because = f"{per_minute:.0f} corrected errors a minute in {block.block}, the limit is {CORRECTED_PER_MINUTE:g}"
        judgement = (Verdict.DEGRADED, Action.NONE)
        yield about(check, device, f"corrected_{name}", judgement, because, corrected=block.corrected)


def _new(runs: Sequence[tuple[float, EccCount]], counter: Counter) -> int:
    return growth(since_reset(counter(count) for _, count in runs))


def _per_minute(runs: Sequence[tuple[float, EccCount]]) -> float:
    """Return the rate over the last two readings that know the counter: a storm that is over is no fault now."""
    known = [(at_s, count.corrected) for at_s, count in runs if count.corrected is not None][-2:]
    if len(known) < 2 or known[1][0] <= known[0][0]:
        return 0.0
    return growth(value for _, value in known) * 60.0 / (known[1][0] - known[0][0])
