"""What nodes come back with from benchmarks, and what their peers reach: for whatever shows or follows it."""

from __future__ import annotations

from checks.bench_baseline import Baseline, Fingerprint
from checks.bench_outcome import Outcome
from checks.bench_result import BenchFault, BenchMachine, Benchmark, BenchNumber, BenchResult
from controller.bench_events import BaselineLearnt

MIB, GIB = 1 << 20, 1 << 30
SIZES = tuple(MIB << shift for shift in range(15))
MACHINE = BenchMachine("NVIDIA H100 80GB HBM3", "580.65.06", "2.27.3", "c0ffee", 8)
PEERS = [f"n{number}" for number in range(1, 9)]


def reached(size_bytes: int, most: float) -> float:
    """Return the bandwidth at a size: it grows until the latency does not matter any more."""
    return round(most * size_bytes / (size_bytes + 40 * MIB), 2)


def fingerprint(size_bytes: int) -> Fingerprint:
    """Return what an all-reduce of this size is comparable with."""
    return Fingerprint("node_all_reduce", MACHINE.sku, MACHINE.driver, MACHINE.nccl, MACHINE.topology, size_bytes)


def learnt(size_bytes: int, most: float = 476.0) -> BaselineLearnt:
    """Return that eight healthy peers reach what approaches `most`."""
    baseline = Baseline(fingerprint(size_bytes), reached(size_bytes, most), 0.8, 8)
    return BaselineLearnt(baseline, "fleetmend", "Eight healthy peers were measured.", PEERS)


def measured(
    most: float = 462.0, ring: float = 362.0, *, faults: tuple[BenchFault, ...] = (), notes: tuple[str, ...] = ()
) -> BenchResult:
    """Return an all-reduce by size with NVLink's multicast on and off, which approach `most` and `ring`."""
    numbers = tuple(
        BenchNumber(metric, reached(size, end), size_bytes=size, way=way, p50_s=0.03, p99_s=0.031, samples=40)
        for metric, way, end in (("node_all_reduce", "", most), ("node_all_reduce_ring", "ring", ring))
        for size in SIZES
    )
    because = f"The largest all-reduce reached {numbers[len(SIZES) - 1].value} GB/s."
    return BenchResult(Benchmark.NCCL_ALL_REDUCE, Outcome.PASS, because, numbers, faults, MACHINE, notes=notes)


def broke(because: str) -> BenchResult:
    """Return that the test itself broke, which says nothing of the node."""
    return BenchResult(Benchmark.NCCL_ALL_REDUCE, Outcome.ERROR, because)
