"""`gpu.pcie`: GPUs whose PCIe link is narrower or slower than it can be, or makes errors.

A link lowers its speed when it has nothing to carry, so the generation counts under load only; its width never changes
by itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from checks.check import LevelCheck, Outcome
from checks.counters import growth, rate_per_min
from checks.finding import Action, Finding, Verdict
from checks.nvml import about, each_history, unreadable
from checks.policy import Policy
from checks.readings import GpuReading, NvmlReading

ID = "gpu.pcie"
WINDOW_S = 900.0
SPAN_S = 240.0
"""Source: our choice: four askings of the counters, so that one burst is no rate."""

BUSY_PERCENT = 50
"""Source: our choice; a link is at full speed well before half of the time is used."""

REPLAYS_PER_MIN_AND_LANE = {1: 0.15, 2: 0.3, 3: 0.48, 4: 0.96, 5: 1.92, 6: 3.84}
"""Source: DCGM, the health watch's replays per generation and lane."""

UNCORRECTED = ("non_fatal", "fatal")
RATES = (("replays", "replays", "packets were sent again"), ("correctable", "corrected", "errors were corrected"))
"""Counter, what the finding is called, and in words."""

FIELDS = ("pcie_width", "pcie_generation", "pcie_errors", "max_pcie_width", "max_pcie_generation")

Seen = Sequence[tuple[float, GpuReading]]


def _judge_gpu(gpu: GpuReading, seen: Seen) -> Iterator[Finding]:
    yield from unreadable(ID, gpu, *FIELDS)
    yield from _judge_link(gpu)
    yield from _judge_errors(gpu, seen)


def _judge_link(gpu: GpuReading) -> Iterator[Finding]:
    width, most = gpu.pcie_width, gpu.details.max_pcie_width
    if width is not None and most is not None and width < most:
        because = (
            f"its PCIe link has {width} of {most} lanes: a reboot trains it anew, else the GPU or riser sits loose"
        )
        yield about(ID, gpu, "width", Verdict.FAILED, Action.REBOOT, because)
    generation, best = gpu.pcie_generation, gpu.details.max_pcie_generation
    if generation is not None and best is not None and generation < best and _is_busy(gpu):
        because = (
            f"its PCIe link runs at generation {generation} of {best} though the GPU works: a reboot trains it anew"
        )
        yield about(ID, gpu, "generation", Verdict.DEGRADED, Action.REBOOT, because)


def _is_busy(gpu: GpuReading) -> bool:
    return (gpu.utilization_percent or 0) >= BUSY_PERCENT and gpu.performance_state in (None, 0)


def _judge_errors(gpu: GpuReading, seen: Seen) -> Iterator[Finding]:
    limit = _replay_limit(gpu)
    for counter, code, words in RATES:
        rate = rate_per_min(_counted(seen, counter), over_s=SPAN_S)
        if limit and rate is not None and rate > limit:
            because = f"{rate:,.0f} PCIe {words} a minute, {limit} are the limit of its link"
            yield about(ID, gpu, code, Verdict.DEGRADED, Action.CONTACT_SUPPORT, because)
    broken = {name: growth(value for _, value in _counted(seen, name)) for name in UNCORRECTED}
    if any(broken.values()):
        counts = ", ".join(f"{count} {name.replace('_', '-')}" for name, count in broken.items() if count)
        because = f"its PCIe link had {counts} errors within {WINDOW_S / 60:.0f} min"
        yield about(ID, gpu, "uncorrected", Verdict.DEGRADED, Action.CONTACT_SUPPORT, because)


def _replay_limit(gpu: GpuReading) -> int:
    """Return replays a minute that the whole link may have, 0 where the link is not known."""
    per_lane = REPLAYS_PER_MIN_AND_LANE.get(gpu.details.max_pcie_generation or 0, 0.0)
    return math.ceil(per_lane * (gpu.details.max_pcie_width or 0))


def _counted(seen: Seen, counter: str) -> list[tuple[float, int | None]]:
    """Return when a counter was read and what it was; most readings repeat what was read up to a minute before."""
    samples = {gpu.details.counted_at_s: gpu.details.pcie_errors.get(counter) for _, gpu in seen}
    return sorted(samples.items(), key=lambda sample: sample[0])


CHECK = LevelCheck(
    id=ID,
    summary="GPUs whose PCIe link is narrower or slower than it can be, or makes errors.",
    reading=NvmlReading,
    judge=each_history(_judge_gpu),
    outcomes=(
        Outcome("unreadable", Verdict.UNKNOWN),
        Outcome("width", Verdict.FAILED, Action.REBOOT),
        Outcome("generation", Verdict.DEGRADED, Action.REBOOT),
        Outcome("replays", Verdict.DEGRADED, Action.CONTACT_SUPPORT),
        Outcome("corrected", Verdict.DEGRADED, Action.CONTACT_SUPPORT),
        Outcome("uncorrected", Verdict.DEGRADED, Action.CONTACT_SUPPORT),
    ),
    window_s=WINDOW_S,
    policy=Policy(raise_after=3, clear_after=3, because="a link that trains anew is slow for a moment"),
    thresholds={
        "width": "fewer lanes than GPU and slot have, always",
        "generation": f"below what GPU and slot have, while the GPU is used {BUSY_PERCENT} % of the time (our choice)",
        "replays, corrected": "a minute and lane: 0.15, 0.3, 0.48, 0.96, 1.92, 3.84 for generation 1 to 6 (DCGM)",
        "uncorrected": f"any within {WINDOW_S / 60:.0f} min (our choice)",
    },
)
