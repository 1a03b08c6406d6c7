"""`bench.gpu_bandwidth`: copies within each GPU's memory, to and from the host, and between every two GPUs.

It finds the link of one GPU that is narrower or slower than those beside it, which a collective over all of them hides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations
from typing import Final

from agent.bench.child import Progress, Say, carry_out
from agent.bench.copies import Copied, Copier, copying_of
from agent.bench.cuda import Cuda
from agent.bench.gpu_machine import machine_of
from agent.bench.nearness import near
from agent.bench.rig import Found, Rig, measured
from agent.bench.watch import Watch, watch_of
from checks.bench_result import Benchmark, BenchResult
from wire.bench import BenchWish

NO_PEER: Final = "There is one GPU: no way between GPUs was tested."


def run(wish: BenchWish, say: Say, *, watch: Watch | None = None) -> BenchResult:
    """Measure every copy.

    Raises:
        NotHere: the host has no GPU to measure.
    """

    def measure(rig: Rig, found: Found) -> str:
        return _measure(rig, wish.tier, found, say)

    return measured(Benchmark.GPU_BANDWIDTH, measure, watch or watch_of(wish.limit_s))


def _measure(rig: Rig, tier: int, found: Found, say: Say) -> str:
    found.machine = machine_of(rig.cuda, [context.gpu for context in rig.contexts])
    copying = copying_of(tier, memory_bytes=rig.memory_bytes)
    copiers = [Copier(context, copying, rig.watch) for context in rig.contexts]
    pairs = _pairs(rig.cuda, copiers)
    found.notes += _notes(copiers, pairs)
    steps = 2 * len(copiers) + len(pairs)
    for done, copied in enumerate(_copies(copiers, pairs, rig.stage), start=1):
        found.numbers += copied.numbers
        found.faults += copied.faults
        say(Progress(done / steps, ", ".join(f"{n.metric} {n.value or 0.0:.0f} GB/s" for n in copied.numbers)))
    return f"{len(found.numbers)} ways to copy were measured on {found.machine.gpus} GPUs, and no data was changed."


def _copies(copiers: Sequence[Copier], pairs: Sequence[tuple[Copier, Copier]], stage: int) -> Iterator[Copied]:
    for copier in copiers:
        yield copier.within(stage)
        with near(copier.context.gpu.pci), copier.context.host_memory(copier.size_bytes) as host:
            yield copier.to_host(host, stage)
    for one, other in pairs:
        yield one.to_peer(other, stage)


def _pairs(cuda: Cuda, copiers: Sequence[Copier]) -> list[tuple[Copier, Copier]]:
    return [
        (one, other)
        for one, other in permutations(copiers, 2)
        if cuda.can_copy_between(one.context.gpu, other.context.gpu)
    ]


def _notes(copiers: Sequence[Copier], pairs: Sequence[tuple[Copier, Copier]]) -> list[str]:
    ways = len(copiers) * (len(copiers) - 1)
    if len(copiers) == 1:
        return [NO_PEER]
    if len(pairs) == ways:
        return []
    return [
        f"The driver lets GPUs copy by themselves on {len(pairs)} of {ways} ways between them; the rest is untested."
    ]


if __name__ == "__main__":
    carry_out(run)
