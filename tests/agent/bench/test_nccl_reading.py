"""One result of several ways of an all-reduce."""

from __future__ import annotations

import pytest

from agent.bench.nccl_reading import together
from checks.bench_limits import shipped_limits
from checks.bench_outcome import Outcome
from checks.bench_result import BenchFault, BenchMachine, Benchmark, BenchNumber, BenchResult

GIB = 1 << 30
H100 = BenchMachine("H100", "550.127.05", "2.28.3", "topology", 8)


def way(
    name: str,
    value: float | None = None,
    outcome: Outcome = Outcome.PASS,
    *,
    size_bytes: int = 8 * GIB,
    faults: tuple[BenchFault, ...] = (),
    notes: tuple[str, ...] = (),
) -> BenchResult:
    metric = "node_all_reduce_ring" if name else "node_all_reduce"
    number = BenchNumber(metric, value, size_bytes=size_bytes, way=name)
    numbers = (number,) if value is not None else ()
    return BenchResult(Benchmark.NCCL_ALL_REDUCE, outcome, f"{name}: {outcome}", numbers, faults, H100, notes=notes)


def read(auto: BenchResult, ring: BenchResult) -> BenchResult:
    return together({"": auto, "ring": ring}, shipped_limits())


def test_numbers_of_both_ways_stand_together() -> None:
    result = read(way("", 478.0, notes=("one",)), way("ring", 366.0, notes=("one", "two")))

    assert (result.outcome, result.machine, result.faults) == (Outcome.PASS, H100, ())
    assert [number.value for number in result.numbers] == [478.0, 366.0]
    assert result.notes == ("one", "two")


def test_a_way_that_was_skipped_is_a_note() -> None:
    result = read(way("", 478.0), way("ring", outcome=Outcome.SKIP))

    assert (result.outcome, result.notes) == (Outcome.PASS, ("ring: skip",))


def test_nothing_to_measure_is_a_skip() -> None:
    assert read(way("", outcome=Outcome.SKIP), way("ring", outcome=Outcome.SKIP)).outcome is Outcome.SKIP


@pytest.mark.parametrize("outcome", [Outcome.ERROR, Outcome.FAIL])
def test_the_worse_of_both_counts_and_says_why(outcome: Outcome) -> None:
    result = read(way("", 478.0), way("ring", outcome=outcome))

    assert (result.outcome, result.because) == (outcome, f"ring: {outcome}")
    assert len(result.numbers) == 1


def test_a_fault_of_both_is_said_once() -> None:
    fault = BenchFault("wrong_result", "GPU 3 summed wrongly.", "GPU-3")

    result = read(way("", 478.0, Outcome.FAIL, faults=(fault,)), way("ring", 366.0, Outcome.FAIL, faults=(fault,)))

    assert (result.faults, result.because) == ((fault,), fault.because)


def test_multicast_that_is_not_offered_is_said_once_and_with_both_numbers() -> None:
    fault = BenchFault("nvls_off", "The driver offers no multicast on 8 GPUs.", severity=Outcome.WARN)

    (read_one,) = read(way("", 366.0, faults=(fault,)), way("ring", 366.0)).faults

    assert (read_one.code, "366 GB/s" in read_one.because) == ("nvls_off", True)


def test_small_sizes_are_held_against_no_limit() -> None:
    assert read(way("", 120.0, size_bytes=GIB), way("ring", 90.0, size_bytes=GIB)).faults == ()


def test_the_largest_size_is_compared() -> None:
    small, large = way("", 20.0, size_bytes=1 << 20), way("", 478.0)
    auto = BenchResult(Benchmark.NCCL_ALL_REDUCE, Outcome.PASS, "", (*large.numbers, *small.numbers), (), H100)

    assert read(auto, way("ring", 366.0)).faults == ()
