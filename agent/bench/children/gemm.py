"""`bench.gemm`: what each GPU reaches when it multiplies matrices, and whether it gets the same bits as the others.

All GPUs multiply at once, as they do in a job, so that power and cooling are those of a job. The results are copied out
now and then and compared bit by bit, which finds a GPU that computes wrongly and says nothing.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from ctypes import c_void_p
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import msgspec

from agent.bench.child import Progress, Say, carry_out
from agent.bench.cublaslt import CublasLt, MatrixProduct, load_cublaslt
from agent.bench.cuda import Context, Gpu, Stream
from agent.bench.golden import agreed, screen
from agent.bench.gpu_machine import machine_of
from agent.bench.laps import Laps, at_once
from agent.bench.matrices import PATTERN_BYTES, SEED, digest_of, fill, pattern
from agent.bench.nearness import near
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
    """One GPU at work. `host`: address of the host's memory for its result; `copied`: the mark behind a copy."""

    context: Context
    stream: Stream
    product: MatrixProduct
    host: int
    copied: c_void_p
    times_s: list[float] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)

    @property
    def gpu(self) -> Gpu:
        return self.context.gpu


def run(wish: BenchWish, say: Say, *, size: int = SIZE, watch: Watch | None = None) -> BenchResult:
    """Multiply on every GPU.

    Options: `golden`, `<version of cuBLASLt>:<digest>` as an earlier result says it in `digest`; `seconds`.

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
    return msgspec.structs.replace(result, digest=f"{library.version}:{alike}" if alike else "")


def _seat(library: CublasLt, context: Context, size: int, taken: ExitStack) -> _Seat:
    product = MatrixProduct(library, context, size, taken)
    with near(context.gpu.pci):
        host = context.allocate_host(max(product.result_bytes, PATTERN_BYTES))
    return _Seat(context, context.stream(), product, host, context.event())


def _multiply(seats: Sequence[_Seat], seconds: float, watch: Watch, say: Say) -> None:
    """Multiply in chunks of at most a second, and look at the results of each while the GPUs go on with the next."""
    _fill(seats, watch)
    laps = Laps([seat.stream for seat in seats])
    count = at_once(max(times[-1] for times in _timed(seats, laps, WARM_UP, watch)))
    began_s, took_s, looks = watch.monotonic(), 0.0, list[Future[str]]()
    with ThreadPoolExecutor(len(seats)) as lookers:
        while _goes_on(
            len(seats[0].digests) + bool(looks), seconds - watch.monotonic() + began_s, watch.left_s, took_s
        ):
            started_s = watch.monotonic()
            timed = _timed(seats, laps, count, watch)
            for seat, times in zip(seats, timed, strict=True):
                seat.times_s.extend(times)
            _keep(seats, looks)
            _copy_out(seats, watch)
            looks = [lookers.submit(digest_of, seat.host, seat.product.result_bytes) for seat in seats]
            took_s = watch.monotonic() - started_s
            share = min(1.0, (watch.monotonic() - began_s) / seconds)
            say(Progress(share, f"matrix products on {len(seats)} GPUs"))
        _keep(seats, looks)


def _goes_on(looks: int, wanted_s: float, left_s: float, chunk_s: float) -> bool:
    """Return whether there is another chunk: until there are enough looks, then for as long as is wanted and left."""
    return looks < LEAST_LOOKS or (wanted_s > 0.0 and left_s > 2 * chunk_s)


def _keep(seats: Sequence[_Seat], looks: Sequence[Future[str]]) -> None:
    for seat, look in zip(seats, looks, strict=False):
        seat.digests.append(look.result())


def _fill(seats: Sequence[_Seat], watch: Watch) -> None:
    values = pattern(SEED, PATTERN_BYTES)
    for seat in seats:
        ctypes.memmove(seat.host, values, len(values))
        fill(seat.product, seat.stream, seat.host, len(values))
    _await_copies(seats, watch)


def _timed(seats: Sequence[_Seat], laps: Laps, count: int, watch: Watch) -> list[list[float]]:
    def queue() -> None:
        for seat in seats:
            seat.product.queue(seat.stream)

    return laps.timed(queue, count, watch.within(HANG_S), what="the multiplication of matrices")


def _copy_out(seats: Sequence[_Seat], watch: Watch) -> None:
    for seat in seats:
        seat.stream.copy_out(seat.host, seat.product.result, seat.product.result_bytes)
    _await_copies(seats, watch)


def _await_copies(seats: Sequence[_Seat], watch: Watch) -> None:
    for seat in seats:
        seat.stream.mark(seat.copied)
    for seat in seats:
        watch.within(HANG_S).until(partial(seat.context.is_reached, seat.copied), f"a copy of GPU {seat.gpu.uuid}")


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
    of_version, _, digest = wished.rpartition(":")
    if not wished:
        return "", ("no golden vector was given: the GPUs of this host were compared with each other alone",)
    if of_version != version:
        return "", (f"the golden vector is of cuBLASLt {of_version or '?'} and this is {version}: it was not used",)
    return digest, ()


if __name__ == "__main__":
    carry_out(run)
