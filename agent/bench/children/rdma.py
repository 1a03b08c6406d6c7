"""`bench.rdma`: what RDMA writes reach on each adapter of this host, as a share of its port's line rate.

In `loopback` an adapter writes to itself: that tests the adapter, its slot and the way to memory, and no cable. In
`pairs` each writes to the next of the same fabric, through its cable and the switch, which isolated rails do not carry.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from statistics import median, pstdev
from typing import Final

from agent.bench.child import Broken, NotHere, Progress, Say, carry_out
from agent.bench.nvidia_files import NvidiaGpu, kind_of, nvidia_driver, nvidia_gpus
from agent.bench.perftest import (
    LATENCY_ROUNDS,
    MARGIN_S,
    MESSAGE_BYTES,
    Means,
    Route,
    look_for_perftest,
    write_bandwidth,
    write_latency,
)
from agent.bench.programs import end_with_term
from agent.bench.rdma_ports import RdmaPortAtHand, ports_at_hand, slower_than_siblings
from agent.bench.wishes import choice_option, number_option
from checks.bench_outcome import Outcome
from checks.bench_result import BenchFault, BenchMachine, Benchmark, BenchNumber, BenchResult
from wire.bench import BenchWish

BANDWIDTH: Final = "rdma_write"
LATENCY: Final = "rdma_write_latency"

LOOPBACK, PAIRS = "loopback", "pairs"
AUTO, HOST, GPU = "auto", "host", "gpu"
MICROSECOND: Final = 1e-6

LEAST_SECONDS: Final = 2 * MARGIN_S + 1
MOST_SECONDS: Final = 10
LEAST_RUN_S: Final = 1.0
"""What a run takes with its start, at the least. Source: our choice."""

REPEATS: Final = {1: 1}
MOST_REPEATS: Final = 3
"""Runs of each route, of which the median counts: one where seconds matter. Source: our choice, as one shot must not
decide, and the 30 s of the first tier leave room for no more."""

RUN_LIMIT_S: Final = 60.0
"""For one run with its start. Source: our choice; with memory of a GPU a start takes seconds."""

SHARE_OF_LIMIT: Final = 0.9


@dataclass(frozen=True, slots=True)
class _Plan:
    routes: tuple[Route, ...]
    repeats: int
    seconds: int
    line_gbits: float | None
    ends_s: float


def run(
    wish: BenchWish,
    say: Say,
    *,
    root: Path = Path("/"),
    monotonic: Callable[[], float] = time.monotonic,
) -> BenchResult:
    """Measure every active port.

    Options: `mode`, `loopback` or `pairs`; `memory`, `host`, `gpu`, or `auto` for the GPUs' where perftest was built
    for them; `adapters`, a list with commas; `seconds` of a run; `line_rate_gbits`, in place of the rate that the port
    has now.

    Raises:
        NotHere: there is no adapter, no perftest, or no two ports of one fabric to pair.
        Broken: adapters have no active port, or no route gave a number.
    """
    ends_s = monotonic() + SHARE_OF_LIMIT * wish.limit_s
    gpus = nvidia_gpus(root)
    ports, idle = _chosen(wish, root, gpus)
    means = look_for_perftest()
    plan = _plan(wish, _routes(wish, ports, means), ends_s)
    numbers, failures = _measure(plan, say, monotonic)
    if all(number.value is None for number in numbers):
        raise Broken(failures[0])
    faults = tuple(_slow(port, best_gbits) for port, best_gbits in slower_than_siblings(ports))
    notes = (*_said_beside(wish, plan, idle), *failures)
    machine = BenchMachine(kind_of(gpu.model for gpu in gpus), nvidia_driver(root), gpus=len(gpus))
    measured = sum(number.value is not None for number in numbers if number.metric == BANDWIDTH)
    because = f"{measured} of {len(plan.routes)} routes were measured."
    return BenchResult(Benchmark.RDMA, Outcome.PASS, because, numbers, faults, machine, notes=notes)


def _chosen(
    wish: BenchWish, root: Path, gpus: Sequence[NvidiaGpu]
) -> tuple[tuple[RdmaPortAtHand, ...], tuple[str, ...]]:
    ports, idle = ports_at_hand(root, [gpu.pci for gpu in gpus])
    if not ports and not idle:
        raise NotHere("this host has no RDMA adapter")
    if wanted := {name.strip() for name in wish.options.get("adapters", "").split(",") if name.strip()}:
        missing = wanted - {port.adapter for port in ports}
        if missing:
            raise Broken(f"option adapters: {', '.join(sorted(missing))} has no active port here")
        ports, idle = tuple(port for port in ports if port.adapter in wanted), ()
    if not ports:
        raise Broken(f"none of the adapters {', '.join(idle)} has an active port")
    return ports, idle


def _routes(wish: BenchWish, ports: Sequence[RdmaPortAtHand], means: Means) -> tuple[Route, ...]:
    """Return what is measured: each port with itself, or with the next one of its fabric.

    Raises:
        NotHere: there are no two ports of one fabric.
        Broken: memory of GPUs is wanted and cannot be used.
    """
    memory = choice_option(wish, "memory", (AUTO, HOST, GPU))
    if memory == GPU and not (means.gpu_memory and all(port.gpu for port in ports)):
        raise Broken("option memory: perftest was not built for GPUs here, or an adapter has no GPU near it")
    if choice_option(wish, "mode", (LOOPBACK, PAIRS)) == LOOPBACK:
        ends = [(port, port) for port in ports]
    else:
        ends = list(_neighbours(ports))
    if not ends:
        raise NotHere("no two ports of this host are of one fabric, so there is no pair")
    on_gpus = memory != HOST and means.gpu_memory
    return tuple(Route(one, other, on_gpus and bool(one.gpu and other.gpu)) for one, other in ends)


def _neighbours(ports: Sequence[RdmaPortAtHand]) -> Iterator[tuple[RdmaPortAtHand, RdmaPortAtHand]]:
    """Yield each port with the next of its fabric, the last with the first: each sends once and receives once."""
    by_fabric = sorted(ports, key=lambda port: (port.fabric, port.adapter, port.port))
    for _, group in groupby(by_fabric, lambda port: port.fabric):
        ring = list(group)
        if len(ring) > 1:
            yield from zip(ring, [*ring[1:], ring[0]], strict=True)


def _plan(wish: BenchWish, routes: tuple[Route, ...], ends_s: float) -> _Plan:
    usual = 0 if wish.tier in REPEATS else LEAST_SECONDS
    seconds = int(number_option(wish, "seconds", usual, least=LEAST_SECONDS, most=MOST_SECONDS))
    rate = number_option(wish, "line_rate_gbits", 0.0, least=0.0, most=10_000.0)
    return _Plan(routes, REPEATS.get(wish.tier, MOST_REPEATS), seconds, rate or None, ends_s)


def _measure(plan: _Plan, say: Say, monotonic: Callable[[], float]) -> tuple[tuple[BenchNumber, ...], tuple[str, ...]]:
    """Return the numbers of every route, without a value where it could not be measured, and why."""
    numbers: list[BenchNumber] = []
    notes: list[str] = []
    for place, route in enumerate(plan.routes):
        say(Progress(place / len(plan.routes), f"RDMA writes on {route.name}"))
        for metric, measure in ((BANDWIDTH, _bandwidth), (LATENCY, _latency)):
            try:
                numbers.append(measure(route, plan, monotonic))
            except Broken as failure:
                numbers.append(BenchNumber(metric, None, route.name))
                notes.append(str(failure))
    return tuple(numbers), tuple(dict.fromkeys(notes))


def _bandwidth(route: Route, plan: _Plan, monotonic: Callable[[], float]) -> BenchNumber:
    rates: list[float] = []
    for _ in range(plan.repeats):
        left_s = min(RUN_LIMIT_S, plan.ends_s - monotonic())
        if left_s < max(plan.seconds, LEAST_RUN_S):
            break
        rates.append(write_bandwidth(route, plan.seconds, left_s))
    if not rates:
        raise Broken(f"no time was left to measure {route.name}")
    line_gbits = plan.line_gbits or min(route.source.rate_gbits, route.target.rate_gbits)
    middle = median(rates)
    return BenchNumber(
        BANDWIDTH,
        100.0 * middle / line_gbits,
        route.name,
        size_bytes=MESSAGE_BYTES,
        way=GPU if route.gpus else HOST,
        variation=pstdev(rates) / middle if middle else 0.0,
        samples=len(rates),
    )


def _latency(route: Route, plan: _Plan, monotonic: Callable[[], float]) -> BenchNumber:
    left_s = min(RUN_LIMIT_S, plan.ends_s - monotonic())
    if left_s <= 0.0:
        raise Broken(f"no time was left to measure the latency of {route.name}")
    typical_us, slow_us = write_latency(Route(route.source, route.target), left_s)
    return BenchNumber(
        LATENCY,
        typical_us,
        route.name,
        p50_s=typical_us * MICROSECOND,
        p99_s=slow_us * MICROSECOND,
        samples=LATENCY_ROUNDS,
    )


def _slow(port: RdmaPortAtHand, best_gbits: float) -> BenchFault:
    because = f"{port.name} runs at {port.rate_gbits:g} Gb/s, and another of the same board at {best_gbits:g} Gb/s."
    return BenchFault("rate_below_siblings", because, port.name, Outcome.WARN)


def _said_beside(wish: BenchWish, plan: _Plan, idle: Sequence[str]) -> Iterator[str]:
    if choice_option(wish, "mode", (LOOPBACK, PAIRS)) == LOOPBACK:
        yield "each adapter wrote to itself: no cable and no switch was tested"
    if not any(route.gpus for route in plan.routes):
        yield "the memory was the host's: the way from the adapter to its GPU was not tested"
    if idle:
        yield f"no active port: {', '.join(idle)}"


if __name__ == "__main__":
    end_with_term()
    carry_out(run)
