"""What the ways of an all-reduce say together: one result, and what tells a link's fault from one of the NVSwitches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from agent.bench.nccl_ways import AUTO, RING, Way
from checks.bench_limits import BenchLimits
from checks.bench_nvls import NVLS_OFF, Ways, read_ways
from checks.bench_outcome import Outcome, worst
from checks.bench_result import BenchFault, Benchmark, BenchNumber, BenchResult

T = TypeVar("T")


def together(results: Mapping[str, BenchResult], limits: BenchLimits) -> BenchResult:
    """Return one result of the results of several ways, by the ways' names.

    A way that has nothing to say on this node was skipped, and its sentence becomes a note.
    """
    measured = [result for result in results.values() if result.outcome is not Outcome.SKIP]
    skipped = [result for result in results.values() if result.outcome is Outcome.SKIP]
    if not measured:
        return skipped[0]
    faults = _faults(results, limits)
    outcome = worst([*(result.outcome for result in measured), *(fault.severity for fault in faults if _fails(fault))])
    first = next((result for result in measured if result.outcome is outcome), measured[0])
    failing = [fault.because for fault in faults if _fails(fault)]
    return BenchResult(
        Benchmark.NCCL_ALL_REDUCE,
        outcome,
        failing[0] if failing else first.because,
        numbers=tuple(number for result in measured for number in result.numbers),
        faults=faults,
        machine=measured[0].machine,
        missing=_once(node for result in measured for node in result.missing),
        notes=_once([*(note for result in measured for note in result.notes), *(result.because for result in skipped)]),
    )


def _faults(results: Mapping[str, BenchResult], limits: BenchLimits) -> tuple[BenchFault, ...]:
    """Return the faults of all ways, and what two of them say together."""
    found = _once(fault for result in results.values() for fault in result.faults)
    auto, ring = (_largest(results.get(way.name), way) for way in (AUTO, RING))
    if auto is None or ring is None or auto.value is None or ring.value is None:
        return found
    sku = results[AUTO.name].machine.sku
    read = read_ways(
        Ways(
            auto.value,
            ring.value,
            offered=all(fault.code != NVLS_OFF for fault in found),
            auto_floor=limits.floor(auto.metric, sku, auto.size_bytes),
            ring_floor=limits.floor(ring.metric, sku, ring.size_bytes),
        )
    )
    others = [fault for fault in found if read is None or fault.code != read.code]
    return (*others, *([read] if read is not None else []))


def _largest(result: BenchResult | None, way: Way) -> BenchNumber | None:
    """Return the number of the largest size that a way was measured at."""
    numbers = [n for n in result.numbers if n.way == way.name and n.size_bytes] if result is not None else []
    return max(numbers, key=lambda number: number.size_bytes, default=None)


def _once(values: Iterable[T]) -> tuple[T, ...]:
    """Return every value once, in their order."""
    return tuple(dict.fromkeys(values))


def _fails(fault: BenchFault) -> bool:
    return fault.severity is Outcome.FAIL
