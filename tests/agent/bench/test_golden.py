"""Which GPU computes wrongly, when several got a result and some are not alike."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.bench.golden import agreed, screen
from checks.bench_outcome import Outcome

A, B, C = ("a",), ("b",), ("c",)


@pytest.mark.parametrize(
    ("results", "golden", "failed"),
    [
        ([A], "", []),
        ([A], "a", []),
        ([A], "b", ["0"]),
        ([A, A, A], "a", []),
        ([A, B, A], "a", ["1"]),
        ([A, B, A], "", ["1"]),
        ([A, B, A], "b", ["0", "2"]),
        ([A, B], "a", ["1"]),
        ([A, A, A, B, B], "", ["3", "4"]),
        ([("a", "b"), A, A], "", ["0"]),
        ([("a", "a"), ("a", "a")], "", []),
        ([A, B, A], "z", ["1"]),
    ],
)
def test_the_gpu_that_errs_fails_and_no_other(results: list[tuple[str, ...]], golden: str, failed: list[str]) -> None:
    faults = screen({str(gpu): digests for gpu, digests in enumerate(results)}, golden)
    assert [fault.device for fault in faults if fault.severity is Outcome.FAIL] == failed
    assert all(fault.code == "wrong_result" for fault in faults)


@pytest.mark.parametrize(
    ("results", "golden", "code"),
    [
        ([A, A], "z", "golden_vector"),
        ([A, A, A, A], "z", "golden_vector"),
        ([A, B], "", "wrong_result"),
        ([A, A, B, B], "", "wrong_result"),
        ([A, B, C], "", "wrong_result"),
    ],
)
def test_where_nobody_can_say_which_is_right_nobody_fails(
    results: list[tuple[str, ...]], golden: str, code: str
) -> None:
    (fault,) = screen({str(gpu): digests for gpu, digests in enumerate(results)}, golden)
    assert (fault.code, fault.severity, fault.device) == (code, Outcome.WARN, "")


@given(
    st.lists(st.lists(st.sampled_from("ab"), min_size=1, max_size=3), min_size=1, max_size=8),
    st.sampled_from(["", "a", "z"]),
)
def test_what_is_not_alike_is_never_passed_over(results: list[list[str]], golden: str) -> None:
    by_gpu = {str(gpu): digests for gpu, digests in enumerate(results)}
    digest = agreed(by_gpu)
    assert bool(screen(by_gpu, golden)) == (not digest or golden not in ("", digest))
