"""What a benchmark may say at the most, and that honest results are far from it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.bench_bounds import LARGEST_COUNT, LONGEST_NAME, MOST_FAULTS, MOST_NUMBERS, bounded
from checks.bench_outcome import Outcome
from checks.bench_result import BenchFault, BenchMachine, Benchmark, BenchNumber, BenchResult

NUMBER = BenchNumber("memory_read", 3_000.0, "GPU-1", size_bytes=1 << 30, p50_s=0.1, samples=20)
RESULT = BenchResult(Benchmark.GPU_BANDWIDTH, Outcome.PASS, "Measured.", (NUMBER,), machine=BenchMachine("H100", "550"))


def _numbers(**changes: Any) -> BenchResult:
    return msgspec.structs.replace(RESULT, numbers=(NUMBER, msgspec.structs.replace(NUMBER, **changes)))


@pytest.mark.parametrize(
    "result",
    [
        RESULT,
        msgspec.structs.replace(RESULT, numbers=(NUMBER,) * MOST_NUMBERS),
        msgspec.structs.replace(RESULT, faults=(BenchFault("xid", "Xid 79."),) * MOST_FAULTS),
        _numbers(value=None),
        _numbers(value=-1.0),
        _numbers(value=0.0),
        _numbers(variation=1e-17),
        _numbers(device="/" + "a" * 1_000),
    ],
)
def test_what_a_node_may_say_is_taken_as_it_is(result: BenchResult) -> None:
    assert bounded(result) is result


@pytest.mark.parametrize(
    ("result", "because"),
    [
        (msgspec.structs.replace(RESULT, numbers=(NUMBER,) * (MOST_NUMBERS + 1)), "513 numbers, at most 512"),
        (msgspec.structs.replace(RESULT, faults=(BenchFault("x", "y"),) * (MOST_FAULTS + 1)), "257 faults"),
        (msgspec.structs.replace(RESULT, missing=("n2",) * 2_000), "missing nodes"),
        (msgspec.structs.replace(RESULT, machine=BenchMachine("H" * (LONGEST_NAME + 1))), "257 letters"),
        (msgspec.structs.replace(RESULT, machine=BenchMachine(gpus=-1)), "count"),
        (_numbers(value=1e308), "1e+308"),
        (_numbers(value=-1e308), "-1e+308"),
        (_numbers(value=5e-324), "4.94066e-324"),
        (_numbers(size_bytes=LARGEST_COUNT + 1), "count"),
        (_numbers(size_bytes=10**400), "count"),
        (_numbers(samples=-1), "count"),
        (_numbers(metric="m" * 300), "300 letters"),
        (msgspec.structs.replace(RESULT, faults=(BenchFault("c" * 300, "y"),)), "300 letters"),
    ],
)
def test_what_is_more_than_that_is_an_error_and_blames_nobody(result: BenchResult, because: str) -> None:
    said = bounded(msgspec.structs.replace(result, outcome=Outcome.FAIL))
    assert (said.benchmark, said.outcome, said.numbers, said.faults) == (RESULT.benchmark, Outcome.ERROR, (), ())
    assert because in said.because
    assert len(said.because) < 200


@given(st.floats(allow_nan=False), st.integers())
def test_what_is_taken_can_be_reckoned_with(value: float, count: int) -> None:
    said = bounded(_numbers(value=value, size_bytes=count))
    for number in said.numbers:
        assert number.value is not None
        assert abs(number.value) < 1e19
        assert 0 <= number.size_bytes <= LARGEST_COUNT
