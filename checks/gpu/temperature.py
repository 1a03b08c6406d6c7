"""`gpu.temperature`: GPUs above the limits that they state of themselves, or close to slowing down.

GPUs before Ada state their limits in degrees. Later ones state how many degrees are left (T.Limit), and their limits on
that scale, so less is hotter there.
"""

from __future__ import annotations

from collections.abc import Iterator

from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.nvml import about, each_gpu, unreadable
from checks.policy import PeerRule, Policy
from checks.readings import GpuReading, NvmlReading

ID = "gpu.temperature"
SMALL_MARGIN_CELSIUS = 5
"""To the temperature at which the GPU slows itself down. Source: our choice; the air of a rack varies by less."""

FIELDS = ("temperature_celsius", "temperature_margin_celsius", "memory_temperature_celsius")


def _judge_gpu(gpu: GpuReading) -> Iterator[Finding]:
    yield from unreadable(ID, gpu, *FIELDS)
    if said := _over_maximum(gpu):
        because = f"{said}: check its cooling, then replace the GPU"
        yield about(ID, gpu, "core", Verdict.FAILED, Action.CONTACT_SUPPORT, because)
    elif (margin := _margin(gpu)) is not None and margin <= SMALL_MARGIN_CELSIUS:
        because = f"{margin} °C are left before the GPU slows itself down, {SMALL_MARGIN_CELSIUS} °C are too few"
        yield about(ID, gpu, "margin", Verdict.DEGRADED, Action.NONE, because)
    memory, limit = gpu.memory_temperature_celsius, gpu.details.max_memory_temperature_celsius
    if memory is not None and limit and memory > limit:
        because = f"the memory is at {memory} °C, its limit is {limit} °C: check its cooling, then replace the GPU"
        yield about(ID, gpu, "memory", Verdict.FAILED, Action.CONTACT_SUPPORT, because)


def _over_maximum(gpu: GpuReading) -> str:
    """Return that the chip is above its maximum for operation, empty when it is not or states none."""
    celsius, maximum = gpu.temperature_celsius, gpu.details.max_temperature_celsius
    margin, least = gpu.temperature_margin_celsius, gpu.details.max_margin_celsius
    if margin is not None and least is not None and margin < least:
        return f"the GPU is {least - margin} °C above its maximum (T.Limit {margin} °C, it has to be {least} °C)"
    if margin is None and celsius is not None and maximum and celsius > maximum:
        return f"the GPU is at {celsius} °C, its maximum is {maximum} °C"
    return ""


def _margin(gpu: GpuReading) -> int | None:
    if gpu.temperature_margin_celsius is not None:
        return gpu.temperature_margin_celsius
    slowdown = gpu.details.slowdown_temperature_celsius
    return slowdown - gpu.temperature_celsius if slowdown and gpu.temperature_celsius is not None else None


CHECK = LevelCheck(
    id=ID,
    summary="GPUs that are too hot, or close to slowing themselves down.",
    reading=NvmlReading,
    judge=each_gpu(_judge_gpu),
    outcomes=(
        Outcome("unreadable", Verdict.UNKNOWN),
        Outcome("core", Verdict.FAILED, Action.CONTACT_SUPPORT),
        Outcome("memory", Verdict.FAILED, Action.CONTACT_SUPPORT),
        Outcome("margin", Verdict.DEGRADED),
    ),
    policy=Policy(
        raise_after=3,
        clear_after=3,
        peers=PeerRule(
            Action.CONTACT_SUPPORT, "so it is the cooling of the host or of the room, and no GPU is to blame"
        ),
        because="one reading may be a peak of the load, and heat that most GPUs share is not theirs",
    ),
    thresholds={
        "core, memory": "the GPU's own maximum for operation (NVML thresholds GPU_MAX and MEM_MAX, T.Limit field 196)",
        "margin": f"{SMALL_MARGIN_CELSIUS} °C before it slows itself down (our choice)",
    },
)
