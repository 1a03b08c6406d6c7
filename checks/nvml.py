"""What checks over NVML readings have in common: which GPUs there are to judge, and what could not be read of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TypeVar

from checks.errors import CannotJudge
from checks.finding import Action, Finding, Verdict
from checks.readings import GpuReading, NvmlReading

T = TypeVar("T", bound=Hashable)

UNREADABLE = "unreadable"
"""Code of a finding that says: this device could not be judged."""

NOT_INSTALLED = frozenset({"library_not_found", "driver_not_loaded"})
"""Failures that are no fault on a host without NVIDIA hardware."""


def is_absent(reading: NvmlReading) -> bool:
    """Return whether the host has no NVIDIA GPUs and is not meant to have any."""
    return not reading.expected and reading.failure in NOT_INSTALLED


def told(reading: NvmlReading, because: str) -> str:
    """Return the sentence with what NVML itself, or who asked it, said to that."""
    return f"{because} ({reading.detail})" if reading.detail else because


def not_asked(reading: NvmlReading) -> str:
    """Return the sentence that says why nothing is known of any GPU."""
    return told(reading, f"NVML could not be asked: {reading.failure.replace('_', ' ')}")


def judgeable(reading: NvmlReading) -> tuple[GpuReading, ...]:
    """Return the GPUs that answer; the others are for `gpu.count`.

    Raises:
        CannotJudge: NVML did not answer, so nothing is known of any GPU.
    """
    if is_absent(reading):
        return ()
    if reading.failure:
        raise CannotJudge(not_asked(reading))
    return tuple(gpu for gpu in reading.gpus if not gpu.lost)


def each_gpu(
    judge_gpu: Callable[[GpuReading], Iterable[Finding]],
) -> Callable[[Sequence[NvmlReading]], tuple[Finding, ...]]:
    """Return what judges the newest reading of each GPU alone."""
    return lambda readings: tuple(finding for gpu in judgeable(readings[-1]) for finding in judge_gpu(gpu))


def each_history(
    judge_gpu: Callable[[GpuReading, Sequence[tuple[float, GpuReading]]], Iterable[Finding]],
) -> Callable[[Sequence[NvmlReading]], tuple[Finding, ...]]:
    """Return what judges each GPU together with how it was, and when, oldest first, the newest included."""

    def judge(readings: Sequence[NvmlReading]) -> tuple[Finding, ...]:
        gpus, seen = judgeable(readings[-1]), histories(readings)
        return tuple(finding for gpu in gpus for finding in judge_gpu(gpu, seen[gpu.uuid]))

    return judge


def histories(readings: Sequence[NvmlReading]) -> dict[str, list[tuple[float, GpuReading]]]:
    """Return UUID → when the GPU was read and how it was, oldest first."""
    seen: dict[str, list[tuple[float, GpuReading]]] = defaultdict(list)
    for reading in readings:
        for gpu in reading.gpus:
            seen[gpu.uuid].append((reading.at_s, gpu))
    return seen


def usual(gpu: GpuReading, gpus: Sequence[GpuReading], value_of: Callable[[GpuReading], T]) -> T | None:
    """Return the value that more than half of the GPUs of the same model have, `None` when none is so common."""
    values = [value_of(each) for each in gpus if each.name == gpu.name]
    if not values:
        return None
    value, count = Counter(values).most_common(1)[0]
    return value if 2 * count > len(values) else None


def history(readings: Sequence[NvmlReading], uuid: str) -> list[GpuReading]:
    """Return the readings of one GPU, oldest first."""
    return [gpu for reading in readings for gpu in reading.gpus if gpu.uuid == uuid]


def unreadable(check: str, gpu: GpuReading, *fields: str) -> tuple[Finding, ...]:
    """Return an unknown when one of the fields could not be read; a field that the GPU does not have is no error."""
    failed = [f"{name}: {gpu.errors[name]}" for name in fields if name in gpu.errors]
    if not failed:
        return ()
    because = f"not readable: {'; '.join(failed)}"
    return (about(check, gpu, UNREADABLE, Verdict.UNKNOWN, Action.NONE, because),)


def about(check: str, gpu: GpuReading, code: str, verdict: Verdict, action: Action, because: str) -> Finding:
    """Return a finding about one GPU."""
    return Finding(check, gpu.uuid or gpu.pci, code, verdict, action, because, pci=gpu.pci, serial=gpu.serial)
