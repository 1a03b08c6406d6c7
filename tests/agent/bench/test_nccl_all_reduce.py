"""`bench.nccl_all_reduce` on one node: the real processes, over doubles of CUDA's driver and of NCCL."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from checks.bench_outcome import Outcome
from checks.bench_result import Benchmark, BenchNumber, BenchResult
from tests.support.bench_child import BenchProcess, members, wish_for
from tests.support.cuda_double import CudaHost, build_cuda_doubles, gpu_uuid
from tests.support.eventually import eventually

GIB = 1 << 30


def run(host: CudaHost, *, tier: int = 1, limit_s: float = 30.0, **options: str) -> BenchResult:
    """Return what the benchmark says on this host, of which nothing is left behind."""
    wish = wish_for(Benchmark.NCCL_ALL_REDUCE, options, tier=tier, limit_s=limit_s)
    with BenchProcess(wish, environment=host.environment) as process:
        result = process.result()
        assert process.next_line() is None
        assert members(process.pid) <= {process.pid}
        return result


def number(result: BenchResult, metric: str, size_bytes: int = 8 * GIB) -> BenchNumber:
    """Return the one number of a metric and size."""
    (found,) = [n for n in result.numbers if (n.metric, n.size_bytes) == (metric, size_bytes)]
    return found


def test_a_healthy_node_is_measured_with_nvls_and_without(host: CudaHost) -> None:
    result = run(host)

    assert (result.outcome, result.faults, result.notes) == (Outcome.PASS, (), ())
    auto, ring = number(result, "node_all_reduce"), number(result, "node_all_reduce_ring")
    assert (auto.way, ring.way) == ("", "ring")
    assert auto.value == pytest.approx(478, rel=0.01)
    assert ring.value == pytest.approx(366, rel=0.01)
    assert (result.machine.sku, result.machine.nccl, result.machine.gpus) == ("H100", "2.28.3", 8)


def test_the_bandwidth_is_that_of_a_link_by_the_rule_of_nccl_tests(host: CudaHost) -> None:
    auto = number(run(host, ways="auto"), "node_all_reduce")

    assert auto.value == pytest.approx(2 * 7 / 8 * 8 * GIB / 1e9 / auto.p50_s)


def test_a_node_whose_times_jump_says_so(host: CudaHost) -> None:
    host.say("jitter 0.5")

    auto = number(run(host, ways="auto"), "node_all_reduce")

    assert auto.p99_s == pytest.approx(1.5 * auto.p50_s, rel=0.01)
    assert auto.variation > 0.15
    assert auto.samples == 20


def test_calls_come_in_the_order_that_nccl_and_cuda_ask_for(host: CudaHost) -> None:
    run(host, ways="auto")

    calls = [call.split()[0] for call in host.calls()]
    turns = [
        "cuInit",
        "cuDevicePrimaryCtxRetain",
        "cuMemAlloc",
        "ncclCommInitAll",
        "cuMemsetD32Async",
        "ncclAllReduce",
        "cuMemcpyDtoHAsync",
        "ncclCommDestroy",
        "cuMemFree",
        "cuDevicePrimaryCtxRelease",
    ]
    firsts = [calls.index(turn) for turn in turns]
    assert firsts == sorted(firsts)
    assert max(at for at, call in enumerate(calls) if call == "ncclAllReduce") < calls.index("ncclCommDestroy")


def test_everything_that_was_taken_is_given_back(host: CudaHost) -> None:
    run(host)

    for taken, given in (
        ("cuMemAlloc", "cuMemFree"),
        ("cuMemHostAlloc", "cuMemFreeHost"),
        ("cuStreamCreate", "cuStreamDestroy"),
        ("cuDevicePrimaryCtxRetain", "cuDevicePrimaryCtxRelease"),
    ):
        assert host.count(taken) == host.count(given) > 0
    assert host.count("ncclCommDestroy") == 2 * 8


def test_a_wrong_sum_on_one_gpu_is_a_failure_of_that_gpu(host: CudaHost) -> None:
    host.say("gpu 3 wrong_sum 5")

    result = run(host, ways="auto")

    assert result.outcome is Outcome.FAIL
    (fault,) = result.faults
    assert (fault.code, fault.device) == ("wrong_result", gpu_uuid(3))
    assert result.because == fault.because
    assert "word 5 is 0x00000bad and not 0x00000024" in fault.because


def test_wrong_sums_everywhere_are_a_failure_of_the_node(host: CudaHost) -> None:
    host.say("wrong_sum 5")

    (fault,) = run(host, ways="auto").faults

    assert (fault.code, fault.device) == ("wrong_result", "")


def test_every_word_is_looked_at_where_there_is_time(host: CudaHost) -> None:
    in_the_middle = 256 * (1 << 20) // 4 // 128
    host.say("memory_gib 1", f"gpu 3 wrong_sum {in_the_middle}")

    assert run(host, ways="auto").outcome is Outcome.PASS
    assert run(host, tier=2, ways="auto").outcome is Outcome.FAIL


def test_sizes_make_a_curve_where_there_is_time(host: CudaHost) -> None:
    host.say("memory_gib 0.25")

    result = run(host, tier=2, ways="auto")

    assert [n.size_bytes >> 20 for n in result.numbers] == [1, 4, 16, 64]
    values = [n.value or 0.0 for n in result.numbers]
    assert values == sorted(values)


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (["nvls 366"], "nvls_off"),
        (["nvls 300"], "multicast_fault"),
        (["multicast 0"], "nvls_off"),
        (["nvls 350", "ring 260"], "link_fault"),
    ],
)
def test_two_ways_tell_what_is_ill_and_leave_the_judgement_to_the_numbers(
    host: CudaHost, state: list[str], code: str
) -> None:
    host.say(*state)

    result = run(host)

    assert [(fault.code, fault.severity) for fault in result.faults] == [(code, Outcome.WARN)]
    assert result.outcome is Outcome.PASS


def test_four_gpus_use_no_nvls_and_nothing_is_said_of_it(host: CudaHost) -> None:
    host.say("gpus 4", "nvls 363", "ring 363")

    result = run(host)

    assert (result.outcome, result.faults) == (Outcome.PASS, ())
    assert [n.metric for n in result.numbers] == ["small_node_all_reduce"]
    assert result.notes == ("NCCL uses no NVLS on 4 GPUs of this kind, so there is nothing to switch off.",)


def test_an_old_driver_that_does_not_know_multicast_does_not_offer_it(host: CudaHost) -> None:
    host.say("multicast unknown")

    assert [fault.code for fault in run(host).faults] == ["nvls_off"]


def test_one_gpu_runs_with_one_rank_and_says_that_no_link_was_tested(host: CudaHost) -> None:
    host.say("gpus 1")

    result = run(host)

    assert result.outcome is Outcome.PASS
    assert [(n.metric, n.device) for n in result.numbers] == [("memory_copy", gpu_uuid(0))]
    assert result.numbers[0].value == pytest.approx(2800, rel=0.02)
    assert result.notes[0].startswith("There is one GPU: NCCL ran with one rank and no link was tested.")
    assert host.count("ncclAllReduce") > 20


def test_one_gpu_that_reduces_wrongly_fails(host: CudaHost) -> None:
    host.say("gpus 1", "wrong_sum 7")

    assert run(host).outcome is Outcome.FAIL


def test_the_way_through_the_adapters_is_measured_when_it_is_wished(host: CudaHost) -> None:
    result = run(host, ways="loopback")

    assert number(result, "adapter_loopback").value == pytest.approx(45, rel=0.01)


def test_a_smaller_gpu_gets_the_largest_size_that_fits(host: CudaHost) -> None:
    host.say("memory_gib 16")

    assert [n.size_bytes for n in run(host, ways="auto").numbers] == [4 * GIB]


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ("fail cuInit 100", "the driver finds no GPU"),
        ("fail cuInit 34", "the library is the toolkit's stub"),
        ("fail cuInit 802", "the NVSwitches are not set up"),
        ("fail cuInit 803", "the library and the kernel's module are of different driver versions"),
        ("fail cuInit 999", "an error that it has no words for"),
        ("fail cuDevicePrimaryCtxRetain 46", "the GPU is in use by another process"),
        ("fail cuMemcpyDtoHAsync_v2 719", "CUDA's cuMemcpyDtoHAsync_v2 failed with 719"),
        ("fail ncclCommInitAll 2", "NCCL's ncclCommInitAll failed with 2: unhandled system error"),
        ("fail ncclAllReduce 3", "NCCL's ncclAllReduce failed with 3"),
        ("fail ncclGroupEnd 1", "NCCL's ncclGroupEnd failed with 1"),
    ],
)
def test_what_fails_is_an_error_with_a_sentence(host: CudaHost, state: str, says: str) -> None:
    host.say(state)

    result = run(host)

    assert result.outcome is Outcome.ERROR
    assert says in result.because


def test_a_driver_that_is_too_old_for_nccl_is_named(host: CudaHost) -> None:
    host.say("driver 11040", "fail ncclCommInitAll 1", "last_error CUDA driver version is insufficient")

    result = run(host)

    assert result.outcome is Outcome.ERROR
    assert result.because.endswith(
        "unhandled cuda error: CUDA driver version is insufficient (NCCL 2.28.3, driver for CUDA 11.4)"
    )


def test_memory_that_another_process_holds_is_an_error(host: CudaHost) -> None:
    host.say("gpu 2 foreign_gib 70")

    result = run(host)

    assert result.outcome is Outcome.ERROR
    assert result.because.startswith(f"GPU {gpu_uuid(2)} has ")
    assert result.because.endswith("another process holds its memory")


def test_an_error_that_speaks_of_the_gpu_is_a_failure(host: CudaHost) -> None:
    host.say("fail cuEventQuery 220")

    result = run(host)

    assert result.outcome is Outcome.FAIL
    assert [(fault.code, fault.device) for fault in result.faults] == [("uncorrectable_link", gpu_uuid(0))]


def test_a_hung_all_reduce_is_aborted_and_an_error(host: CudaHost) -> None:
    host.say("hang 5")

    result = run(host, limit_s=12.0)

    assert result.outcome is Outcome.ERROR
    assert "it hangs, and was aborted" in result.because
    assert host.count("ncclCommAbort") == 8
    assert result.machine.gpus == 8


def test_what_hangs_inside_the_library_is_killed(host: CudaHost) -> None:
    host.say("hang_init 1")

    result = run(host, limit_s=3.0)

    assert result.outcome is Outcome.ERROR
    assert result.because.startswith("the process that measures did not end in time: it is in state ")


def test_what_crashes_inside_the_library_is_an_error(host: CudaHost) -> None:
    host.say("crash ncclCommInitAll")

    result = run(host)

    assert result.outcome is Outcome.ERROR
    assert result.because == "the process that measures was ended by signal 6 without a result"


def test_the_second_way_is_not_tried_behind_an_error(host: CudaHost) -> None:
    host.say("fail ncclCommInitAll 2")

    run(host)

    assert host.count("ncclCommInitAll") == 1


def test_a_part_of_a_gpu_is_not_measured(host: CudaHost) -> None:
    host.say("gpu 0 mig 1")

    result = run(host)

    assert result.outcome is Outcome.SKIP
    assert "is partitioned (MIG)" in result.because


def test_a_host_without_nccl_is_an_error(host: CudaHost, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copy(host.doubles / "libcuda.so.1", bare)

    result = run(CudaHost(host.root, bare))

    assert result.outcome is Outcome.ERROR
    assert result.because.startswith("NCCL cannot be loaded: libnccl.so.2")


def test_where_nccl_cannot_be_loaded_nvidias_own_program_is_asked(host: CudaHost, tmp_path: Path) -> None:
    """It is not asked for anything here, since the kernel of this host lists no GPU."""
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copy(host.doubles / "libcuda.so.1", bare)
    (bare / "all_reduce_perf").write_text("#!/bin/sh\n")
    (bare / "all_reduce_perf").chmod(0o755)
    environment = {**CudaHost(host.root, bare).environment, "PATH": f"{bare}:{os.environ['PATH']}"}

    with BenchProcess(wish_for(Benchmark.NCCL_ALL_REDUCE), environment=environment) as process:
        result = process.result()

    assert (result.outcome, result.because) == (Outcome.SKIP, "the driver lists no GPU")


def test_a_host_without_a_driver_is_skipped(host: CudaHost, tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()

    result = run(CudaHost(host.root, tmp_path / "bare"))

    assert result.outcome is Outcome.SKIP
    assert result.because.startswith("the host has no NVIDIA driver")


@pytest.mark.parametrize(
    ("flag", "says"),
    [
        ("-DWITHOUT_UUID_V2", "the driver's libcuda.so.1 has no cuDeviceGetUuid_v2: it is older than CUDA 11.4"),
        ("-DWITHOUT_RANK_CONFIG", "libnccl.so.2 has no ncclCommInitRankConfig: it is older than NCCL 2.14"),
    ],
)
def test_libraries_that_are_too_old_are_named(host: CudaHost, tmp_path: Path, flag: str, says: str) -> None:
    result = run(CudaHost(host.root, build_cuda_doubles(tmp_path / "old", flag)))

    assert (result.outcome, result.because) == (Outcome.ERROR, says)


def test_a_driver_that_no_more_tells_gpus_from_their_parts_is_used(host: CudaHost, tmp_path: Path) -> None:
    newer = CudaHost(host.root, build_cuda_doubles(tmp_path / "newer", "-DWITHOUT_UUID"))

    assert run(newer, ways="auto").outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"ways": "fastest"}, "option ways: some of auto, ring, loopback are wanted, each once, and not 'fastest'"),
        ({"ways": "auto,auto"}, "option ways: some of auto, ring, loopback are wanted, each once, and not 'auto,auto'"),
        ({"ways": ""}, "option ways: some of auto, ring, loopback are wanted, each once, and not ''"),
        ({"back_end": "mpi"}, "option back_end: one of auto, libnccl, nccl-tests is wanted, and not 'mpi'"),
        ({"back_end": "nccl-tests"}, "option back_end: nccl-tests has no all_reduce_perf on the agent's path"),
    ],
)
def test_a_wrong_option_is_named(host: CudaHost, options: dict[str, str], says: str) -> None:
    with BenchProcess(wish_for(Benchmark.NCCL_ALL_REDUCE, options), environment=host.environment) as process:
        result = process.result()

    assert (result.outcome, result.because) == (Outcome.ERROR, says)


async def test_the_order_to_end_ends_all_at_once(host: CudaHost) -> None:
    host.say("hang_init 1")
    with BenchProcess(wish_for(Benchmark.NCCL_ALL_REDUCE), environment=host.environment) as process:
        await eventually("NCCL is entered", lambda: host.count("ncclCommInitAll") == 1)

        assert process.end_group(signal.SIGTERM) == -signal.SIGTERM
        await eventually("nothing is left", lambda: not members(process.pid))


async def test_what_measures_dies_with_the_benchmark(host: CudaHost) -> None:
    host.say("hang_init 1")
    with BenchProcess(wish_for(Benchmark.NCCL_ALL_REDUCE), environment=host.environment) as process:
        await eventually("NCCL is entered", lambda: host.count("ncclCommInitAll") == 1)

        os.kill(process.pid, signal.SIGKILL)

        await eventually("nothing is left", lambda: not members(process.pid))
