"""What one active benchmark on one node, or one rank of a group, came back with, before anybody judged it.

The node that measured says what it alone can know: that the sums were wrong (`fail`), that something of the test broke
(`error`), that it was not run (`skip`). What its numbers mean is judged beside limits and peers, by bench_judging.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from checks.bench_outcome import Outcome


class Benchmark(StrEnum):
    """Every active benchmark. The check of its findings is `bench.<name>`."""

    NCCL_ALL_REDUCE = "nccl_all_reduce"
    GPU_BANDWIDTH = "gpu_bandwidth"
    GEMM = "gemm"
    RDMA = "rdma"
    STORAGE = "storage"
    DCGM = "dcgm"


OPTIONS: Mapping[Benchmark, frozenset[str]] = {
    Benchmark.NCCL_ALL_REDUCE: frozenset({"ways"}),
    Benchmark.GPU_BANDWIDTH: frozenset(),
    Benchmark.GEMM: frozenset({"golden", "seconds"}),
    Benchmark.RDMA: frozenset({"adapters", "line_rate_gbits", "memory", "mode", "seconds"}),
    Benchmark.STORAGE: frozenset({"bytes", "path", "seconds"}),
    Benchmark.DCGM: frozenset({"level"}),
}
"""What may be said to each besides its tier: the options that its process reads."""


class BenchNumber(msgspec.Struct, frozen=True):
    """One number.

    Attributes:
        metric: its name in checks/data/bench_limits.json, which says its unit.
        value: the median of the samples; `None` when the test ran and gave none.
        device: GPU UUID, RDMA device or path; two joined by `>` for a way between two; empty for the node as a whole.
        lane: rail of a group's test, `all` for all of them; empty outside of groups.
        size_bytes: of the message, 0 where there is none.
        way: what NCCL was told to use, e.g. `nvls` or `ring`; empty for its own choice.
        p50_s, p99_s: of the time of one iteration; `variation`: standard deviation as a share of the mean.
        samples: how many iterations stand behind it.
    """

    metric: str
    value: float | None
    device: str = ""
    lane: str = ""
    size_bytes: int = 0
    way: str = ""
    p50_s: float = 0.0
    p99_s: float = 0.0
    variation: float = 0.0
    samples: int = 0


class BenchFault(msgspec.Struct, frozen=True):
    """What went wrong and needs no limit to be seen: a wrong sum, a counter that grew meanwhile.

    Attributes:
        code: e.g. `wrong_result`, `counter`, `xid`; for `dcgm` the error's name.
        device: as of a number.
        severity: of the five outcomes; a `fail` alone may condemn.
    """

    code: str
    because: str
    device: str = ""
    severity: Outcome = Outcome.FAIL


class BenchMachine(msgspec.Struct, frozen=True):
    """What the numbers were measured on. All of it but `gpus` makes two results comparable; empty: not known."""

    sku: str = ""
    driver: str = ""
    nccl: str = ""
    topology: str = ""
    gpus: int = 0


class BenchResult(msgspec.Struct, frozen=True, tag="result"):
    """How one run of one benchmark ended.

    Attributes:
        outcome: `pass` means measured, and yet to be judged.
        because: one sentence.
        missing: nodes whose rank never arrived, in a group.
        notes: what people should know beside it, e.g. that one GPU tests no link.
        digest: of what all GPUs computed alike, behind the version of the library that computed it: a golden vector for
            `gemm` on machines of this kind, once the fleet agrees on it. Empty where they differ.
    """

    benchmark: Benchmark
    outcome: Outcome
    because: str
    numbers: tuple[BenchNumber, ...] = ()
    faults: tuple[BenchFault, ...] = ()
    machine: BenchMachine = BenchMachine()
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    digest: str = ""
