"""How long each repetition of some work on GPUs took, told by the GPUs: no clock of the host and no waiting between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ctypes import c_void_p
from typing import Final

from agent.bench.cuda import Stream
from agent.bench.watch import Watch

CHUNK_S: Final = 1.0
"""How much work is queued at once: a process that is to end looks whether it is between two chunks. Source: the
contract of a benchmark's process."""

MOST_AT_ONCE: Final = 64
"""Source: our choice: the queue of a GPU holds 1,024 launches, and all-reduces of several GPUs fill it together."""


class Laps:
    """Times work that is queued on some streams, with a mark before it and after each repetition."""

    def __init__(self, streams: Sequence[Stream]) -> None:
        """The marks are made once, and freed with the streams' contexts."""
        self._streams = streams
        self._marks = [[stream.context.event() for _ in range(MOST_AT_ONCE + 1)] for stream in streams]

    def timed(
        self,
        queue: Callable[[], None],
        count: int,
        watch: Watch,
        *,
        what: str,
        look: Callable[[], None] = lambda: None,
    ) -> list[list[float]]:
        """Return the seconds of each repetition, one list for each stream.

        Args:
            queue: puts one repetition on every stream.
            count: at most `MOST_AT_ONCE`.
            what: begins the sentence when it is not done in time.
            look: called between two looks at the marks, and raises when they will never be reached.

        Raises:
            Broken: it failed, or was not done in time.
        """

        def is_done() -> bool:
            look()
            return self._is_reached(count)

        self._mark(0)
        for number in range(1, count + 1):
            queue()
            self._mark(number)
        watch.until(is_done, what)
        return [self._seconds(stream, marks, count) for stream, marks in self._pairs()]

    def _mark(self, number: int) -> None:
        for stream, marks in self._pairs():
            stream.mark(marks[number])

    def _is_reached(self, number: int) -> bool:
        return all(stream.context.is_reached(marks[number]) for stream, marks in self._pairs())

    def _pairs(self) -> list[tuple[Stream, list[c_void_p]]]:
        return list(zip(self._streams, self._marks, strict=True))

    @staticmethod
    def _seconds(stream: Stream, marks: Sequence[c_void_p], count: int) -> list[float]:
        return [stream.context.seconds_between(marks[number], marks[number + 1]) for number in range(count)]


def at_once(seconds_each: float) -> int:
    """Return how many repetitions make a chunk."""
    return max(1, min(MOST_AT_ONCE, int(CHUNK_S / seconds_each) if seconds_each > 0.0 else MOST_AT_ONCE))


def repeated(
    timed: Callable[[int], Sequence[Sequence[float]]],
    wanted: int,
    *,
    budget_s: float,
    agreed: Callable[[int], int] = lambda count: count,
) -> list[list[float]]:
    """Return the seconds of each repetition, one list for each stream: `wanted` ones, or as many as the time allows.

    Args:
        timed: carries out so many.
        agreed: how many all ranks of a group repeat, of how many this one would. They must repeat equally often.
    """
    kept = [list(times) for times in timed(1)]
    each = max(times[0] for times in kept)
    left = agreed(min(wanted - 1, int(budget_s / each)) if each > 0.0 else wanted - 1)
    while left > 0:
        count = min(left, at_once(each))
        left -= count
        for mine, more in zip(kept, timed(count), strict=True):
            mine.extend(more)
    return kept
