"""What a simulated machine's benchmarks find: nothing on a healthy one, and each hidden fault where it is."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import pytest

from agent.bench.child import Broken, Line, NotHere, Progress
from agent.simulation.bench.__main__ import BENCHMARKS
from agent.simulation.bench.subject import MOST_S, Subject
from agent.simulation.hidden_faults import HIDDEN_FAULTS
from agent.simulation.machine import SimulatedMachine
from checks.bench_judging import judge_result
from checks.bench_limits import shipped_limits
from checks.bench_nvls import LINK_FAULT, MULTICAST_FAULT, NVLS_OFF
from checks.bench_outcome import Outcome
from checks.bench_result import Benchmark, BenchNumber, BenchResult
from wire.bench import BenchWish

GPU, PORT = "3", "mlx5_5/1"

Found = set[tuple[str, str]]


class Bench:
    """A simulated machine that is measured, in no time."""

    def __init__(self, directory: Path, *, seed: int = 1, name: str = "n1", speedup: float = 360.0) -> None:
        self.machine = SimulatedMachine.create(directory / name, name=name, seed=seed, speedup=speedup)
        self.said: list[Line] = []
        self.slept_s = 0.0

    def sleep(self, seconds: float) -> None:
        self.slept_s += seconds

    def run(self, benchmark: Benchmark, tier: int = 1, lease: str = "lease-1", **options: str) -> BenchResult:
        wish = BenchWish(lease, benchmark, tier, limit_s=300.0, lease_ends_at=0.0, options=options)
        return BENCHMARKS[benchmark](Subject(self.machine.directory, wish, self.said.append, sleep=self.sleep))

    async def inject(self, fault: str, device: str = "") -> None:
        await self.machine.inject_fault(fault, device=device, parameters={})


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def judged(number: BenchNumber) -> Outcome:
    """Return what the shipped limits say of a number; where they say nothing, it passes."""
    limits = shipped_limits()
    known = number.metric in {metric.name for metric in limits.metrics}
    floor = limits.floor(number.metric, "H100", number.size_bytes) if known else None
    if floor is None:
        return Outcome.PASS
    return judge_result(limits.metric(number.metric), number.value, floor=floor).outcome


def found(result: BenchResult) -> Found:
    """Return metric or code, and device, of all that a run condemns by itself or by the shipped limits."""
    low = {(number.metric, number.device) for number in result.numbers if judged(number) is Outcome.FAIL}
    return low | {(fault.code, fault.device) for fault in result.faults if fault.severity is Outcome.FAIL}


@pytest.mark.parametrize("benchmark", Benchmark)
def test_a_healthy_machine_passes_with_every_seed_and_no_number_is_beyond_physics(
    tmp_path: Path, benchmark: Benchmark
) -> None:
    limits = shipped_limits()
    possible = {bound.metric: bound.possible for bound in limits.bounds if bound.sku == "H100"}
    for seed in range(12):
        result = Bench(tmp_path / str(seed), seed=seed).run(benchmark, tier=1 + seed % 2, lease=f"lease-{seed}")
        assert result.outcome is Outcome.PASS
        assert {judged(number) for number in result.numbers} <= {Outcome.PASS}
        for number in result.numbers:
            assert number.value
            edges = (
                (possible[number.metric], math.inf)
                if limits.metric(number.metric).higher_is_worse
                else (0.0, possible.get(number.metric, 1e4))
            )
            assert edges[0] < number.value < edges[1]


def test_the_same_run_gives_the_same_numbers_and_the_next_one_others(bench: Bench) -> None:
    first, again, later = (bench.run(Benchmark.RDMA, lease=lease) for lease in ("a", "a", "b"))
    assert first == again
    assert {number.value for number in first.numbers}.isdisjoint({number.value for number in later.numbers})


def test_the_curve_rises_with_the_size_on_both_ways(bench: Bench) -> None:
    result = bench.run(Benchmark.NCCL_ALL_REDUCE, tier=2)
    for way in ("", "ring"):
        curve = [(number.size_bytes, number.value or 0.0) for number in result.numbers if number.way == way]
        assert [size for size, _ in curve] == [2**power for power in (*range(20, 33, 2), 33)]
        assert all(value > 0.99 * before for (_, before), (_, value) in pairwise(curve))
        assert curve[0][1] < 0.1 * curve[-1][1]
    for number in result.numbers:
        assert number.value == pytest.approx(1.75 * number.size_bytes / 1e9 / number.p50_s)
        assert number.p99_s > number.p50_s


async def findings(bench: Bench, tier: int = 2) -> dict[str, Found]:
    """Return benchmark → what it condemns, without those that condemn nothing."""
    results = {str(benchmark): found(bench.run(benchmark, tier=tier)) for benchmark in Benchmark}
    return {name: those for name, those in results.items() if those}


async def test_a_slow_nvlink_is_found_on_both_ways_and_by_the_copies_of_its_gpu(bench: Bench) -> None:
    await bench.inject("slow-nvlink", GPU)
    uuid = bench.machine.hardware().gpus[int(GPU)].uuid
    seen = await findings(bench)
    assert set(seen) == {"nccl_all_reduce", "gpu_bandwidth"}
    assert seen["nccl_all_reduce"] == {("node_all_reduce", ""), ("node_all_reduce_ring", "")}
    assert [each.code for each in bench.run(Benchmark.NCCL_ALL_REDUCE).faults] == [LINK_FAULT]
    assert {uuid} == set.intersection(*(set(pair.split(">")) for _, pair in seen["gpu_bandwidth"]))
    assert len(seen["gpu_bandwidth"]) == 14


@pytest.mark.parametrize(
    ("fault", "beside_ring", "explained"),
    [("nvls-slow", 0.5 * 472.0 / 366.0, MULTICAST_FAULT), ("nvls-off", 1.0, NVLS_OFF)],
)
async def test_multicast_is_found_by_the_all_reduce_while_the_ring_is_normal(
    bench: Bench, fault: str, beside_ring: float, explained: str
) -> None:
    await bench.inject(fault)
    assert await findings(bench) == {"nccl_all_reduce": {("node_all_reduce", "")}}
    result = bench.run(Benchmark.NCCL_ALL_REDUCE)
    auto, ring = result.numbers
    assert (auto.value or 0.0) / (ring.value or 1.0) == pytest.approx(beside_ring, rel=0.04)
    assert [each.code for each in result.faults] == [explained]


async def test_a_slow_gpu_is_found_by_its_memory_and_beside_its_peers(bench: Bench) -> None:
    await bench.inject("slow-gpu", GPU)
    uuid = bench.machine.hardware().gpus[int(GPU)].uuid
    for benchmark, metric in ((Benchmark.GPU_BANDWIDTH, "memory_copy"), (Benchmark.GEMM, "gemm_bf16")):
        numbers = [number for number in bench.run(benchmark).numbers if number.metric == metric]
        speeds = {number.device: number.value or 0.0 for number in numbers}
        assert speeds.pop(uuid) < 0.93 * min(speeds.values())
    assert found(bench.run(Benchmark.DCGM, tier=3)) == {("memory_bandwidth", uuid), ("stress_level", uuid)}


async def test_an_adapter_at_half_rate_is_found_by_its_own_test_and_by_what_goes_through_it(bench: Bench) -> None:
    await bench.inject("slow-nic", PORT)
    assert await findings(bench) == {"rdma": {("rdma_write", "mlx5_5")}}
    assert found(bench.run(Benchmark.NCCL_ALL_REDUCE, ways="auto,loopback")) == {("adapter_loopback", "")}


async def test_wrong_sums_are_found_by_the_all_reduce_and_the_gpu_by_its_matrices(bench: Bench) -> None:
    await bench.inject("wrong-sums", GPU)
    uuid = bench.machine.hardware().gpus[int(GPU)].uuid
    seen = await findings(bench)
    assert seen == {"nccl_all_reduce": {("wrong_result", "")}, "gemm": {("wrong_result", uuid)}}


async def test_the_fleets_golden_digest_condemns_where_the_neighbours_cannot(bench: Bench) -> None:
    golden = bench.run(Benchmark.GEMM).digest
    for gpu in range(8):
        await bench.inject("wrong-sums", str(gpu))
    assert len(found(bench.run(Benchmark.GEMM, golden=golden))) == 8
    assert bench.run(Benchmark.GEMM).digest == ""


async def test_a_slow_scratch_disk_is_read_at_a_fifth(bench: Bench) -> None:
    (before,) = bench.run(Benchmark.STORAGE).numbers
    await bench.inject("slow-scratch")
    (after,) = bench.run(Benchmark.STORAGE).numbers
    assert (after.value or 0.0) / (before.value or 1.0) == pytest.approx(0.2, rel=0.01)
    assert after.device == "/scratch"


@pytest.mark.parametrize("fault", [fault.name for fault in HIDDEN_FAULTS if fault.name != "job-arrives"])
async def test_a_repair_that_mends_lets_every_benchmark_pass_again(bench: Bench, fault: str) -> None:
    healthy = [bench.run(benchmark) for benchmark in Benchmark]
    await bench.inject(fault)
    assert healthy != [bench.run(benchmark) for benchmark in Benchmark]
    bench.machine.mend(fault)
    assert healthy == [bench.run(benchmark) for benchmark in Benchmark]


@pytest.mark.parametrize(
    ("fault", "device", "words"),
    [
        ("driver-not-loaded", "", "the driver does not answer"),
        ("fabric-manager-down", "", "CUDA_ERROR_SYSTEM_NOT_READY"),
        ("gpu-off-bus", "2", "CUDA_ERROR_DEVICE_UNAVAILABLE"),
    ],
)
async def test_where_cuda_does_not_start_there_is_no_number(bench: Bench, fault: str, device: str, words: str) -> None:
    await bench.inject(fault, device)
    for benchmark in (Benchmark.NCCL_ALL_REDUCE, Benchmark.GPU_BANDWIDTH, Benchmark.GEMM, Benchmark.DCGM):
        with pytest.raises(Broken, match=words):
            bench.run(benchmark)
    assert bench.run(Benchmark.RDMA).outcome is Outcome.PASS


async def test_a_link_that_is_down_slows_the_all_reduce_a_little_and_dcgm_names_it(bench: Bench) -> None:
    await bench.inject("nvlink-down", GPU)
    uuid = bench.machine.hardware().gpus[int(GPU)].uuid
    nvls, _ = bench.run(Benchmark.NCCL_ALL_REDUCE).numbers
    assert (nvls.value or 0.0) == pytest.approx(472.0 * 17 / 18, rel=0.02)
    assert ("nvlink_down", uuid) in found(bench.run(Benchmark.DCGM))


async def test_a_port_that_is_down_is_said_and_not_measured(bench: Bench) -> None:
    await bench.inject("rdma-port-down", PORT)
    result = bench.run(Benchmark.RDMA)
    assert {number.device for number in result.numbers} == {f"mlx5_{port}" for port in range(8) if port != 5}
    assert result.notes == ("mlx5_5/1 is down and was not measured",)


def test_what_cannot_be_tested_is_said(bench: Bench) -> None:
    with pytest.raises(NotHere, match="/data"):
        bench.run(Benchmark.STORAGE, path="/data")
    with pytest.raises(Broken, match="some of auto, ring, loopback are wanted, and not 'nvls'"):
        bench.run(Benchmark.NCCL_ALL_REDUCE, ways="nvls")
    with pytest.raises(Broken, match="no level '9'"):
        bench.run(Benchmark.DCGM, level="9")


@pytest.mark.parametrize(("speedup", "lasts_s"), [(1.0, MOST_S), (30.0, 4.0), (1e6, 0.5)])
def test_a_run_takes_its_time_divided_by_the_speedup_within_bounds(
    tmp_path: Path, speedup: float, lasts_s: float
) -> None:
    bench = Bench(tmp_path, speedup=speedup)
    bench.run(Benchmark.NCCL_ALL_REDUCE, tier=2)
    assert bench.slept_s == pytest.approx(lasts_s)
    shares = [line.share for line in bench.said if isinstance(line, Progress)]
    assert shares[0] == 0.0
    assert shares == sorted(shares)
    assert shares[-1] < 1.0
