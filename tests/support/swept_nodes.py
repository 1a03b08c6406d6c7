"""Nodes of a simulated network that run what sweeps ask of them: numbers as the network gives them, and its mishaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.simulated_fabric import RAILS, Network
from checks.bench_outcome import Outcome
from checks.bench_result import BenchMachine, Benchmark, BenchNumber, BenchResult
from controller.policy.localising.fabric import ALL

PAIR, GROUP, RAIL = "two_node_all_reduce", "group_all_reduce", "lane_all_reduce"
SIZE_BYTES = 1 << 30
MACHINE = BenchMachine("H100", "580.65.06", "2.28.3", gpus=RAILS)
REACHED = {ALL: 370.0}
"""GB/s of a healthy group; the rails share them."""

DECLINE = 0.003
"""How much less a group reaches for each node more: bus bandwidth depends a little on it."""


@dataclass(slots=True)
class SweptNodes:
    """The other end of the wire.

    Attributes:
        hung: nodes whose rank starts and never ends.
        absent: nodes whose rank never starts.
        names_missing: whether the others say who is absent, or cannot tell.
        busy: node → why it skips what it is asked.
        wrong: nodes whose sums are wrong, which every rank of their group sees.
        groups: every group that was run, in order.
    """

    network: Network
    hung: set[str] = field(default_factory=set)
    absent: set[str] = field(default_factory=set)
    names_missing: bool = True
    busy: dict[str, str] = field(default_factory=dict)
    wrong: set[str] = field(default_factory=set)
    groups: list[tuple[str, ...]] = field(default_factory=list)

    def run(self, nodes: Sequence[str]) -> dict[str, BenchResult]:
        """Return what each rank says, node by node; nothing of those that say nothing."""
        self.groups.append(tuple(nodes))
        silent = (self.hung | self.absent) & set(nodes)
        if self.busy.keys() & set(nodes):
            skips = self.busy.keys() & set(nodes)
            return {node: _result(Outcome.SKIP, self.busy[node]) for node in sorted(skips)}
        if self.hung & set(nodes) or nodes[0] in silent:
            return {}
        if silent:
            missing = tuple(sorted(silent)) if self.names_missing else ()
            error = _result(Outcome.ERROR, "not every rank arrived", missing=missing)
            return {node: error for node in nodes if node not in silent}
        if self.network.dice.random() < self.network.noise.error:
            return {node: _result(Outcome.ERROR, "the collective ended with an error") for node in nodes}
        numbers = tuple(self._number(lane, share, nodes) for lane, share in self.network.measure(nodes).items())
        if self.wrong & set(nodes):
            return {node: _result(Outcome.FAIL, "7 of 268435456 sums are wrong.", numbers) for node in nodes}
        return {node: _result(Outcome.PASS, "Measured.", numbers) for node in nodes}

    def _number(self, lane: str, share: float, nodes: Sequence[str]) -> BenchNumber:
        usual = REACHED[ALL] * (1.0 - DECLINE * len(nodes))
        value = share * (usual if lane == ALL else usual / RAILS)
        metric = RAIL if lane != ALL else PAIR if len(nodes) == 2 else GROUP
        return BenchNumber(metric, value, lane=lane, size_bytes=SIZE_BYTES, samples=20)


def _result(
    outcome: Outcome, because: str, numbers: tuple[BenchNumber, ...] = (), missing: tuple[str, ...] = ()
) -> BenchResult:
    return BenchResult(Benchmark.NCCL_ALL_REDUCE, outcome, because, numbers, machine=MACHINE, missing=missing)
