"""The process of one benchmark on a simulated machine: `python -m agent.simulation.bench DIRECTORY`.

It keeps the contract of agent/bench/child.py, as the process of a real benchmark does.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from agent.bench.child import Say, carry_out
from agent.simulation.bench import adapters, all_reduce, copies, diagnosis, gemm, scratch
from agent.simulation.bench.subject import Subject
from checks.bench_result import Benchmark, BenchResult
from wire.bench import BenchWish

BENCHMARKS: Final[dict[Benchmark, Callable[[Subject], BenchResult]]] = {
    Benchmark.NCCL_ALL_REDUCE: all_reduce.run,
    Benchmark.GPU_BANDWIDTH: copies.run,
    Benchmark.GEMM: gemm.run,
    Benchmark.RDMA: adapters.run,
    Benchmark.STORAGE: scratch.run,
    Benchmark.DCGM: diagnosis.run,
}


def main() -> None:
    """Run what standard input asks for on the machine in the directory of the command line."""
    directory = Path(sys.argv[1])

    def run(wish: BenchWish, say: Say) -> BenchResult:
        return BENCHMARKS[wish.benchmark](Subject(directory, wish, say))

    carry_out(run)


if __name__ == "__main__":
    main()
