"""Waiting that always ends: for a library that has no deadlines of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from agent.bench.child import Broken

FIRST_PAUSE_S: Final = 0.0002
LONGEST_PAUSE_S: Final = 0.005
"""Between two looks. Source: our choice: marks on the GPU are timed by the GPU, so a late look costs no accuracy."""

LAST_WORD_S: Final = 2.0
LAST_WORD_SHARE: Final = 0.1
"""What is left of a benchmark's time to say how it ended, the lesser of both. Source: our choice."""


class Overdue(Broken):
    """What was waited for did not come about."""


@dataclass(frozen=True, slots=True)
class Watch:
    """A deadline on the monotonic clock, and how to wait until then."""

    ends_at_s: float
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    @property
    def left_s(self) -> float:
        """How long there is, 0 once it is over."""
        return max(0.0, self.ends_at_s - self.monotonic())

    def within(self, limit_s: float) -> Watch:
        """Return the same with a deadline that is not later than so long from now."""
        return Watch(min(self.ends_at_s, self.monotonic() + limit_s), self.monotonic, self.sleep)

    def earlier(self) -> Watch:
        """Return the same with a deadline that leaves time to say how it ended."""
        left_s = self.left_s
        return self.within(left_s - min(LAST_WORD_S, LAST_WORD_SHARE * left_s))

    def until(self, is_so: Callable[[], bool], what: str) -> None:
        """Return when it is so.

        Raises:
            Overdue: it was not by the deadline; `what` begins the sentence.
        """
        began_s, pause_s = self.monotonic(), FIRST_PAUSE_S
        while not is_so():
            if self.left_s <= 0.0:
                raise Overdue(f"{what} was not done within {self.monotonic() - began_s:.0f} s")
            self.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


def watch_of(limit_s: float) -> Watch:
    """Return the watch of a benchmark's process: it ends a little before whoever started it would end it."""
    return Watch(time.monotonic() + limit_s).earlier()
