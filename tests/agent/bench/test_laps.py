"""How often work is repeated, and that ranks repeat equally often."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.bench.laps import MOST_AT_ONCE, at_once, repeated


class Work:
    """Repetitions that always take as long, and how many were asked for at once."""

    def __init__(self, each_s: float) -> None:
        self.each_s, self.asked = each_s, list[int]()

    def __call__(self, count: int) -> Sequence[Sequence[float]]:
        self.asked.append(count)
        return [[self.each_s] * count, [self.each_s / 2] * count]


def times(each_s: float, wanted: int, budget_s: float, agreed: Callable[[int], int] = lambda n: n) -> tuple[int, Work]:
    work = Work(each_s)
    first, second = repeated(work, wanted, budget_s=budget_s, agreed=agreed)
    assert len(first) == len(second) == sum(work.asked)
    return len(first), work


@given(st.floats(1e-6, 100), st.integers(1, 500), st.floats(0, 60))
def test_no_chunk_is_longer_than_a_second_and_the_budget_holds(each_s: float, wanted: int, budget_s: float) -> None:
    count, work = times(each_s, wanted, budget_s)

    assert 1 <= count <= wanted
    assert count * each_s <= budget_s + each_s * 1.001
    assert all(asked == 1 or asked * each_s <= 1.001 for asked in work.asked)
    assert max(work.asked) <= MOST_AT_ONCE


@given(st.floats(1e-3, 1), st.floats(1e-3, 1), st.integers(1, 100))
def test_ranks_repeat_as_often_as_the_slowest_of_them_would(one_s: float, other_s: float, wanted: int) -> None:
    asked: list[int] = []

    def noted(count: int) -> int:
        asked.append(count)
        return count

    times(one_s, wanted, 3.0, noted)
    times(other_s, wanted, 3.0, noted)
    least = min(asked)

    one, _ = times(one_s, wanted, 3.0, lambda _: least)
    other, _ = times(other_s, wanted, 3.0, lambda _: least)

    assert one == other == 1 + least


@pytest.mark.parametrize(("each_s", "count"), [(0.0, MOST_AT_ONCE), (0.03, 33), (2.0, 1)])
def test_a_chunk_takes_a_second(each_s: float, count: int) -> None:
    assert at_once(each_s) == count
