"""`dcgm` of a simulated machine: what NVIDIA's diagnosis would say of its faults, at each of its levels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from agent.bench.child import Broken
from agent.simulation.bench.subject import Subject
from agent.simulation.hardware import SimulatedGpu
from agent.simulation.states import draw
from checks.bench_outcome import Outcome
from checks.bench_result import BenchFault, Benchmark, BenchResult

TAKES_S: Final = {"1": 10.0, "2": 150.0, "3": 900.0, "4": 5_400.0}
"""Level → simulated seconds. Source: DCGM's documentation."""

LEVEL_OF_TIER: Final = {1: "1", 2: "2", 3: "3"}

SDC_RECALL: Final = 0.70
"""Of the deepest tests, for a GPU that computes wrong. Source: fault model, class F16."""


def run(subject: Subject) -> BenchResult:
    """Run the diagnosis of the option `level`.

    Raises:
        Broken: there is no such level.
    """
    level = subject.wish.options.get("level", LEVEL_OF_TIER.get(subject.wish.tier, "3"))
    if level not in TAKES_S:
        raise Broken(f"DCGM has no level {level!r}; there are {', '.join(TAKES_S)}")
    gpus = subject.gpus()
    subject.spend(TAKES_S[level], f"DCGM's diagnosis, level {level}")
    faults = tuple(fault for gpu in gpus for fault in _faults(subject, gpu, int(level)))
    because = faults[0].because if faults else f"No test of DCGM's level {level} failed."
    return BenchResult(
        Benchmark.DCGM,
        Outcome.FAIL if faults else Outcome.PASS,
        because,
        faults=faults,
        machine=subject.measured_on(len(gpus)),
        notes=("DCGM 4.2.3",),
    )


def _faults(subject: Subject, gpu: SimulatedGpu, level: int) -> Iterator[BenchFault]:
    if gpu.broken_links:
        yield _fault(gpu, "nvlink_down", f"NVLink {gpu.broken_links[0]} is down")
    if gpu.remap_failed:
        yield _fault(gpu, "row_remap_failure", "a row could not be remapped")
    if gpu.remap_pending:
        yield _fault(gpu, "pending_row_remap", "a row waits to be remapped")
    if level < 3:
        return
    if gpu.memory_share < 1.0:
        yield _fault(gpu, "memory_bandwidth", "its memory is slower than it must be")
    if gpu.compute_share < 1.0:
        yield _fault(gpu, "stress_level", "it does not reach the speed that it must")
    if gpu.computes_wrong and draw(subject.state.seed, gpu.uuid, subject.wish.lease, "sdc") < SDC_RECALL:
        yield _fault(gpu, "l1tag_miscompare", "what it wrote came back different")


def _fault(gpu: SimulatedGpu, code: str, what: str) -> BenchFault:
    return BenchFault(code, f"DCGM says of {gpu.uuid}: {what}.", gpu.uuid)
