"""What there is of active benchmarks, for people: what each measures, what it finds and what it needs."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from checks.bench_result import Benchmark


class BenchSummary(msgspec.Struct, frozen=True):
    """One benchmark.

    Attributes:
        measures: what its numbers are.
        finds: the faults that no counter shows.
        needs: what must be installed on the node; without it the benchmark is skipped, and says so.
    """

    measures: str
    finds: str
    needs: str


CATALOGUE: Final[Mapping[Benchmark, BenchSummary]] = MappingProxyType(
    {
        Benchmark.NCCL_ALL_REDUCE: BenchSummary(
            "bus bandwidth of an all-reduce over all GPUs of a node by size, with NVLink's multicast on and off, "
            "and whether the sums are right",
            "slow NVLinks, a broken multicast or one that is silently off, wrong sums; between nodes, slow rails",
            "libnccl and CUDA's driver, or nccl-tests",
        ),
        Benchmark.GPU_BANDWIDTH: BenchSummary(
            "copies within a GPU's memory, to and from the host, and between GPUs",
            "a weak GPU, slow memory, a PCI link with lanes or speed missing, one slow NVLink",
            "CUDA's driver",
        ),
        Benchmark.GEMM: BenchSummary(
            "matrix multiplication, and whether every bit of its result is what peers compute",
            "a GPU that computes wrongly and says nothing (silent data corruption), or is slow at it",
            "cuBLASLt and CUDA's driver",
        ),
        Benchmark.RDMA: BenchSummary(
            "bandwidth and latency of each adapter, to another of the node or to itself, beside its own GPU",
            "an adapter at half rate, a bad cable, a wrong PCI path",
            "perftest (ib_write_bw, ib_write_lat)",
        ),
        Benchmark.STORAGE: BenchSummary(
            "reading of a scratch file of bounded length, past the page cache",
            "a slow mount or disk",
            "a path to a directory in which it may write",
        ),
        Benchmark.DCGM: BenchSummary(
            "the diagnostic of NVIDIA DCGM, whose level follows the tier",
            "what NVIDIA's own tests find",
            "dcgmi and the DCGM service",
        ),
    }
)
