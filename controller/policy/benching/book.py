"""What is believed of active benchmarks: runs, leases, the newest results, baselines. A fold, like all of belief."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from checks.bench_baseline import Baseline, Fingerprint, FleetShift
from checks.finding import FindingKey
from controller.bench_events import BenchEnded
from controller.policy.benching.outlay import Outlay

RUNS_KEPT = 500
"""Ended runs that stay in memory, for people. Source: our choice; some 1 kB each for a run of one node."""

HISTORY_KEPT = 8
"""Earlier results of a node and benchmark. Source: our choice; they show a trend, and the log has them all."""

HEADLINES_KEPT = 12
"""Metrics of a result that are kept in belief; all of its numbers are in the log."""

PEERS_KEPT = 64
"""Nodes whose newest values of a fingerprint are kept. Source: our choice; eight are enough to learn from, and a shift
of the fleet shows in those that were measured last."""

VALUES_KEPT = 3
"""Newest values of a node and fingerprint. Source: the reference of active benchmarks, median of 3 to 5."""

LATE_KEPT = 200
"""Source: our choice; a node whose connection was cut tells its results within minutes of the lease's end."""

FINGERPRINTS_KEPT = 4_096
"""Source: our choice; metrics × sizes × ways × kinds of nodes in a large cell are some hundreds."""


@dataclass(frozen=True, slots=True, order=True)
class Turn:
    """One benchmark of a run on one node, or on all nodes of a group."""

    nodes: tuple[str, ...]
    benchmark: str


@dataclass(slots=True)
class BenchRun:
    """A run.

    Attributes:
        left: what has not begun, in order, with when it may at the earliest, Unix seconds, 0 for now.
        failed: turn → what failed in each try, for those that are measured again before it counts.
        leases: those that are open.
        outcomes: node → benchmark → outcome; `sentences`: node → benchmark → why.
        waiting_for: as in `BenchWaiting`, empty while nothing is waited for; `waiting`: its sentence.
        stopped: why it was stopped, empty when it was not.
        results: node → what it came back with, of a group alone: whoever asked for it judges it, and then clears this.
        ended_at: 0 while it is open.
    """

    run_id: str
    nodes: tuple[str, ...]
    benchmarks: tuple[str, ...]
    tier: int
    purpose: str
    by: str
    because: str
    asked_at: float
    incident_id: str = ""
    options: dict[str, str] = field(default_factory=dict)
    together: bool = False
    wait_s: float = 0.0
    left: dict[Turn, float] = field(default_factory=dict)
    failed: dict[Turn, list[list[FindingKey]]] = field(default_factory=dict)
    leases: dict[str, None] = field(default_factory=dict)
    outcomes: dict[str, dict[str, str]] = field(default_factory=dict)
    sentences: dict[str, dict[str, str]] = field(default_factory=dict)
    waiting_for: str = ""
    waiting: str = ""
    stopped: str = ""
    results: dict[str, BenchEnded] = field(default_factory=dict)
    ended_at: float = 0.0
    outcome: str = ""
    ended_because: str = ""


@dataclass(slots=True)
class Lease:
    """A lease that is open.

    Attributes:
        results: node → what it came back with.
        judged: nodes whose result was judged.
        refused: node → (outcome, because) of an order that ended without a result.
    """

    lease_id: str
    run_id: str
    nodes: tuple[str, ...]
    benchmark: str
    tier: int
    granted_at: float
    expires_at: float
    incident_id: str = ""
    results: dict[str, BenchEnded] = field(default_factory=dict)
    judged: dict[str, None] = field(default_factory=dict)
    refused: dict[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Kept:
    """A result in short. `event_id`: of its `BenchJudged` in the log, which has all numbers.

    Attributes:
        headline: metric → its worst value.
        has_limit: whether there was a floor or a baseline to judge what is no pass by.
    """

    at: float
    event_id: int
    run_id: str
    lease_id: str
    outcome: str
    because: str
    headline: dict[str, float] = field(default_factory=dict)
    has_limit: bool = True


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a baseline comes from: when it was learnt, by whom, and which peers it holds."""

    at: float
    by: str
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Past:
    """An earlier result; the log has the rest of it."""

    at: float
    outcome: str


@dataclass(slots=True)
class Due:
    """A node that is to be measured before others. `admitted`: what spoke for it since, empty while nothing does."""

    because: str
    since: float
    admitted: str = ""


@dataclass(slots=True)
class BenchBook:
    """All of it.

    Attributes:
        runs: the open ones, and the newest ended ones; `open_runs` in order of asking.
        leases: those that are open; `leased`: node → its lease.
        late: leases that expired lately: what still comes back under them is judged all the same.
        unjudged: (lease, node) of what came back, or did not, and is to be judged.
        newest: node → benchmark → the newest result that was measured, failed, or went wrong; skips are not kept.
        passed: node → benchmark → when it last passed.
        history: node → benchmark → earlier ones, the newest last.
        samples: fingerprint → node → newest values, for baselines and shifts; the node measured last is last.
        peers: fingerprint → nodes of `samples` whose values may stand for healthy hardware.
        origins: where each baseline comes from.
        shifts: fingerprints by which the fleet has moved.
        golden: kind → digest that peers agree on; `votes`: kind → node → the digest it computed, until they agree.
        asked, granted: how many there ever were, for names.
        outlay: what runs that began by themselves cost.
        due: nodes that are new, or have other parts, and were not measured since.
        departed: serial number of a part that a node named before → the node, so that it is no new one when it is back.
    """

    runs: dict[str, BenchRun] = field(default_factory=dict)
    open_runs: dict[str, None] = field(default_factory=dict)
    leases: dict[str, Lease] = field(default_factory=dict)
    leased: dict[str, str] = field(default_factory=dict)
    late: dict[str, Lease] = field(default_factory=dict)
    unjudged: dict[tuple[str, str], None] = field(default_factory=dict)
    newest: dict[str, dict[str, Kept]] = field(default_factory=dict)
    passed: dict[str, dict[str, float]] = field(default_factory=dict)
    history: dict[str, dict[str, list[Past]]] = field(default_factory=dict)
    samples: dict[Fingerprint, dict[str, list[float]]] = field(default_factory=dict)
    peers: dict[Fingerprint, dict[str, None]] = field(default_factory=dict)
    baselines: dict[Fingerprint, Baseline] = field(default_factory=dict)
    origins: dict[Fingerprint, Origin] = field(default_factory=dict)
    shifts: dict[Fingerprint, FleetShift] = field(default_factory=dict)
    golden: dict[str, str] = field(default_factory=dict)
    votes: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: int = 0
    granted: int = 0
    outlay: Outlay = field(default_factory=Outlay)
    due: dict[str, Due] = field(default_factory=dict)
    departed: dict[str, str] = field(default_factory=dict)

    def next_run_id(self) -> str:
        """Return the name of the next run that the policy asks for: counted, so that a replay gives the same."""
        return f"run-{self.asked + 1:06d}"

    def next_lease_id(self) -> str:
        """Return the name of the next lease: counted, so that a replay gives the same."""
        return f"lease-{self.granted + 1:06d}"

    @property
    def questions(self) -> int:
        """How much is to be decided about, so that a policy that never comes to rest can be told from much to do."""
        left = sum(len(self.runs[run_id].left) * len(self.runs[run_id].nodes) for run_id in self.open_runs)
        return len(self.open_runs) + left + sum(len(lease.nodes) for lease in self.leases.values()) + len(self.unjudged)

    def open(self) -> Iterator[BenchRun]:
        """Yield the runs that are open, oldest first."""
        return (self.runs[run_id] for run_id in list(self.open_runs))

    def lease(self, lease_id: str) -> Lease | None:
        """Return a lease that is open, or that expired lately."""
        return self.leases.get(lease_id) or self.late.get(lease_id)

    def forget_unwell(self, node: str) -> None:
        """Forget what a node reached while it was no peer: it was mended since, and is not what moves a fleet."""
        for fingerprint, nodes in self.samples.items():
            if node not in self.peers.get(fingerprint, {}):
                nodes.pop(node, None)

    def lease_of(self, node: str) -> Lease | None:
        """Return the lease that a node has now."""
        return self.leases.get(self.leased.get(node, ""))
