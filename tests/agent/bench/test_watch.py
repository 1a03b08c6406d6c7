"""Waiting that always ends, by a clock that the test moves."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from agent.bench.watch import LONGEST_PAUSE_S, Overdue, Watch


@dataclass(slots=True)
class Clock:
    """A clock that sleeping moves on."""

    now_s: float = 100.0

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def watch(self, limit_s: float) -> Watch:
        return Watch(self.now_s + limit_s, self.monotonic, self.sleep)


def test_it_returns_as_soon_as_it_is_so() -> None:
    clock = Clock()

    clock.watch(10.0).until(lambda: clock.now_s >= 103.0, "the third second")

    assert 103.0 <= clock.now_s <= 103.0 + LONGEST_PAUSE_S


def test_what_is_late_is_said() -> None:
    clock = Clock()

    with pytest.raises(Overdue, match=r"^the kernel was not done within 10 s$"):
        clock.watch(10.0).until(lambda: False, "the kernel")

    assert 110.0 <= clock.now_s <= 110.0 + LONGEST_PAUSE_S


def test_what_is_so_at_the_deadline_is_not_late() -> None:
    Clock().watch(0.0).until(lambda: True, "nothing")


def test_a_shorter_deadline_never_is_a_later_one() -> None:
    watch = Clock().watch(10.0)

    assert (watch.within(3.0).left_s, watch.within(30.0).left_s) == (3.0, 10.0)


def test_time_is_left_for_the_last_word() -> None:
    assert Clock().watch(60.0).earlier().left_s == 58.0
    assert Clock().watch(5.0).earlier().left_s == pytest.approx(4.5)
