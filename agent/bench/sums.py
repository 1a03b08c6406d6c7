"""Whether an all-reduce summed rightly: words that tell ranks and places apart, and a look at what the GPUs hold.

No kernel of our own is needed for it. A buffer is filled in segments, each with another value, so that a sum which
lands in the wrong place is seen as well as a wrong one. What comes out is copied back and compared by the C library.
"""

from __future__ import annotations

import array
import ctypes
import itertools
from collections.abc import Iterator
from ctypes import c_int, c_size_t, c_void_p
from dataclasses import dataclass
from typing import Final

from agent.bench.cuda import Stream
from agent.bench.watch import Watch

SEGMENTS: Final = 64
STEP: Final = 65_537
"""How far the values of two segments are apart: more than ranks there are. Source: our choice, a prime."""

POISON: Final = 0x5A5A5A5A
"""What a buffer holds before the sums are written to it, so that none of an earlier run is taken for them."""

WRONG_RESULT: Final = "wrong_result"
"""Code of the fault that wrong words are."""

WORD_BYTES: Final = 4
STAGE_BYTES: Final = 32 << 20
EDGE_BYTES: Final = 256 << 10
"""What is copied back at once, and how much of both ends of a segment a quick look takes. Source: our choice."""

_compare = ctypes.CDLL(None).memcmp
_compare.argtypes, _compare.restype = (c_void_p, c_void_p, c_size_t), c_int


@dataclass(frozen=True, slots=True)
class WrongSum:
    """The first word of a buffer that is not what it must be."""

    word: int
    found: int
    expected: int

    def __str__(self) -> str:
        """Return it to end a sentence."""
        return f"word {self.word} is {self.found:#010x} and not {self.expected:#010x}"


def fill(stream: Stream, address: int, words: int, rank: int) -> None:
    """Write what this rank adds to the sums."""
    for number, (first, count) in enumerate(_segments(words)):
        stream.fill(address + first * WORD_BYTES, rank + 1 + number * STEP, count)


def poison(stream: Stream, address: int, words: int) -> None:
    """Write what is no sum."""
    stream.fill(address, POISON, words)


def expected_sum(segment: int, ranks: int) -> int:
    """Return the word that all ranks' words of a segment add up to, as an unsigned one."""
    return (ranks * (ranks + 1) // 2 + ranks * segment * STEP) & 0xFFFFFFFF


def first_wrong(
    stream: Stream, address: int, words: int, *, ranks: int, stage: int, whole: bool, watch: Watch
) -> WrongSum | None:
    """Return the first word that is wrong, `None` when none was found.

    Args:
        stage: address of `STAGE_BYTES` of the host's memory.
        whole: look at every word, and not at both ends of each segment alone.
    """
    for number, (first, count) in enumerate(_segments(words)):
        expected = expected_sum(number, ranks)
        for start, some in _pieces(first, count, whole=whole):
            _copy_out(stream, stage, address + start * WORD_BYTES, some * WORD_BYTES, watch)
            at = _first_other(stage, some, expected)
            if at is not None:
                return WrongSum(start + at, _word(stage, at), expected)
    return None


def _segments(words: int) -> Iterator[tuple[int, int]]:
    """Yield the first word and the number of words of each segment; none is empty."""
    bounds = [words * number // SEGMENTS for number in range(SEGMENTS + 1)]
    yield from ((first, end - first) for first, end in itertools.pairwise(bounds) if end > first)


def _pieces(first: int, count: int, *, whole: bool) -> Iterator[tuple[int, int]]:
    edge, most = EDGE_BYTES // WORD_BYTES, STAGE_BYTES // WORD_BYTES
    if not whole and count > 2 * edge:
        yield from ((first, edge), (first + count - edge, edge))
        return
    yield from ((start, min(most, first + count - start)) for start in range(first, first + count, most))


def _copy_out(stream: Stream, host: int, device: int, size_bytes: int, watch: Watch) -> None:
    stream.copy_out(host, device, size_bytes)
    watch.until(stream.is_idle, "copying the sums back")


def _first_other(host: int, words: int, expected: int) -> int | None:
    """Return the first word that is another one. A row of equal words is equal to itself, one word further on."""
    if _word(host, 0) == expected and _compare(host, host + WORD_BYTES, (words - 1) * WORD_BYTES) == 0:
        return None
    seen = array.array("I", ctypes.string_at(host, words * WORD_BYTES))
    return next(number for number, word in enumerate(seen) if word != expected)


def _word(host: int, number: int) -> int:
    return ctypes.c_uint32.from_address(host + number * WORD_BYTES).value
