"""How well the localiser finds a fault in a simulated network, and what it takes, beside pairing nodes as others do.

Every seed is a network of 16 to 1,024 nodes with one fault: a node, the NVLinks inside one, a node's link on one rail,
a leaf, an uplink, a spine. Two results in a hundred are wrong, some end in an error, some nodes are taken away
meanwhile. A fault is found when the verdict names it and says rightly whether it is a node, a link or a switch; every
other verdict is a false accusation. The networks of all methods are the same. Exit code 1 when an aim is missed.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final

from benchmarks.pairing import Named, dlrover, exhaustive, health_scanner
from benchmarks.report import Row, percentile, publish
from benchmarks.simulated_fabric import KINDS, Fault, Network, Noise, network
from controller.policy.localising.sweep import Departed, Run, Step, advance, begin
from controller.policy.localising.trials import State
from controller.policy.localising.verdicts import Diagnosis, Kind, Verdict

LEAST_RECALL: Final = 0.99
MOST_FALSE: Final = 0.001
"""Per node and sweep. Source: the project's own statement of the problem."""

NOISES: Final = (0.0, 0.01, 0.02, 0.05, 0.1)
BANDS: Final = ((16, 32), (48, 128), (192, 384), (512, 1024))
PAIRED: Final = 128
"""Most nodes of a network in which every node meets every other: there are 8,128 pairs, and half a million in 1,024."""

METHODS: Final = (
    ("DLRover's two rounds", dlrover),
    ("CHS's random pairs", health_scanner),
    ("all pairs", exhaustive),
)

OF_NODES: Final = frozenset({"node", "inside", "port"})
"""Faults that lie at one node, which is all that pairs can name."""


@dataclass(frozen=True, slots=True)
class Swept:
    """What became of one network.

    Attributes:
        faults: kinds of the faults that could be found; one at a node that was taken away could not.
        found: kinds of those that were.
        accused: verdicts against nodes and their links that are well; `blamed`: against switches and uplinks.
    """

    size: int
    faults: tuple[str, ...]
    found: tuple[str, ...]
    accused: int
    blamed: int
    stopped: bool
    doubts: int
    tests: int
    rounds: int


def sweep(made: Network, seed: int) -> tuple[State, Diagnosis]:
    """Return how a sweep over the network ends."""
    state, step = advance(begin(made.seen(), seed=str(seed)))
    while isinstance(step, Run):
        state, step = _round(made, state, step)
    return state, step


def _round(made: Network, state: State, run: Run) -> tuple[State, Step]:
    step: Step = run
    for group in run.groups:
        gone = made.departing(group.nodes)
        happened = Departed(gone, "a job came") if gone else made.run(group.number, group.nodes)
        state, step = advance(state, happened)
    return state, step


def is_named(made: Network, fault: Fault, verdict: Verdict) -> bool:
    """Return whether the verdict is about this fault and calls it by its kind."""
    leaf = made.leaf(fault.unit, fault.rail)
    kind, part = {
        "node": (Kind.NODE, fault.node),
        "inside": (Kind.NODE, fault.node),
        "port": (Kind.LINK, f"{fault.node} rail {fault.rail}"),
        "leaf": (Kind.SWITCH, leaf),
        "uplink": (Kind.LINK, f"uplinks of {leaf}"),
        "spine": (Kind.SWITCH, "the spines"),
    }[fault.kind]
    return verdict.kind is kind and part in verdict.parts


def localised(seed: int, *, faults: int = 1, noise: Noise | None = None) -> Swept:
    """Return what the localiser makes of the network of a seed."""
    made = network(seed, faults=faults, noise=noise)
    state, said = sweep(made, seed)
    there = [fault for fault in made.faults if fault.kind not in OF_NODES or fault.node not in state.left]
    found = [fault for fault in there if any(is_named(made, fault, verdict) for verdict in said.verdicts)]
    wrong = [verdict for verdict in said.verdicts if not any(is_named(made, f, verdict) for f in made.faults)]
    return Swept(
        made.size,
        tuple(fault.kind for fault in there),
        tuple(fault.kind for fault in found),
        sum(len(verdict.nodes) == 1 for verdict in wrong),
        sum(len(verdict.nodes) != 1 for verdict in wrong),
        said.stopped is not None,
        len(said.doubts),
        said.tests,
        said.rounds,
    )


def paired(method: Callable[[Network], Named], seed: int) -> Swept | None:
    """Return what pairing makes of it, `None` when that would take too long."""
    made = network(seed)
    if method is exhaustive and made.size > PAIRED:
        return None
    named = method(made)
    bad = {fault.node for fault in made.faults if fault.kind in OF_NODES}
    kinds = tuple(fault.kind for fault in made.faults)
    found = tuple(fault.kind for fault in made.faults if fault.kind in OF_NODES and fault.node in named.nodes)
    return Swept(made.size, kinds, found, len(named.nodes - bad), 0, False, 0, named.tests, named.rounds)


# --- figures ---------------------------------------------------------------------------------------------------------


def recall(swept: Iterable[Swept], kinds: Iterable[str] = KINDS) -> float:
    """Return the share of the faults of these kinds that were found."""
    wanted = frozenset(kinds)
    pairs = [(_count(each.found, wanted), _count(each.faults, wanted)) for each in swept]
    faults = sum(count for _, count in pairs)
    return sum(found for found, _ in pairs) / faults if faults else 1.0


def _count(kinds: Iterable[str], wanted: frozenset[str]) -> int:
    return sum(kind in wanted for kind in kinds)


def false_rate(swept: Sequence[Swept]) -> float:
    """Return the false accusations per node and sweep, those of switches and uplinks included."""
    return sum(each.accused + each.blamed for each in swept) / max(1, sum(each.size for each in swept))


def _at_node(swept: Sequence[Swept]) -> list[Swept]:
    return [each for each in swept if each.faults and OF_NODES.issuperset(each.faults)]


def rows_of(what: str, swept: Sequence[Swept], *, aims: bool = False) -> Iterator[Row]:
    """Yield recall, false accusations and cost of a set of sweeps."""
    yield Row(f"{what}: found", 100 * recall(swept), "%", f"≥ {100 * LEAST_RECALL:g}" if aims else "")
    most = f"≤ {100 * MOST_FALSE:g}" if aims else ""
    yield Row(f"{what}: false accusations a node", 100 * false_rate(swept), "%", most)
    yield Row(f"{what}: tests, median", statistics.median(each.tests for each in swept), "")
    yield Row(f"{what}: rounds, median", statistics.median(each.rounds for each in swept), "")


def _main_rows(swept: Sequence[Swept]) -> Iterator[Row]:
    yield Row("networks", len(swept), "")
    yield Row("nodes swept", sum(each.size for each in swept), "")
    yield from rows_of("one fault", swept, aims=True)
    for kind in sorted({kind for each in swept for kind in each.faults}):
        count = sum(kind in each.faults for each in swept)
        yield Row(f"one fault: found, {kind} ({count})", 100 * recall(swept, {kind}), "%")
    yield Row("one fault: nodes and their links falsely accused", sum(each.accused for each in swept), "")
    yield Row("one fault: switches and uplinks falsely accused", sum(each.blamed for each in swept), "")
    yield Row("one fault: sweeps stopped for a person", sum(each.stopped for each in swept), "")
    yield Row("one fault: sweeps that left doubts", sum(each.doubts > 0 for each in swept), "")
    yield Row("one fault: rounds, p99", percentile([each.rounds for each in swept], 0.99), "")
    for least, most in BANDS:
        band = [each for each in swept if least <= each.size <= most]
        if band:
            yield from rows_of(f"{least} to {most:,} nodes", band)
            pairs = statistics.median(each.size * (each.size - 1) // 2 for each in band)
            yield Row(f"{least} to {most:,} nodes: all pairs would be", pairs, "")


def _baseline_rows(pool: ProcessPoolExecutor, seeds: range, ours: Sequence[Swept]) -> Iterator[Row]:
    yield Row("ours: found, of faults at a node", 100 * recall(ours, OF_NODES), "%")
    yield Row("ours: false accusations there", 100 * false_rate(_at_node(ours)), "%")
    for name, method in (
        ("DLRover's two rounds", dlrover),
        ("CHS's random pairs", health_scanner),
        ("all pairs", exhaustive),
    ):
        swept = [each for each in pool.map(partial(paired, method), seeds, chunksize=8) if each is not None]
        if swept:
            limited = f" (up to {PAIRED} nodes)" if method is exhaustive else ""
            yield Row(f"{name}{limited}: found, of faults at a node", 100 * recall(swept, OF_NODES), "%")
            yield Row(f"{name}{limited}: false accusations there", 100 * false_rate(_at_node(swept)), "%")
            yield from rows_of(f"{name}{limited}", swept)


def measure(fabrics: int) -> tuple[list[Row], bool]:
    """Return the figures, and whether the aims are reached."""
    seeds, fewer = range(fabrics), range(fabrics, fabrics + max(1, fabrics // 4))
    with ProcessPoolExecutor() as pool:
        ours = list(pool.map(localised, seeds, chunksize=8))
        rows = list(_main_rows(ours))
        for wrong in NOISES:
            noisy = pool.map(partial(localised, noise=Noise(wrong=wrong)), fewer, chunksize=8)
            rows += rows_of(f"{100 * wrong:g} % of results wrong", list(noisy))
        healthy = pool.map(partial(localised, faults=0), fewer, chunksize=8)
        rows += list(rows_of("no fault", list(healthy)))[1:]
        rows += rows_of("two faults", list(pool.map(partial(localised, faults=2), fewer, chunksize=8)))
        rows += _baseline_rows(pool, seeds, ours)
    return rows, recall(ours) >= LEAST_RECALL and false_rate(ours) <= MOST_FALSE


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fabrics", type=int, default=1_000, help="networks with one fault; others are fewer")
    rows, reached = measure(parser.parse_args().fabrics)
    publish("localise", rows, about="one fault in simulated networks, 2 % of results wrong")
    sys.exit(0 if reached else 1)


if __name__ == "__main__":
    main()
