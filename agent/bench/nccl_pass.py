"""One way of an all-reduce, in a process of its own: `python -m agent.bench.nccl_pass <started by> <ends at>`.

NCCL reads its environment once, and a hang inside it or inside CUDA leaves no other way out than the end of the
process. So `nccl_all_reduce` starts one of these for each way, and outlives it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial

import msgspec

from agent.bench.all_reduce_plan import plan_of
from agent.bench.child import NotHere, Say, carry_out
from agent.bench.cuda import Gpu
from agent.bench.gpu_machine import expects_nvls, machine_of
from agent.bench.lifeline import die_with_parent
from agent.bench.nccl import load_nccl
from agent.bench.nccl_group import Group
from agent.bench.nccl_node import measure_alone, measure_node
from agent.bench.nccl_ways import AUTO, RING, WAY, WAYS
from agent.bench.rig import Found, Rig, measured
from agent.bench.roll_call import RankMissing
from agent.bench.watch import Watch
from agent.bench.wishes import choice_option
from checks.bench_nvls import NVLS_OFF
from checks.bench_outcome import Outcome
from checks.bench_result import BenchFault, Benchmark, BenchResult
from wire.bench import BenchWish


def run(wish: BenchWish, say: Say, *, watch: Watch) -> BenchResult:
    """Measure one way.

    Raises:
        NotHere: the host has no GPU to measure.
    """

    def measure(rig: Rig, found: Found) -> str:
        try:
            return _measure(rig, wish, found, say)
        except RankMissing as error:
            found.missing = error.nodes
            raise

    return measured(Benchmark.NCCL_ALL_REDUCE, measure, watch)


def _measure(rig: Rig, wish: BenchWish, found: Found, say: Say) -> str:
    way = WAYS[choice_option(wish, WAY, tuple(WAYS))]
    gpus = [context.gpu for context in rig.contexts]
    found.machine = machine_of(rig.cuda, gpus)
    nccl = load_nccl()
    found.machine = msgspec.structs.replace(found.machine, nccl=nccl.version)
    if way is RING:
        _refuse_without_nvls(gpus)
    elif way is AUTO and wish.rank is None:
        found.faults += _multicast_faults(gpus)
    plan = plan_of(wish.tier, memory_bytes=rig.memory_bytes)
    if wish.rank is not None and len(wish.rank.nodes) > 1:
        Group(rig, nccl, wish.rank, say).measure(plan, found)
    elif len(gpus) == 1:
        measure_alone(rig, nccl, plan, wish.tier, found, say)
    else:
        measure_node(rig, nccl, way, plan, found, say)
    return f"All-reduces were measured with NCCL {nccl.version}, and all sums are right."


def _refuse_without_nvls(gpus: Sequence[Gpu]) -> None:
    """Raise that NVLS cannot be switched off where NCCL does not use it.

    Raises:
        NotHere: it does not.
    """
    if not expects_nvls(gpus):
        raise NotHere(f"NCCL uses no NVLS on {len(gpus)} GPUs of this kind, so there is nothing to switch off.")


def _multicast_faults(gpus: Sequence[Gpu]) -> list[BenchFault]:
    without = [gpu.uuid for gpu in gpus if not gpu.multicast]
    if not without or not expects_nvls(gpus):
        return []
    return [BenchFault(NVLS_OFF, f"The driver offers no multicast on {len(without)} GPUs.", severity=Outcome.WARN)]


def main() -> None:
    """Be that process. The monotonic clock, by which it ends, is the same for all processes of a host."""
    started_by, ends_at_s = sys.argv[1:]
    die_with_parent(int(started_by))
    carry_out(partial(run, watch=Watch(float(ends_at_s))))


if __name__ == "__main__":
    main()
