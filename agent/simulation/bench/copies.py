"""`gpu_bandwidth` of a simulated machine: each GPU's own memory, its way to the host, and the ways between GPUs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from agent.simulation.bench.all_reduce import links_of
from agent.simulation.bench.speeds import DEVICE_TO_HOST, HOST_TO_DEVICE, MEMORY_COPY, PEER_COPY
from agent.simulation.bench.subject import Subject
from agent.simulation.hardware import SimulatedGpu
from checks.bench_outcome import Outcome
from checks.bench_result import Benchmark, BenchNumber, BenchResult

TAKES_S: Final = 15.0
"""In simulated seconds. Source: the budget of the first tier."""

COPY_GB: Final = 0.268435456
"""Of one copy: 256 MiB."""


def run(subject: Subject) -> BenchResult:
    """Measure each GPU, and each pair of them."""
    gpus = subject.gpus()
    subject.spend(TAKES_S, f"copies on {len(gpus)} GPUs")
    numbers = (*_own(subject, gpus), *_between(subject, gpus))
    because = f"{len(numbers)} bandwidths of {len(gpus)} GPUs were measured."
    return BenchResult(Benchmark.GPU_BANDWIDTH, Outcome.PASS, because, numbers, machine=subject.measured_on(len(gpus)))


def _own(subject: Subject, gpus: Sequence[SimulatedGpu]) -> Iterator[BenchNumber]:
    for gpu in gpus:
        speeds = {
            "memory_copy": MEMORY_COPY * gpu.memory_share,
            "host_to_device": HOST_TO_DEVICE,
            "device_to_host": DEVICE_TO_HOST,
        }
        for metric, value in speeds.items():
            yield subject.number(metric, value, device=gpu.uuid, amount=COPY_GB)


def _between(subject: Subject, gpus: Sequence[SimulatedGpu]) -> Iterator[BenchNumber]:
    """Yield the copies from each GPU to the next, and in a longer tier to every other."""
    for place, gpu in enumerate(gpus):
        others = (*gpus[place + 1 :], *gpus[:place])
        for other in others if subject.wish.tier > 1 else others[:1]:
            value = PEER_COPY * links_of((gpu, other))
            yield subject.number("peer_copy", value, device=f"{gpu.uuid}>{other.uuid}", amount=COPY_GB)
