"""An all-reduce over all GPUs of one node, one way: times and sums of every size of the plan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import Final

import msgspec

from agent.bench.all_reduce import Lot, Party, Table
from agent.bench.all_reduce_plan import GIB, Plan
from agent.bench.child import Broken, Progress, Say
from agent.bench.copies import Copier, copying_of
from agent.bench.nccl import Clique, Nccl, NcclFailed, Seat
from agent.bench.nccl_ways import Way
from agent.bench.rig import Found, Rig
from agent.bench.samples import number_of
from agent.bench.sums import WRONG_RESULT, WrongSum
from checks.bench_result import BenchFault, BenchNumber

GIGABYTE: Final = 1e9


def measure_node(rig: Rig, nccl: Nccl, way: Way, plan: Plan, found: Found, say: Say) -> None:
    """Measure the node's GPUs alone.

    Raises:
        Broken: NCCL or CUDA failed, or an all-reduce hangs.
    """
    seats = seats_of(rig, plan.largest_bytes)
    clique = _clique_of(rig, nccl)
    table = Table(nccl, [Party(clique, seats, 0)], rig.watch)
    try:
        measure_sizes(rig, table, plan, found, say, number=lambda size, times: _number(way, size, times, clique.ranks))
    except BaseException:
        table.abort()
        raise
    clique.destroy()


def measure_alone(rig: Rig, nccl: Nccl, plan: Plan, tier: int, found: Found, say: Say) -> None:
    """Measure one GPU that has no other: NCCL runs with one rank, and its own memory gives the figure.

    Raises:
        Broken: NCCL or CUDA failed.
    """
    seats = seats_of(rig, plan.largest_bytes)
    clique = _clique_of(rig, nccl)
    table = Table(nccl, [Party(clique, seats, 0)], rig.watch)
    try:
        speed = _one_rank(rig, table, plan, found, say)
    except BaseException:
        table.abort()
        raise
    clique.destroy()
    found.notes.append(
        "There is one GPU: NCCL ran with one rank and no link was tested. "
        f"It moved {speed:.0f} GB/s of {plan.largest_bytes / GIB:g} GiB."
    )
    copier = Copier(rig.contexts[0], copying_of(tier, memory_bytes=rig.memory_bytes), rig.watch)
    copied = copier.within(rig.stage)
    found.numbers += copied.numbers
    found.faults += copied.faults


def measure_sizes(
    rig: Rig,
    table: Table,
    plan: Plan,
    found: Found,
    say: Say,
    *,
    number: Callable[[int, Sequence[float]], BenchNumber],
    agreed: Callable[[int], int] = lambda count: count,
) -> None:
    """Measure every size of the plan with the table's first party, and look at the sums of each.

    Raises:
        Broken: NCCL or CUDA failed, or an all-reduce hangs.
    """
    for done, size in enumerate(plan.sizes_bytes, start=1):
        times = table.timed(size, Lot(plan.repetitions, plan.budget_s, agreed))[0]
        found.numbers.append(number(size, times))
        wrong = table.wrong_sums(size, stage=rig.stage, whole=plan.checks_all)
        found.faults += wrong_results(wrong, len(rig.contexts), size)
        value = found.numbers[-1].value or 0.0
        say(Progress(done / len(plan.sizes_bytes), f"{size / 2**20:g} MiB at {value:.0f} GB/s"))


def seats_of(rig: Rig, size_bytes: int) -> tuple[Seat, ...]:
    """Return a place in the all-reduce for each GPU, with buffers of this size.

    Raises:
        Broken: a GPU has not so much memory left.
    """
    return tuple(
        Seat(context.stream(), context.allocate(size_bytes), context.allocate(size_bytes)) for context in rig.contexts
    )


def bus_bandwidth(metric: str, size_bytes: int, times_s: Sequence[float], ranks: int) -> BenchNumber:
    """Return the bandwidth that each link had to carry, so that worlds of different sizes can be compared.

    Source: nccl-tests, doc/PERFORMANCE.md: the algorithm's bandwidth times 2(n-1)/n.
    """
    factor = 2 * (ranks - 1) / ranks
    number = number_of(metric, factor * size_bytes / GIGABYTE, times_s)
    return msgspec.structs.replace(number, size_bytes=size_bytes)


def wrong_results(wrong: Sequence[tuple[Seat, WrongSum]], gpus: int, size_bytes: int) -> list[BenchFault]:
    """Return the faults of wrong sums: of each GPU that holds some, or of the node, when all of several do."""
    what = f"An all-reduce of {size_bytes / 2**20:g} MiB summed wrongly"
    if len(wrong) == gpus > 1:
        return [BenchFault(WRONG_RESULT, f"{what} on all {gpus} GPUs: {wrong[0][1]}.")]
    devices = [(seat.stream.context.gpu.uuid, each) for seat, each in wrong]
    return [BenchFault(WRONG_RESULT, f"{what} on GPU {uuid}: {each}.", uuid) for uuid, each in devices]


def _number(way: Way, size_bytes: int, times_s: Sequence[float], ranks: int) -> BenchNumber:
    return msgspec.structs.replace(bus_bandwidth(way.metric_of(ranks), size_bytes, times_s, ranks), way=way.name)


def _one_rank(rig: Rig, table: Table, plan: Plan, found: Found, say: Say) -> float:
    """Return the bandwidth of the largest size, in GB/s."""
    size = plan.largest_bytes
    (times,) = table.timed(size, Lot(plan.repetitions, plan.budget_s))
    wrong = table.wrong_sums(size, stage=rig.stage, whole=plan.checks_all)
    found.faults += wrong_results(wrong, 1, size)
    say(Progress(0.5, "one rank"))
    middle = median(times)
    return size / middle / GIGABYTE if middle > 0.0 else 0.0


def _clique_of(rig: Rig, nccl: Nccl) -> Clique:
    """Return the communicators.

    Raises:
        Broken: NCCL cannot make them, with the driver's CUDA, which often is the cause.
    """
    try:
        return nccl.of_node([context.gpu.index for context in rig.contexts])
    except NcclFailed as error:
        major, minor = rig.cuda.version
        raise Broken(f"{error} (NCCL {nccl.version}, driver for CUDA {major}.{minor})") from error
