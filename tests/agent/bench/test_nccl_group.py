"""`bench.nccl_all_reduce` over several nodes: one process a node, over doubles that meet in a folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
import pytest

from agent.bench.child import Rendezvous
from agent.bench.roll_call import call_from
from checks.bench_outcome import Outcome
from checks.bench_result import Benchmark, BenchResult
from tests.support.bench_child import BenchProcess, members, wish_for
from tests.support.cuda_double import CudaHost, build_cuda_doubles
from wire.bench import Rank

SMALL = ("gpus 2", "memory_gib 0.0625", "latency_us 0")
GONE = "the rank of node-b never arrived"


@pytest.fixture
def hosts(cuda_doubles: Path, tmp_path: Path) -> list[CudaHost]:
    """Three hosts with two GPUs each."""
    return hosts_with(cuda_doubles, tmp_path)


def hosts_with(doubles: Path, tmp_path: Path) -> list[CudaHost]:
    made = [CudaHost(tmp_path / f"node-{letter}", doubles) for letter in "abc"]
    for each in made:
        each.say(*SMALL)
    return made


@contextmanager
def started(host: CudaHost, rank: Rank, limit_s: float) -> Iterator[BenchProcess]:
    wish = msgspec.structs.replace(wish_for(Benchmark.NCCL_ALL_REDUCE, tier=1, limit_s=limit_s), rank=rank)
    with BenchProcess(wish, environment=host.environment) as process:
        yield process


def unique_id_of(process: BenchProcess) -> str:
    while not isinstance(line := process.next_line(), Rendezvous):
        assert line is not None
    return line.unique_id


def run(
    hosts: Sequence[CudaHost], *, lanes: bool = False, limit_s: float = 20.0, absent: Sequence[int] = ()
) -> list[BenchResult]:
    """Return what the ranks say that are not absent, in their order."""
    nodes = tuple(host.root.name for host in hosts)
    with ExitStack() as running:
        first = running.enter_context(started(hosts[0], Rank(0, nodes, lanes=lanes), limit_s))
        unique_id = unique_id_of(first)
        others = [
            running.enter_context(started(host, Rank(number, nodes, unique_id, lanes), limit_s))
            for number, host in enumerate(hosts)
            if number and number not in absent
        ]
        results = [process.result() for process in (first, *others)]
        for process in (first, *others):
            assert process.next_line() is None
            assert members(process.pid) <= {process.pid}
        return results


def test_two_nodes_measure_together(hosts: list[CudaHost]) -> None:
    for result in run(hosts[:2]):
        assert (result.outcome, result.faults, result.missing) == (Outcome.PASS, (), ())
        (number,) = result.numbers
        assert (number.metric, number.lane, number.way) == ("two_node_all_reduce", "all", "")
        assert number.value == pytest.approx(390, rel=0.01)
        assert number.samples == 20


def test_every_rail_is_measured_by_itself_when_it_is_wished(hosts: list[CudaHost]) -> None:
    for host in hosts[:2]:
        host.say(*SMALL, "gpu 1 lane 24")

    for result in run(hosts[:2], lanes=True):
        assert result.outcome is Outcome.PASS
        lanes = {number.lane: number for number in result.numbers}
        assert sorted(lanes) == ["0", "1", "all"]
        assert {lanes["0"].metric, lanes["1"].metric} == {"lane_all_reduce"}
        assert lanes["1"].value == pytest.approx(24, rel=0.01)
        assert lanes["0"].value == pytest.approx(48, rel=0.01)


def test_more_nodes_are_a_group(hosts: list[CudaHost]) -> None:
    results = run(hosts, lanes=True)

    assert [result.outcome for result in results] == [Outcome.PASS] * 3
    assert [number.metric for number in results[2].numbers] == [
        "group_all_reduce",
        "lane_all_reduce",
        "lane_all_reduce",
    ]


def test_communicators_do_not_block_and_are_made_by_the_oldest_layout(hosts: list[CudaHost]) -> None:
    run(hosts[:2])

    made = [call for host in hosts[:2] for call in host.calls() if call.startswith("ncclCommInitRankConfig")]
    assert made == [
        f"ncclCommInitRankConfig {rank} of 4 on {rank % 2} size 24 version 21400 blocking 0" for rank in range(4)
    ]


def test_a_group_is_left_in_order(hosts: list[CudaHost]) -> None:
    run(hosts[:2], lanes=True)

    calls = [call.split()[0] for call in hosts[1].calls()]
    assert calls.count("ncclCommFinalize") == calls.count("ncclCommDestroy") == 4
    assert calls.count("ncclCommAbort") == 0
    assert calls.index("ncclCommFinalize") < calls.index("ncclCommDestroy") < calls.index("cuMemFree")
    assert calls.count("cuMemAlloc") == calls.count("cuMemFree")


def test_ranks_repeat_equally_often_though_one_has_less_memory(hosts: list[CudaHost]) -> None:
    hosts[1].say("gpus 2", "memory_gib 0.03")

    results = run(hosts[:2])

    assert [(n.size_bytes >> 20, n.samples) for result in results for n in result.numbers] == [(8, 20), (8, 20)]


def test_a_rank_that_never_arrives_is_named_to_all_who_came(hosts: list[CudaHost]) -> None:
    results = run(hosts, absent=[1], limit_s=15.0)

    for result in results:
        assert (result.outcome, result.because) == (Outcome.ERROR, GONE)
        assert result.missing == ("node-b",)
    assert hosts[0].count("ncclCommInitRankConfig") == 0


def test_several_ranks_that_never_arrive_are_named(hosts: list[CudaHost]) -> None:
    (result,) = run(hosts, absent=[1, 2], limit_s=8.0)

    assert result.missing == ("node-b", "node-c")
    assert result.because == "the ranks of node-b, node-c never arrived"


def test_a_rank_0_that_is_gone_is_named(hosts: list[CudaHost]) -> None:
    nodes = ("node-a", "node-b")
    with started(hosts[0], Rank(0, nodes), 20.0) as first:
        unique_id = unique_id_of(first)
    with started(hosts[1], Rank(1, nodes, unique_id), 20.0) as second:
        result = second.result()

    assert (result.outcome, result.missing) == (Outcome.ERROR, ("node-a",))
    assert result.because == "rank 0 (node-a) does not answer at 127.0.0.1"


def test_nodes_with_different_numbers_of_gpus_do_not_begin(hosts: list[CudaHost]) -> None:
    hosts[1].say("gpus 1", "memory_gib 0.0625")

    for result in run(hosts[:2]):
        assert result.outcome is Outcome.ERROR
        assert result.because == "node-b: not as many GPUs as node-a has, which a group needs"


def test_without_a_roll_call_nccl_itself_waits_and_the_other_of_two_is_named(hosts: list[CudaHost]) -> None:
    hosts[0].say(*SMALL, "hidden_address 1")

    (result,) = run(hosts[:2], absent=[1], limit_s=8.0)

    assert (result.outcome, result.missing) == (Outcome.ERROR, ("node-b",))
    assert result.because.endswith(GONE)
    assert hosts[0].count("ncclCommAbort") == 2


def test_without_a_roll_call_nobody_knows_who_of_several_is_missing(hosts: list[CudaHost]) -> None:
    hosts[0].say(*SMALL, "hidden_address 1")

    for result in run(hosts, absent=[2], limit_s=8.0):
        assert (result.outcome, result.missing) == (Outcome.ERROR, ())
        assert "a rank of " in result.because


def test_a_node_that_hangs_in_the_middle_makes_all_leave(hosts: list[CudaHost]) -> None:
    hosts[1].say(*SMALL, "hang 8")

    results = run(hosts[:2], limit_s=15.0)

    for host, result in zip(hosts, results, strict=False):
        assert result.outcome is Outcome.ERROR
        assert "it hangs, and was aborted" in result.because or "did not end in time" in result.because
        assert host.count("ncclCommAbort") == 2


def test_what_nccl_finds_out_meanwhile_ends_the_waiting(hosts: list[CudaHost]) -> None:
    hosts[0].say(*SMALL, "hang 8", "fail async 6", "async_after 60")
    hosts[1].say(*SMALL, "fail async 6", "async_after 60")

    for result in run(hosts[:2]):
        assert result.outcome is Outcome.ERROR
        assert "remote process exited or there was a network error" in result.because


def test_a_wrong_sum_fails_the_group(hosts: list[CudaHost]) -> None:
    hosts[1].say(*SMALL, "gpu 0 wrong_sum 3")

    first, second = run(hosts[:2])

    assert first.outcome is Outcome.PASS
    assert (second.outcome, second.faults[0].code) == (Outcome.FAIL, "wrong_result")


def test_a_library_that_cannot_split_measures_no_rails_and_says_so(tmp_path: Path) -> None:
    hosts = hosts_with(build_cuda_doubles(tmp_path / "old", "-DWITHOUT_SPLIT"), tmp_path)

    for result in run(hosts[:2], lanes=True):
        assert result.outcome is Outcome.PASS
        assert [number.lane for number in result.numbers] == ["all"]
        assert result.notes == ("NCCL 2.28.3 cannot split a group, so rails were not measured.",)


@pytest.mark.parametrize(("text", "says"), [("zz", "it is not hexadecimal"), ("00", "it has 1 bytes, and not 128")])
def test_what_is_no_unique_id_is_an_error(hosts: list[CudaHost], text: str, says: str) -> None:
    with started(hosts[1], Rank(1, ("node-a", "node-b"), text), 20.0) as process:
        result = process.result()

    assert (result.outcome, result.because) == (Outcome.ERROR, f"unique id: {says}")


def test_the_unique_id_says_where_the_ranks_meet(hosts: list[CudaHost]) -> None:
    with started(hosts[0], Rank(0, ("node-a", "node-b")), 20.0) as process:
        call = call_from(unique_id_of(process))

    assert len(call.unique_id) == 128
    assert call.port > 0
