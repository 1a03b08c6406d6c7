"""Runs of benchmarks without a shell: nodes that come back with numbers, as the policy sees them."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from checks.bench_outcome import Outcome
from checks.bench_result import BenchFault, BenchMachine, Benchmark, BenchNumber, BenchResult
from controller import events
from controller.bench_events import BenchAsked, BenchEnded, BenchJudged, LeaseGranted
from controller.policy.benching.bench_rules import BenchRules
from controller.policy.rules import Budget, Rules
from tests.support.policy import PolicyRun
from wire.messages import NodeFacts

H100 = BenchMachine("NVIDIA H100 80GB HBM3", "550.90.07", "2.21.5", "8 GPUs", 8)
GPU = "GPU-11111111-1111-1111-1111-111111111111"


def memory_read(value: float | None, *, device: str = GPU, size_bytes: int = 1 << 30) -> BenchNumber:
    """Return what a GPU's own memory gave."""
    return BenchNumber("memory_read", value, device, size_bytes=size_bytes, samples=20)


def result_of(
    *numbers: BenchNumber,
    benchmark: Benchmark = Benchmark.GPU_BANDWIDTH,
    outcome: Outcome = Outcome.PASS,
    faults: tuple[BenchFault, ...] = (),
    machine: BenchMachine = H100,
    digest: str = "",
) -> BenchResult:
    """Return what a node came back with."""
    return BenchResult(benchmark, outcome, f"{benchmark} ended.", numbers, faults, machine, digest=digest)


@dataclass(slots=True)
class BenchRun:
    """A cell without a shell, in which benchmarks are run."""

    run: PolicyRun = field(
        default_factory=lambda: PolicyRun(
            Rules((), Budget(nodes=100), breakers=(), domains=(), bench=BenchRules(idle_by="slurm"))
        )
    )

    @property
    def bench(self) -> BenchRules:
        """What the operator set."""
        return self.run.rules.bench

    def nodes(self, *names: str, rack: str = "", leaf: str = "") -> BenchRun:
        """Make nodes known, online, and standing somewhere."""
        places = {kind: [name] for kind, name in (("rack", rack), ("leaf", leaf)) if name}
        facts = NodeFacts(gpu_model=H100.sku, driver_version=H100.driver, places=places)
        for name in names:
            self.run.say(events.NodeSeen(name, "boot-1", facts), events.PresenceChanged(name, "online", "it connected"))
        return self

    def ask(
        self,
        *nodes: str,
        run_id: str = "run-1",
        benchmarks: tuple[str, ...] = ("gpu_bandwidth",),
        purpose: str = "operator",
        tier: int = 1,
        together: bool = False,
        wait_s: float = 0.0,
        incident_id: str = "",
    ) -> list[events.Event]:
        """Ask for a run; return what was decided."""
        return self.run.say(
            BenchAsked(
                run_id,
                list(nodes),
                list(benchmarks),
                tier,
                purpose,
                "kim",
                "to see",
                incident_id,
                together=together,
                wait_s=wait_s,
            )
        )

    def come_back(self, node: str, result: BenchResult) -> list[events.Event]:
        """A node tells its result under the lease that it has."""
        lease = self.run.belief.bench.lease_of(node)
        assert lease is not None, f"{node} has no lease"
        self.run.now += 1.0
        return self.run.say(BenchEnded(node, lease.lease_id, result, self.run.now - 1.0, self.run.now))

    def measure(self, node: str, result: BenchResult, *, run_id: str = "", purpose: str = "operator") -> BenchJudged:
        """Ask for a run on one node and let it come back; return what it meant."""
        run_id = run_id or f"run-{len(self.run.log)}"
        self.ask(node, run_id=run_id, benchmarks=(result.benchmark,), purpose=purpose)
        return self.again(node, result)

    def again(self, node: str, result: BenchResult) -> BenchJudged:
        """Let a node come back once more, after its rest; return what it meant."""
        if self.run.belief.bench.lease_of(node) is None:
            self.run.wait(self.bench.again_after_s)
        judged = [event for event in self.come_back(node, result) if isinstance(event, BenchJudged)]
        assert len(judged) == 1
        return judged[0]

    def granted(self) -> list[LeaseGranted]:
        """Return every lease that was ever granted."""
        return [entry.event for entry in self.run.log if isinstance(entry.event, LeaseGranted)]

    def findings(self, node: str) -> dict[tuple[str, str], str]:
        """Return (device, code) → check of what stands on a node."""
        return {(key.device, key.code): key.check for key in self.run.belief.nodes[node].findings}


_GOOD, _WEAK = BenchNumber("host_to_device", 60.0), BenchNumber("host_to_device", 50.0)
_LIKE: dict[str, BenchResult] = {
    "pass": result_of(_GOOD),
    "warn": result_of(_WEAK),
    "unlimited": result_of(_WEAK, machine=BenchMachine("NVIDIA Unheard-of", "550", "", "1 GPU", 1)),
    "fail": result_of(outcome=Outcome.FAIL, faults=(BenchFault("wrong_result", "It summed 1 + 1 to 3.", "GPU-3"),)),
    "error": result_of(outcome=Outcome.ERROR),
    "skip": result_of(outcome=Outcome.SKIP),
}


def result_like(outcome: str, benchmark: str) -> BenchResult:
    """Return a result that comes out so; `unlimited` has nothing to be judged by."""
    return msgspec.structs.replace(_LIKE[outcome], benchmark=Benchmark(benchmark))
