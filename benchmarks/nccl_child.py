"""What the processes of an all-reduce cost before they measure anything: their start, and the host's memory.

CUDA and NCCL are the C doubles, so neither the time that real ones take to set GPUs up nor their memory is in it. What
is left is Python, and what the benchmark itself takes of the host: two processes, of which one holds the GPUs.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.report import Row, publish, spread
from checks.bench_result import Benchmark
from tests.support.bench_child import BenchProcess, members, wish_for
from tests.support.cuda_double import CudaHost, build_cuda_doubles

ENTERED = "ncclCommInitAll"
LOOK_S = 0.001
LIMIT_S = 30.0


def entered(host: CudaHost) -> dict[str, float]:
    """Start the benchmark, and return what it takes when NCCL is entered, where the double then stays."""
    began = time.perf_counter()
    with BenchProcess(wish_for(Benchmark.NCCL_ALL_REDUCE, tier=1), environment=host.environment) as process:
        while not host.count(ENTERED):
            if time.perf_counter() - began > LIMIT_S:
                raise SystemExit(f"NCCL was not entered within {LIMIT_S:g} s")
            time.sleep(LOOK_S)
        took_ms = 1000 * (time.perf_counter() - began)
        processes = [psutil.Process(pid) for pid in sorted(members(process.pid))]
        both = [each.memory_full_info() for each in processes]
        cpu_s = sum(sum(each.cpu_times()[:2]) for each in processes)
    (host.root / "cuda.log").unlink()
    mib = 1 << 20
    return {
        "start": took_ms,
        "cpu": 1000 * cpu_s,
        "pss": sum(each.pss for each in both) / mib,
        "rss": max(each.rss for each in both) / mib,
    }


def whole_s(host: CudaHost) -> float:
    """Return how long a whole run takes that spends no time on GPUs."""
    began = time.perf_counter()
    with BenchProcess(wish_for(Benchmark.NCCL_ALL_REDUCE, tier=1), environment=host.environment) as process:
        process.result()
    return time.perf_counter() - began


def measure(scratch: Path, runs: int) -> list[Row]:
    """Return every figure."""
    host = CudaHost(scratch / "node", build_cuda_doubles(scratch / "doubles"))
    host.say("hang_init 1")
    seen = [entered(host) for _ in range(runs)]
    rows = spread("order → NCCL entered on 8 GPUs", [each["start"] for each in seen], "ms")
    rows += spread("the same, time of both processes on a CPU", [each["cpu"] for each in seen], "ms")
    rows += spread("both processes, proportional memory", [each["pss"] for each in seen], "MiB")
    rows += spread("the larger process, resident memory", [each["rss"] for each in seen], "MiB")
    host.say()
    rows += spread(
        "a whole run with and without NVLS, no time spent on GPUs", [whole_s(host) for _ in range(runs)], "s"
    )
    return rows


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        rows = measure(Path(scratch), asked.runs)
    publish("nccl_child", rows, about=f"{asked.runs} runs")


if __name__ == "__main__":
    main()
