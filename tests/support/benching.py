"""What nodes come back with from benchmarks, judged as the controller judges: for whatever shows or follows it."""

from __future__ import annotations

from checks.bench_baseline import Baseline, Fingerprint
from checks.bench_judging import judge_result
from checks.bench_limits import shipped_limits
from checks.bench_outcome import Outcome, worst
from checks.bench_result import BenchFault, BenchMachine, BenchNumber
from controller.bench_events import BenchAsked, BenchJudged, BenchRunEnded, JudgedNumber, LeaseGranted
from controller.reason import Reason

MIB, GIB = 1 << 20, 1 << 30
SIZES = tuple(MIB << shift for shift in range(15))
FLOOR_FROM = 8 * GIB
MACHINE = BenchMachine("NVIDIA H100 80GB HBM3", "580.65.06", "2.27.3", "c0ffee", 8)


def asked(*nodes: str, run_id: str = "run-0a1b2c3d", benchmarks: tuple[str, ...] = ("nccl_all_reduce",)) -> BenchAsked:
    """Return that a person wants nodes measured."""
    return BenchAsked(run_id, list(nodes), list(benchmarks), 2, "operator", "alice", "alice asked for it.")


def granted(node: str, lease_id: str, *, run_id: str = "run-0a1b2c3d", at: float = 0.0) -> LeaseGranted:
    """Return that a node may run it now."""
    reason = Reason("Idle, and within the bounds.")
    return LeaseGranted(lease_id, run_id, [node], "nccl_all_reduce", 2, at + 360.0, reason)


def run_ended(outcome: str, because: str, *, run_id: str = "run-0a1b2c3d") -> BenchRunEnded:
    """Return that nothing more of a run will happen."""
    return BenchRunEnded(run_id, outcome, because)


def fingerprint(size_bytes: int, *, metric: str = "node_all_reduce", way: str = "") -> Fingerprint:
    """Return what an all-reduce of this size is comparable with."""
    return Fingerprint(metric, MACHINE.sku, MACHINE.driver, MACHINE.nccl, MACHINE.topology, size_bytes, way=way)


def baseline(size_bytes: int, most: float = 476.0) -> Baseline:
    """Return what twelve healthy peers reach, which approaches `most`."""
    return Baseline(fingerprint(size_bytes), reached(size_bytes, most), 0.8, 12)


def reached(size_bytes: int, most: float) -> float:
    """Return the bandwidth at a size: it grows until the latency does not matter any more."""
    return round(most * size_bytes / (size_bytes + 40 * MIB), 2)


def measured(
    node: str,
    *,
    lease_id: str = "",
    run_id: str = "run-0a1b2c3d",
    most: float = 462.0,
    ring: float = 362.0,
    faults: tuple[BenchFault, ...] = (),
    notes: tuple[str, ...] = (),
) -> BenchJudged:
    """Return a node's all-reduce by size with NVLink's multicast on and off, which approach `most` and `ring`."""
    numbers = [
        _judged(BenchNumber(metric, reached(size, end), size_bytes=size, way=way, p50_s=0.03, p99_s=0.031, samples=40))
        for metric, way, end in (("node_all_reduce", "", most), ("node_all_reduce_ring", "ring", ring))
        for size in SIZES
    ]
    told = [number for number in numbers if number.outcome]
    outcome = worst([*(Outcome(each.outcome) for each in told), *(fault.severity for fault in faults)])
    reasons = [*(fault.because for fault in faults), *(each.because for each in told if each.outcome == outcome)]
    return BenchJudged(
        node,
        lease_id,
        run_id,
        "nccl_all_reduce",
        outcome,
        reasons[0],
        numbers=numbers,
        machine=MACHINE,
        faults=list(faults),
        notes=list(notes),
    )


def _judged(number: BenchNumber) -> JudgedNumber:
    """Return a number beside what H100s and twelve peers reach; smaller sizes than that of the limit as they are."""
    limits = shipped_limits()
    if number.size_bytes < FLOOR_FROM:
        return JudgedNumber(number, "", "")
    peers = baseline(number.size_bytes) if number.metric == "node_all_reduce" else None
    floor = limits.floor(number.metric, "H100")
    judgement = judge_result(limits.metric(number.metric), number.value, floor=floor, baseline=peers)
    return JudgedNumber(number, judgement.outcome, judgement.because, dict(judgement.inputs))


def skipped(node: str, because: str, *, run_id: str = "run-0a1b2c3d") -> BenchJudged:
    """Return that a node was not measured."""
    return BenchJudged(node, "", run_id, "nccl_all_reduce", "skip", because)


def broke(node: str, because: str, *, run_id: str = "run-0a1b2c3d", lease_id: str = "") -> BenchJudged:
    """Return that the test itself broke, which says nothing of the node."""
    return BenchJudged(node, lease_id, run_id, "nccl_all_reduce", "error", because)
