"""`bench.gemm`: what each GPU reaches when it multiplies matrices, and whether it gets the same bits as the others.

All GPUs multiply at once, as they do in a job, so that power and cooling are those of a job. The results are copied out
now and then and compared bit by bit, which finds a GPU that computes wrongly and says nothing.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from contextlib import ExitStack
from ctypes import c_void_p
from dataclasses import dataclass, field
from typing import Final

import msgspec

from agent.bench.child import Progress, Say, carry_out
from agent.bench.cublaslt import FLOAT32_BYTES, CublasLt, MatrixProduct, load_cublaslt
from agent.bench.cuda import Context, Gpu, Stream
from agent.bench.golden import agreed, screen
from agent.bench.gpu_machine import machine_of
from agent.bench.laps import Laps, at_once
from agent.bench.matrices import PATTERN_BYTES, SEED, digest_of, fill, pattern
from agent.bench.rig import Found, Rig, measured
from agent.bench.samples import number_of
from agent.bench.watch import Watch, watch_of
from agent.bench.wishes import number_option
from checks.bench_result import Benchmark, BenchResult
from wire.bench import BenchWish

METRIC: Final = "gemm_bf16"
TERA: Final = 1e12

SIZE: Final = 8192
"""Rows and columns. Source: our choice; large enough for the most that a GPU reaches, and 0.5 GiB of its memory."""

SECONDS_OF_TIER: Final = {1: 5.0, 2: 20.0, 3: 60.0}
"""Source: our choice within the tiers; 60 s as in ai-infrastructure-on-azure a01b073."""
MOST_SECONDS: Final = 600.0
SHARE_OF_LIMIT: Final = 0.6

WARM_UP: Final = 3
LEAST_LOOKS: Final = 2
"""Results that are compared, at the least: one alone says nothing of a GPU that errs now and then."""

HANG_S: Final = 30.0
"""A chunk takes a second, and its copies less. Source: our choice."""


@dataclass(slots=True)
class _Seat:
    """One GPU at work. `copied`: the mark behind a copy."""

    context: Context
    stream: Stream
    product: MatrixProduct
    copied: c_void_p
    times_s: list[float] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)

    @property
    def gpu(self) -> Gpu:
        return self.context.gpu


def run(wish: BenchWish, say: Say, *, size: int = SIZE, watch: Watch | None = None) -> BenchResult:
    """Multiply on every GPU.

    Options: `golden`, `<version of cuBLASLt>:<digest>` as earlier results say it, comma-separated; `seconds`.

    Raises:
        NotHere: there is no GPU, or no cuBLASLt.
        Broken: an option makes no sense.
    """
    library = load_cublaslt()
    digests: list[str] = []
    golden, notes = _golden(wish.options.get("golden", ""), library.version)
    seconds = number_option(wish, "seconds", SECONDS_OF_TIER.get(wish.tier, 5.0), least=1.0, most=MOST_SECONDS)
    seconds = min(seconds, SHARE_OF_LIMIT * wish.limit_s)

    def measure(rig: Rig, found: Found) -> str:
        machine = machine_of(rig.cuda, [context.gpu for context in rig.contexts])
        found.machine = msgspec.structs.replace(machine, topology=f"cuBLASLt {library.version}")
        found.notes += notes
        with ExitStack() as taken:
            seats = [_seat(library, context, size, taken) for context in rig.contexts]
            try:
                _multiply(seats, seconds, rig.watch, say)
            finally:
                digests.append(_note(seats, golden, found))
        return (
            f"{len(seats)} GPUs multiplied matrices, and got the same result at each of {len(seats[0].digests)} looks."
        )

    result = measured(Benchmark.GEMM, measure, watch or watch_of(wish.limit_s))
    alike = "".join(digests)
    return msgspec.structs.replace(result, golden=f"{library.version}:{alike}" if alike else "")


def _seat(library: CublasLt, context: Context, size: int, taken: ExitStack) -> _Seat:
    return _Seat(context, context.stream(), MatrixProduct(library, context, size, taken), context.event())


def _multiply(seats: Sequence[_Seat], seconds: float, watch: Watch, say: Say) -> None:
    """Multiply in chunks of at most a second, and look at the results after each."""
    host = seats[0].context.allocate_host(max(_result_bytes(seats[0]), PATTERN_BYTES))
    _fill(seats, host, watch)
    laps = Laps([seat.stream for seat in seats])
    count = at_once(max(times[-1] for times in _timed(seats, laps, WARM_UP, watch)))
    ends_s, looks = watch.monotonic() + seconds, 0
    while looks < LEAST_LOOKS or watch.monotonic() < ends_s:
        for seat, times in zip(seats, _timed(seats, laps, count, watch), strict=True):
            seat.times_s.extend(times)
        for seat in seats:
            seat.digests.append(_looked_at(seat, host, watch))
        looks += 1
        done = 1.0 - (ends_s - watch.monotonic()) / seconds
        say(Progress(min(1.0, max(0.0, done)), f"matrix products on {len(seats)} GPUs"))


def _fill(seats: Sequence[_Seat], host: int, watch: Watch) -> None:
    values = pattern(SEED, PATTERN_BYTES)
    ctypes.memmove(host, values, len(values))
    for seat in seats:
        fill(seat.product, seat.stream, host, len(values))
    for seat in seats:
        _await_copies(seat, watch)


def _timed(seats: Sequence[_Seat], laps: Laps, count: int, watch: Watch) -> list[list[float]]:
    def queue() -> None:
        for seat in seats:
            seat.product.queue(seat.stream)

    return laps.timed(queue, count, watch.within(HANG_S), what="the multiplication of matrices")


def _looked_at(seat: _Seat, host: int, watch: Watch) -> str:
    """Return the digest of the result that the GPU has now."""
    seat.stream.copy_out(host, seat.product.result, _result_bytes(seat))
    _await_copies(seat, watch)
    return digest_of(host, _result_bytes(seat))


def _await_copies(seat: _Seat, watch: Watch) -> None:
    seat.stream.mark(seat.copied)
    watch.within(HANG_S).until(lambda: seat.context.is_reached(seat.copied), f"a copy of GPU {seat.gpu.uuid}")


def _result_bytes(seat: _Seat) -> int:
    return FLOAT32_BYTES * seat.product.size**2


def _note(seats: Sequence[_Seat], golden: str, found: Found) -> str:
    """Note what the GPUs reached and got, as far as they came; return the digest that all of them had."""
    amount = 2 * seats[0].product.size ** 3 / TERA
    found.numbers += [number_of(METRIC, amount, seat.times_s, device=seat.gpu.uuid) for seat in seats]
    by_model: dict[str, dict[str, Sequence[str]]] = {}
    for seat in seats:
        if seat.digests:
            by_model.setdefault(seat.gpu.model, {})[seat.gpu.uuid] = seat.digests
    is_one_kind = len(by_model) == 1
    for results in by_model.values():
        found.faults += screen(results, golden if is_one_kind else "")
    return agreed(next(iter(by_model.values()))) if is_one_kind else ""


def _golden(wished: str, version: str) -> tuple[str, tuple[str, ...]]:
    """Return the golden digest, empty where it is none for this library, and what people should know of that."""
    if not wished:
        return "", ("no golden vector was given: the GPUs of this host were compared with each other alone",)
    digests = dict(each.rpartition(":")[::2] for each in wished.split(","))
    if version not in digests:
        versions = ", ".join(sorted(digests))
        return "", (f"the golden vector is of cuBLASLt {versions or '?'} and this is {version}: it was not used",)
    return digests[version], ()


if __name__ == "__main__":
    carry_out(run)
