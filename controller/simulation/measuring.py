"""Benchmarks on simulated nodes: what a lease asks for is run, takes its time, and finds what the model says."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from checks.bench_outcome import Outcome
from checks.bench_result import BenchFault, BenchMachine, Benchmark, BenchNumber, BenchResult
from checks.finding import FindingKey
from controller.bench_events import BenchAsked, BenchEnded, LeaseGranted
from controller.policy.benching.findings import check_of
from controller.simulation.draws import time_s
from controller.simulation.fleet import GPU_MODEL
from controller.simulation.people import TECHNICIAN

if TYPE_CHECKING:
    from controller.simulation.world import Node, World

WAIT_S: Final = 3_600.0
"""So long people wait for a node that they want to measure. Source: our choice."""

WRONG: Final = "wrong_result"

MESSAGE_BYTES: Final = 8 * 2**30
"""Of what NCCL is measured with. Source: checks/data/bench_limits.json."""


@dataclass(slots=True)
class Measuring:
    """The benchmarks of all nodes."""

    world: World

    def lease(self, granted: LeaseGranted) -> None:
        """Run a benchmark on the node of a lease."""
        node, benchmark = self.world.nodes.get(granted.node), Benchmark(granted.benchmark)
        if node is not None and benchmark in self.world.model.benchmarks:
            clock = self.world.clock
            takes_s = time_s(node.stream, self.world.model.benchmarks[benchmark].takes)
            clock.after(takes_s, partial(self._ended, granted.lease_id, node, benchmark, clock.now))

    def admit(self, node: Node) -> None:
        """Have people measure a node that has another part, while it is out."""
        clock = self.world.clock
        run = f"admission.{node.host.name}.{sum(node.parts.swapped.values())}"
        names = [str(each) for each in clock.rules.when.benchmarks]
        because = f"{node.host.name} has other parts."
        clock.happen(BenchAsked(run, [node.host.name], names, 1, "admission", TECHNICIAN, because, wait_s=WAIT_S))

    def _ended(self, lease_id: str, node: Node, benchmark: Benchmark, began: float) -> None:
        if not node.down and lease_id in self.world.clock.belief.bench.leases:
            now = self.world.clock.now
            self.world.clock.happen(BenchEnded(node.host.name, lease_id, self._result(node, benchmark), began, now))

    def _result(self, node: Node, benchmark: Benchmark) -> BenchResult:
        faults = [fault for fault in node.faults if benchmark in fault.found_by]
        for fault in faults:
            fault.is_told = True
            node.shown[FindingKey(check_of(benchmark), self.world.device(node, fault), WRONG)] = fault
        said = tuple(
            BenchFault(WRONG, f"{each.place} computes wrong.", self.world.device(node, each)) for each in faults
        )
        because = "A result was wrong." if said else "It was as it should be."
        outcome, model = Outcome.FAIL if said else Outcome.PASS, self.world.model.benchmarks[benchmark]
        numbers = (BenchNumber(model.metric, model.value, size_bytes=MESSAGE_BYTES),) if model.metric else ()
        return BenchResult(benchmark, outcome, because, numbers, said, BenchMachine(GPU_MODEL))
