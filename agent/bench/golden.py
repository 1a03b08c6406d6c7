"""A screen for silent data corruption: GPUs of a kind that multiply the same matrices get the same bits.

A GPU that gets other bits at different times, that differs from most GPUs beside it, or from what the fleet knows to be
right, computes wrongly, and no counter says so. Which bits are right depends on the library and the kind of GPU, so a
golden vector holds for these alone. When all GPUs of a host agree with each other and not with it, it is the vector
that is of something else: that several GPUs fail alike, bit for bit, does not happen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from checks.bench_outcome import Outcome
from checks.bench_result import BenchFault

CODE = "wrong_result"
MAJORITY_OF = 3
"""From so many GPUs on, one that differs from the others is the one that errs."""


def screen(results: Mapping[str, Sequence[str]], golden: str = "") -> tuple[BenchFault, ...]:
    """Return what is wrong with the results of the GPUs of one host, which are all of one kind.

    Args:
        results: UUID → the digests of its results, one for each time, at least one.
        golden: the digest that is known to be right, empty where none is.
    """
    fickle = {gpu: digests for gpu, digests in results.items() if len(set(digests)) > 1}
    steady = {gpu: digests[0] for gpu, digests in results.items() if gpu not in fickle}
    return (*(_fickle(gpu, digests) for gpu, digests in fickle.items()), *_differing(steady, golden))


def agreed(results: Mapping[str, Sequence[str]]) -> str:
    """Return the one digest that every GPU had every time, empty where there is no such."""
    seen = {digest for digests in results.values() for digest in digests}
    return seen.pop() if len(seen) == 1 else ""


def _differing(steady: Mapping[str, str], golden: str) -> Iterator[BenchFault]:
    counts = Counter(steady.values())
    if golden in counts or len(steady) == 1:
        yield from (_not_golden(gpu) for gpu, digest in steady.items() if golden and digest != golden)
        return
    if golden and len(counts) == 1:
        yield _of_something_else(len(steady))
        return
    usual, count = counts.most_common(1)[0] if counts else ("", 0)
    if len(steady) >= MAJORITY_OF and count > len(steady) / 2:
        yield from (_outvoted(gpu, count) for gpu, digest in steady.items() if digest != usual)
    elif len(counts) > 1:
        yield _undecided(len(counts))


def _fickle(gpu: str, digests: Sequence[str]) -> BenchFault:
    count = len(set(digests))
    return BenchFault(
        CODE, f"GPU {gpu} got {count} different results of the same product in {len(digests)} looks.", gpu
    )


def _not_golden(gpu: str) -> BenchFault:
    return BenchFault(CODE, f"GPU {gpu} got another result than the fleet's golden vector for it has.", gpu)


def _outvoted(gpu: str, others: int) -> BenchFault:
    return BenchFault(CODE, f"GPU {gpu} got another result than {others} GPUs of its kind beside it.", gpu)


def _of_something_else(count: int) -> BenchFault:
    because = (
        f"All {count} GPUs got the same result, and the fleet's golden vector has another: it is of other software or "
        "hardware."
    )
    return BenchFault("golden_vector", because, severity=Outcome.WARN)


def _undecided(count: int) -> BenchFault:
    because = f"The GPUs got {count} different results of the same product, and no majority says which is right."
    return BenchFault(CODE, because, severity=Outcome.WARN)
