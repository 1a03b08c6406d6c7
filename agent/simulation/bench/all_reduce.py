"""`nccl_all_reduce` of a simulated machine: over its own GPUs, or as one rank of a group of nodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from agent.bench.child import Broken
from agent.bench.nccl_reading import together
from agent.bench.nccl_ways import AUTO, LOOPBACK, RING, WAYS, Way
from agent.simulation.bench.group import Brought, Missing, joined
from agent.simulation.bench.speeds import ADAPTER_LOOPBACK, ALL_REDUCE, RAIL, TWO_NODES, WITHOUT_NVLS, at_size
from agent.simulation.bench.subject import Subject
from agent.simulation.hardware import ACTIVE, GPU_BUSES, NVLINKS, Hardware, SimulatedGpu
from agent.simulation.neighbours import leaf_of
from checks.bench_limits import shipped_limits
from checks.bench_outcome import Outcome
from checks.bench_result import BenchFault, Benchmark, BenchNumber, BenchResult
from wire.bench import Rank

GIB: Final = 1 << 30
FULL_SIZE: Final = 8 * GIB
CURVE: Final = (*((1 << 20) << step for step in range(0, 13, 2)), FULL_SIZE)
"""1 MiB to 8 GiB."""

TAKES_S: Final = {1: 20.0, 2: 120.0, 3: 300.0}
GROUP_TAKES_S: Final = 60.0
"""In simulated seconds, by tier. Source: the tiers' budgets; the reference of active benchmarks for groups."""

LANE: Final = "lane_all_reduce"
GROUP_METRICS: Final = {2: "two_node_all_reduce"}
LARGER_GROUP: Final = "group_all_reduce"
ALL_LANES: Final = "all"
OPTION, BOTH = "ways", "auto,ring"
"""As agent/bench/children/nccl_all_reduce.py has them."""

WITHOUT_A_GPU: Final = 0.046
"""What one GPU fewer costs. Source: ml-engineering 744d01e: 482 GB/s over 8 GPUs, 460 over 7, 436 over 6."""

BORROWED: Final = 0.5
"""A GPU whose adapter is down shares its neighbour's. Source: our choice, as NCCL chooses paths."""

ACROSS: Final = 0.985
"""What crossing leaf switches leaves. Source: our choice."""

WRONG: Final = "wrong_result"


def run(subject: Subject) -> BenchResult:
    """Measure over the node's own GPUs, or as a rank."""
    return _in_group(subject, subject.wish.rank) if subject.wish.rank else _alone(subject)


def links_of(gpus: Sequence[SimulatedGpu]) -> float:
    """Return what is left of the slowest GPU's NVLinks."""
    return min(gpu.link_share * (1.0 - len(gpu.broken_links) / NVLINKS) for gpu in gpus)


def _alone(subject: Subject) -> BenchResult:
    """Measure each way that is wished, and read them beside each other as the real benchmark does."""
    gpus, ways = subject.gpus(), _ways(subject)
    tier = subject.wish.tier
    subject.spend(TAKES_S.get(tier, TAKES_S[max(TAKES_S)]), f"all-reduce over {len(gpus)} GPUs")
    peaks = _peaks(subject.hardware(), gpus)
    return together({way.name: _one_way(subject, way, gpus, peaks[way.name]) for way in ways}, shipped_limits())


def _ways(subject: Subject) -> list[Way]:
    names = subject.wish.options.get(OPTION, BOTH).split(",")
    if unknown := [name for name in names if name not in WAYS]:
        raise Broken(f"option {OPTION}: some of {', '.join(WAYS)} are wanted, and not {unknown[0]!r}")
    return [WAYS[name] for name in dict.fromkeys(names)]


def _one_way(subject: Subject, way: Way, gpus: Sequence[SimulatedGpu], peak: float) -> BenchResult:
    """Return what one way comes back with. `peak`: its bandwidth at the largest size."""
    sizes = CURVE if subject.wish.tier > 1 else (FULL_SIZE,)
    numbers = tuple(_numbers(subject, way, peak, sizes, len(gpus)))
    faults = (_wrong_sums(),) if any(gpu.computes_wrong for gpu in gpus) else ()
    because = f"All-reduces over {len(gpus)} GPUs were measured, and all sums are right."
    return BenchResult(
        Benchmark.NCCL_ALL_REDUCE,
        Outcome.FAIL if faults else Outcome.PASS,
        faults[0].because if faults else because,
        numbers,
        faults,
        subject.measured_on(len(gpus)),
    )


def _peaks(hardware: Hardware, gpus: Sequence[SimulatedGpu]) -> dict[str, float]:
    """Return way → bandwidth at the largest size."""
    left = links_of(gpus) * (1.0 - WITHOUT_A_GPU * (len(GPU_BUSES) - len(gpus)))
    multicast = hardware.host.multicast_share
    return {
        AUTO.name: left * (ALL_REDUCE * multicast if multicast else WITHOUT_NVLS),
        RING.name: left * WITHOUT_NVLS,
        LOOPBACK.name: ADAPTER_LOOPBACK * min(_rails(hardware, gpus)),
    }


def _numbers(subject: Subject, way: Way, peak: float, sizes: Sequence[int], gpus: int) -> Iterator[BenchNumber]:
    for size in sizes:
        value = at_size(peak, size) / at_size(1.0, FULL_SIZE)
        metric = way.metric_of(gpus)
        yield subject.number(metric, value, size_bytes=size, way=way.name, amount=_amount(size, gpus))


def _amount(size_bytes: int, gpus: int) -> float:
    """Return what an all-reduce counts as, in GB: the bus bandwidth's factor times its size."""
    return 2.0 * (gpus - 1) / gpus * size_bytes / 1e9


def _in_group(subject: Subject, rank: Rank) -> BenchResult:
    gpus = subject.gpus()
    brought = _brought(subject.hardware(), gpus)
    try:
        with joined(subject, rank, brought) as group:
            ranks = group.wait()
            subject.spend(GROUP_TAKES_S, f"all-reduce over {len(ranks)} nodes")
            group.refuse_dead()
            return _group_result(subject, rank, ranks, gpus)
    except Missing as late:
        return BenchResult(Benchmark.NCCL_ALL_REDUCE, Outcome.ERROR, f"{late}.", missing=late.nodes)


def _brought(hardware: Hardware, gpus: Sequence[SimulatedGpu]) -> Brought:
    inside = _peaks(hardware, gpus)[AUTO.name]
    return Brought(min(1.0, inside / TWO_NODES), _rails(hardware, gpus), any(gpu.computes_wrong for gpu in gpus))


def _rails(hardware: Hardware, gpus: Sequence[SimulatedGpu]) -> tuple[float, ...]:
    """Return what is left of each GPU's adapter."""
    return tuple(
        port.share if port.is_listed and port.state == ACTIVE else BORROWED for port in hardware.ports[: len(gpus)]
    )


def _group_result(subject: Subject, rank: Rank, ranks: Sequence[Brought], gpus: Sequence[SimulatedGpu]) -> BenchResult:
    """Return what this rank measured: a group is as fast as its slowest member, and a lane as its slowest adapter."""
    way = ACROSS if len({leaf_of(node) for node in rank.nodes}) > 1 else 1.0
    slowest = tuple(min(shares) for shares in zip(*(each.rails for each in ranks), strict=False))
    whole = min((min(each.share for each in ranks), *slowest)) * TWO_NODES * way
    lanes = {ALL_LANES: whole}
    if rank.lanes:
        lanes |= {str(number): share * RAIL * way for number, share in enumerate(slowest)}
    whole_metric = GROUP_METRICS.get(len(ranks), LARGER_GROUP)
    numbers = tuple(
        subject.number(
            whole_metric if lane == ALL_LANES else LANE,
            value,
            lane=lane,
            size_bytes=FULL_SIZE,
            amount=_amount(FULL_SIZE, len(ranks) * (len(gpus) if lane == ALL_LANES else 1)),
        )
        for lane, value in lanes.items()
    )
    faults = (_wrong_sums(),) if any(each.computes_wrong for each in ranks) else ()
    because = f"{len(numbers)} bandwidths were measured over {len(ranks)} nodes."
    return BenchResult(
        Benchmark.NCCL_ALL_REDUCE,
        Outcome.FAIL if faults else Outcome.PASS,
        faults[0].because if faults else because,
        numbers,
        faults,
        subject.measured_on(len(gpus)),
    )


def _wrong_sums() -> BenchFault:
    return BenchFault(WRONG, "The sums of whole numbers that came back are not what they have to be.")
