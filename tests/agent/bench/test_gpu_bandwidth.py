"""`bench.gpu_bandwidth`: the real process over the double of CUDA's driver."""

from __future__ import annotations

import pytest

from checks.bench_limits import shipped_limits
from checks.bench_outcome import Outcome
from checks.bench_result import Benchmark, BenchResult
from tests.support.bench_child import BenchProcess, wish_for
from tests.support.cuda_double import CudaHost, gpu_uuid

SMALL = ("gpus 3", "memory_gib 0.25", "overhead_us 0")


def run(host: CudaHost, *state: str, limit_s: float = 20.0) -> BenchResult:
    host.say(*SMALL, *state)
    wish = wish_for(Benchmark.GPU_BANDWIDTH, tier=1, limit_s=limit_s)
    with BenchProcess(wish, environment=host.environment) as process:
        return process.result()


def values(result: BenchResult, metric: str) -> dict[str, float]:
    """Return device → value of one metric."""
    return {n.device: n.value or 0.0 for n in result.numbers if n.metric == metric}


def test_every_copy_of_every_gpu_is_measured(host: CudaHost) -> None:
    result = run(host)

    assert (result.outcome, result.faults, result.notes) == (Outcome.PASS, (), ())
    for metric, value in (("memory_copy", 2800), ("host_to_device", 55), ("device_to_host", 54), ("peer_copy", 380)):
        assert list(values(result, metric).values()) == pytest.approx([value] * len(values(result, metric)), rel=0.01)
    ways = [f"{gpu_uuid(one)}>{gpu_uuid(other)}" for one in range(3) for other in range(3) if one != other]
    assert sorted(values(result, "peer_copy")) == sorted(ways)
    assert {n.size_bytes for n in result.numbers} == {32 << 20}
    assert {n.samples for n in result.numbers} == {20}
    assert all(shipped_limits().metric(n.metric).unit == "GB/s" for n in result.numbers)


def test_a_slow_host_link_is_that_of_one_gpu(host: CudaHost) -> None:
    result = run(host, "gpu 1 h2d 27")

    slow = [device for device, value in values(result, "host_to_device").items() if value < 48]
    assert slow == [gpu_uuid(1)]


def test_a_link_that_has_to_wake_up_first_is_not_slow(host: CudaHost) -> None:
    result = run(host, "gpus 1", "asleep 3")

    assert values(result, "host_to_device")[gpu_uuid(0)] == pytest.approx(55, rel=0.01)


def test_a_slow_link_between_gpus_shows_on_all_ways_of_one(host: CudaHost) -> None:
    result = run(host, "gpu 2 peer 190")

    slow = [device for device, value in values(result, "peer_copy").items() if value < 335]
    assert len(slow) == 4
    assert all(gpu_uuid(2) in device for device in slow)


def test_slow_memory_is_that_of_one_gpu(host: CudaHost) -> None:
    assert values(run(host, "gpu 0 hbm 1500"), "memory_copy")[gpu_uuid(0)] == pytest.approx(1500, rel=0.01)


def test_a_copy_that_changes_the_data_fails(host: CudaHost) -> None:
    result = run(host, "gpu 1 wrong_copy 1")

    assert result.outcome is Outcome.FAIL
    assert [(fault.code, fault.device) for fault in result.faults] == [("wrong_result", gpu_uuid(1))]
    assert result.because == "A copy within its memory changed the data: word 0 is 0x0000dead and not 0x00000001."


def test_one_gpu_has_no_way_to_another(host: CudaHost) -> None:
    result = run(host, "gpus 1")

    assert values(result, "peer_copy") == {}
    assert result.notes == ("There is one GPU: no way between GPUs was tested.",)


def test_ways_that_the_driver_does_not_allow_are_noted(host: CudaHost) -> None:
    result = run(host, "gpu 2 peers 0")

    assert len(values(result, "peer_copy")) == 2
    assert result.notes == (
        "The driver lets GPUs copy by themselves on 2 of 6 ways between them; the rest is untested.",
    )


def test_everything_that_was_taken_is_given_back(host: CudaHost) -> None:
    run(host)

    assert host.count("cuMemAlloc") == host.count("cuMemFree") == 6
    assert host.count("cuMemHostAlloc") == host.count("cuMemFreeHost") == 4
    assert host.count("cuDevicePrimaryCtxRelease") == 3


def test_an_error_of_the_link_fails_and_keeps_what_was_measured(host: CudaHost) -> None:
    result = run(host, "gpu 2 fail cuMemcpyPeerAsync 220")

    assert result.outcome is Outcome.FAIL
    assert [(fault.code, fault.device) for fault in result.faults] == [("uncorrectable_link", gpu_uuid(2))]
    assert len(values(result, "memory_copy")) == 3


def test_a_copy_that_hangs_is_an_error_in_time(host: CudaHost) -> None:
    result = run(host, "gpu 1 ready_after 1000000", limit_s=8.0)

    assert result.outcome is Outcome.ERROR
    assert f"on {gpu_uuid(1)} was not done within" in result.because
    assert host.count("cuMemFree") == 0


def test_memory_that_another_process_holds_is_an_error(host: CudaHost) -> None:
    result = run(host, "gpu 0 foreign_gib 0.24")

    assert result.outcome is Outcome.ERROR
    assert result.because.endswith("another process holds its memory")
