"""What a benchmark on an idle node is worth: the loss that it is expected to prevent for each GPU-minute that it costs.

Faults that no counter shows come at a rate, and stay until a benchmark finds them. Each benchmark finds a share of each
class of them, so that what passed lately is worth nothing now, and what never ran is worth most. Pure: numbers in,
numbers out.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

from checks.bench_result import Benchmark

DAY_S = 86_400.0

EARLY_S = 14 * DAY_S
EARLY_TIMES = 4.0
"""So long a node is new, and fails so much more often. Source: the fault model, early life."""

LATENT = 0.10
"""Probability that a node comes with a fault that no counter shows. Source: SuperBench, by the fault model: 10 % of new
nodes."""

SUSPECTED = 0.2
"""Probability that a symptom short of a failure is the beginning of a fault. Source: our choice; link flaps that need
somebody are 1 in 20, and corrected errors that grow are more often something than that."""


@dataclass(frozen=True, slots=True)
class Hidden:
    """A class of faults that no counter shows.

    Attributes:
        per_day: rate of a node of the fleet.
        recall: benchmark → share of them that it finds; none is found by what is not here.
        families: first words of the checks whose milder findings make one more likely.
    """

    name: str
    per_day: float
    recall: Mapping[Benchmark, float]
    families: frozenset[str]


_GPU = frozenset({"gpu", "peer", "node"})
_FABRIC = frozenset({"fabric", "peer", "node"})

HIDDEN = (
    Hidden(
        "nvlink",
        0.15e-3,
        {Benchmark.NCCL_ALL_REDUCE: 0.9, Benchmark.GPU_BANDWIDTH: 0.6, Benchmark.DCGM: 0.5},
        _GPU | _FABRIC,
    ),
    Hidden("pcie", 0.17e-3, {Benchmark.GPU_BANDWIDTH: 0.9, Benchmark.DCGM: 0.3}, _GPU),
    Hidden("compute", 0.10e-3, {Benchmark.GEMM: 0.8, Benchmark.DCGM: 0.7}, _GPU),
    Hidden("corruption", 0.06e-3, {Benchmark.GEMM: 0.4, Benchmark.DCGM: 0.7}, _GPU),
    Hidden("adapter", 0.10e-3, {Benchmark.RDMA: 0.8}, _FABRIC),
    Hidden("disk", 0.03e-3, {Benchmark.STORAGE: 0.8}, frozenset({"host", "storage", "node"})),
)
"""Source of the rates: the fault model's F6; F7 without its Xids (57 %); a tenth of F2, which shows in a failed matrix
product alone; F16; F9 and the optics of F10 that run at half rate; a tenth of F15. Source of the recalls: gemm finds
less than 40 % of corruption and a vendor's diagnostic 70 % (fault model, F16); the others are our estimates, as none
are published, and only their order matters for what is run first."""

_RATE = sum(each.per_day for each in HIDDEN)


@dataclass(frozen=True, slots=True)
class Symptom:
    """Something short of a failure that stands. `family`: first word of its check."""

    family: str
    since: float


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of one node.

    Attributes:
        ratio: how often it fails, as a multiple of the fleet's rate.
        passed: benchmark → when it last passed.
    """

    gpus: int
    known_since: float
    ratio: float = 1.0
    passed: Mapping[Benchmark, float] = field(default_factory=dict)
    symptoms: tuple[Symptom, ...] = ()


@dataclass(frozen=True, slots=True)
class Pick:
    """A benchmark and why.

    Attributes:
        finds: probability that it finds a fault now.
        gpu_minutes: what it costs at the most.
        value: GPU-minutes of jobs that it saves for each one it costs.
    """

    benchmark: Benchmark
    finds: float
    gpu_minutes: float
    value: float


def picks(
    record: Record, benchmarks: Collection[Benchmark], now: float, *, limit_s: float, loss: float, least: float
) -> Iterator[Pick]:
    """Yield what to run on a node, the most valuable first, each valued as if those before it had passed.

    Args:
        limit_s: how long a benchmark may take, which is what it costs all GPUs of the node.
        loss: GPU-minutes that a job loses to a fault that was not found.
        least: nothing that is worth less for each of its GPU-minutes.
    """
    left, cost = sorted(benchmarks), record.gpus * limit_s / 60.0
    while left and cost > 0.0:
        chances = {each: finds(each, record, now) for each in left}
        best = max(left, key=lambda each: chances[each])
        pick = Pick(best, chances[best], cost, chances[best] * loss / cost)
        if pick.value < least or not pick.finds:
            return
        yield pick
        left.remove(best)
        record = replace(record, passed={**record.passed, best: now})


def finds(benchmark: Benchmark, record: Record, now: float) -> float:
    """Return the probability that a benchmark finds a fault of a node now.

    What it missed once it misses again, so that only what came after its own last pass counts, as far as no other
    benchmark has found it since.
    """
    known, passed = record.known_since, record.passed
    own = min(now, passed.get(benchmark, -math.inf))
    since = own if own >= known else -math.inf
    missed = 1.0
    for kind, recall in _FOUND_BY[benchmark]:
        others = [
            (min(now, passed[name]), missing)
            for name, missing in _MISSED_BY[kind.name]
            if name != benchmark and known <= passed.get(name, -math.inf) and passed[name] > since
        ]
        others.sort()
        missed *= 1.0 - recall * _chance(kind, record, since, others, now)
    return 1.0 - missed


_FOUND_BY = {each: [(kind, kind.recall[each]) for kind in HIDDEN if each in kind.recall] for each in Benchmark}
_MISSED_BY = {kind.name: [(each, 1.0 - recall) for each, recall in kind.recall.items()] for kind in HIDDEN}

_Passes = list[tuple[float, float]]
"""When others passed, oldest first, and the share of the class that each of them misses."""


def _chance(kind: Hidden, record: Record, since: float, others: _Passes, now: float) -> float:
    """Return the probability that a fault of a class came after a moment, and that nothing has found it."""
    days, begin, known = 0.0, max(since, record.known_since), record.known_since
    for end, _ in others:
        days += _unfound(others, begin) * _days(begin, end, known)
        begin = max(begin, end)
    days += _days(begin, now, known)
    expected = kind.per_day * record.ratio * days
    if since < known:
        expected += LATENT * kind.per_day / _RATE * _unfound(others, since)
    symptoms = [each.since for each in record.symptoms if each.family in kind.families and each.since > since]
    suspected = SUSPECTED * _unfound(others, max(symptoms)) if symptoms else 0.0
    return 1.0 - math.exp(-expected) * (1.0 - suspected)


def _unfound(others: _Passes, at: float) -> float:
    """Return how likely a fault that is there at a moment was found by none that passed after it."""
    return math.prod(missing for passed_at, missing in others if passed_at > at)


def _days(begin: float, end: float, known_since: float) -> float:
    """Return the days of a span, those of early life counted so many times."""
    if end <= begin:
        return 0.0
    early = max(0.0, min(end, known_since + EARLY_S) - begin)
    return (end - begin + (EARLY_TIMES - 1.0) * early) / DAY_S
