"""What can happen to active benchmarks in a cell: asked for, leased, run, judged. Part of the union in events.py."""

from __future__ import annotations

import msgspec

from checks.bench_baseline import Baseline, Fingerprint, FleetShift
from checks.bench_result import BenchFault, BenchMachine, BenchNumber, BenchResult
from checks.finding import FindingKey
from controller.reason import Reason

PURPOSES = ("verify", "suspicion", "admission", "operator", "sweep", "idle")
"""Why benchmarks are run, the most urgent first."""


class BenchAsked(msgspec.Struct, frozen=True, tag="bench.asked"):
    """Somebody wants these benchmarks on these nodes.

    Attributes:
        benchmarks: run one after the other on each node, in this order.
        tier: 1 takes at most 30 s, 2 at most 5 min, 3 longer and on a cordoned node alone.
        purpose: one of `PURPOSES`.
        by: who asked: a person, or `fleetmend`.
        options: handed to the benchmarks, see wire/bench.py.
        together: one lease for all the nodes at once, whose ranks somebody else hands out: a group.
        wait_s: how long a node that is at work, or leased already, is waited for; 0 skips it at once.
        gpu_minutes: what it may cost at the most, for a run that counts against the budget of those that begin by
            themselves; 0 for all others.
    """

    run_id: str
    nodes: list[str]
    benchmarks: list[str]
    tier: int
    purpose: str
    by: str
    because: str
    incident_id: str = ""
    options: dict[str, str] = {}
    together: bool = False
    wait_s: float = 0.0
    gpu_minutes: float = 0.0


class BenchWaiting(msgspec.Struct, frozen=True, tag="bench.waiting"):
    """A run goes on later. `for_what`: bounds, node, pause or freeze; logged when that changes."""

    run_id: str
    for_what: str
    reason: Reason


class BenchStopped(msgspec.Struct, frozen=True, tag="bench.stopped"):
    """A person, or who asked for it, ends a run: nothing more of it begins, and its leases are revoked."""

    run_id: str
    by: str
    because: str


class LeaseGranted(msgspec.Struct, frozen=True, tag="bench.lease_granted"):
    """These nodes may run this benchmark until the lease expires, which it does by itself."""

    lease_id: str
    run_id: str
    nodes: list[str]
    benchmark: str
    tier: int
    expires_at: float
    reason: Reason
    incident_id: str = ""

    @property
    def node(self) -> str:
        """The one node that it is about, empty for a group."""
        return self.nodes[0] if len(self.nodes) == 1 else ""


class LeaseEnded(msgspec.Struct, frozen=True, tag="bench.lease_ended"):
    """A lease is over. `outcome`: done, expired or revoked."""

    lease_id: str
    run_id: str
    outcome: str
    because: str
    node: str = ""


class BenchEnded(msgspec.Struct, frozen=True, tag="bench.ended"):
    """What a node came back with under a lease, as it says; nothing of it is judged yet."""

    node: str
    lease_id: str
    result: BenchResult
    started_at: float
    observed_at: float


class JudgedNumber(msgspec.Struct, frozen=True):
    """A number and what it means.

    Attributes:
        outcome: of it alone; empty when there is nothing to hold it against, neither a limit nor enough peers.
        inputs: what it was held against.
        fingerprint: what it is comparable with, `None` when the node does not say enough of itself.
    """

    number: BenchNumber
    outcome: str
    because: str
    inputs: dict[str, str] = {}
    fingerprint: Fingerprint | None = None


class BenchJudged(msgspec.Struct, frozen=True, tag="bench.judged"):
    """What a benchmark said of a node. `outcome`: pass, warn, fail, error or skip.

    Attributes:
        lease_id: empty when it was skipped before any lease.
        tier: of the lease.
        numbers: all that were measured, each with what it means.
        failing: what failed here, by the findings that it may raise.
        again_at: when it is measured once more before any of that counts, 0 for never.
        is_peer: whether baselines may be learnt from it: the node was in service and nothing spoke against it.
        machine, faults, notes, digest: as the node said them.
    """

    node: str
    lease_id: str
    run_id: str
    benchmark: str
    outcome: str
    because: str
    incident_id: str = ""
    tier: int = 0
    numbers: list[JudgedNumber] = []
    failing: list[FindingKey] = []
    again_at: float = 0.0
    is_peer: bool = False
    digest: str = ""
    machine: BenchMachine = BenchMachine()
    faults: list[BenchFault] = []
    notes: list[str] = []
    started_at: float = 0.0


class BenchRunEnded(msgspec.Struct, frozen=True, tag="bench.run_ended"):
    """Nothing more of a run will happen. `outcome`: the worst of its results, or `stopped`."""

    run_id: str
    outcome: str
    because: str
    incident_id: str = ""


class BaselineLearnt(msgspec.Struct, frozen=True, tag="bench.baseline_learnt"):
    """What healthy peers reach stands from here on.

    Attributes:
        by: a person, or `fleetmend` for a fingerprint's first one.
        nodes: the peers.
    """

    baseline: Baseline
    by: str
    because: str
    nodes: list[str] = []


class BaselineForgotten(msgspec.Struct, frozen=True, tag="bench.baseline_forgotten"):
    """A baseline is dropped; the next one is learnt from what is measured from here on."""

    baseline: Baseline
    by: str
    because: str


class FleetShifted(msgspec.Struct, frozen=True, tag="bench.fleet_shifted"):
    """Many peers moved the same way at once: while that lasts no node fails by this fingerprint."""

    baseline: Baseline
    shift: FleetShift
    reason: Reason


class FleetSettled(msgspec.Struct, frozen=True, tag="bench.fleet_settled"):
    """The fleet is where its baseline is again, or has another baseline."""

    baseline: Baseline
    because: str


class GoldenAgreed(msgspec.Struct, frozen=True, tag="bench.golden_agreed"):
    """So many peers computed the same that whoever does not is wrong.

    Attributes:
        kind: SKU, driver and version of the library, which decide the bits.
        golden: what they agree on, `version of the library:digest`.
    """

    kind: str
    golden: str
    peers: list[str]
    because: str


BenchEvent = (
    BenchAsked
    | BenchWaiting
    | BenchStopped
    | LeaseGranted
    | LeaseEnded
    | BenchEnded
    | BenchJudged
    | BenchRunEnded
    | BaselineLearnt
    | BaselineForgotten
    | FleetShifted
    | FleetSettled
    | GoldenAgreed
)
