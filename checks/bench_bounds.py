"""How much a benchmark may say: what is more than that, or no number that can be reckoned with, is no result at all.

Everything in a result is judged in one go, while whoever judges does nothing else, and stays in the log.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from checks.bench_outcome import Outcome
from checks.bench_result import BenchFault, BenchNumber, BenchResult

MOST_NUMBERS: Final = 512
MOST_FAULTS: Final = 256
MOST_OTHERS: Final = 1_024
"""Source: our choice; sixteen GPUs have 240 ways between two of them, and a group has fewer nodes than that."""

LONGEST_NAME: Final = 256
LONGEST_DEVICE: Final = 4_096
"""Source: linux/limits.h; a device may be a path."""
LONGEST_TEXT: Final = 16_384

LARGEST: Final = 1e18
SMALLEST: Final = 1e-12
"""Sums, means and quotients of such values are finite and not zero. Source: our choice; JSON has no infinite number, so
that a log with one in it could not be read again."""
LARGEST_COUNT: Final = 2**53
"""What every reader of JSON keeps exactly."""


def bounded(result: BenchResult) -> BenchResult:
    """Return the result, or an error in its place when it says more than it may."""
    excess = next(_excesses(result), "")
    if not excess:
        return result
    return BenchResult(result.benchmark, Outcome.ERROR, f"its result cannot be taken: {excess}")


def _excesses(result: BenchResult) -> Iterator[str]:
    lists = {
        "numbers": (len(result.numbers), MOST_NUMBERS),
        "faults": (len(result.faults), MOST_FAULTS),
        "notes and missing nodes": (len(result.notes) + len(result.missing), MOST_OTHERS),
    }
    yield from (f"{count} {name}, at most {most} may be" for name, (count, most) in lists.items() if count > most)
    machine = result.machine
    names = (machine.sku, machine.driver, machine.nccl, machine.topology, result.digest, *result.missing)
    yield from _of_texts(names, (), (result.because, *result.notes))
    yield from _of_counts(machine.gpus)
    for number in result.numbers:
        yield from _of_number(number)
    for fault in result.faults:
        yield from _of_fault(fault)


def _of_number(number: BenchNumber) -> Iterator[str]:
    yield from _of_texts((number.metric, number.lane, number.way), (number.device,), ())
    yield from _of_counts(number.size_bytes, number.samples)
    if number.value and not SMALLEST <= abs(number.value) <= LARGEST:
        yield f"{number.value:g} is no value that anything has"


def _of_fault(fault: BenchFault) -> Iterator[str]:
    yield from _of_texts((fault.code,), (fault.device,), (fault.because,))


def _of_texts(names: tuple[str, ...], devices: tuple[str, ...], texts: tuple[str, ...]) -> Iterator[str]:
    for most, said in ((LONGEST_NAME, names), (LONGEST_DEVICE, devices), (LONGEST_TEXT, texts)):
        for text in said:
            if len(text) > most:
                yield f"{text[:40]!r}... has {len(text)} letters, at most {most} may be"


def _of_counts(*counts: int) -> Iterator[str]:
    yield from ("a count is negative, or too large to be one" for count in counts if not 0 <= count <= LARGEST_COUNT)
