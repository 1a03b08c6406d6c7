"""What can happen to a sweep: many nodes are asked in groups until it is known what is slow. Part of events.py's union.

A sweep's groups are runs of their own (bench_events.py); what is here joins them.
"""

from __future__ import annotations

import msgspec

from checks.bench_result import BenchMachine, BenchNumber
from controller.policy.localising.fabric import Fabric
from controller.policy.localising.trials import Group, Limits, Result
from controller.reason import Reason


class SweepAsked(msgspec.Struct, frozen=True, tag="sweep.asked"):
    """Somebody wants to know what is slow among these nodes.

    Attributes:
        by: a person, or `fleetmend`.
        options: handed to the benchmark, see wire/bench.py.
    """

    nodes: list[str]
    by: str
    because: str
    options: dict[str, str] = {}


class SweepBegan(msgspec.Struct, frozen=True, tag="sweep.began"):
    """A sweep begins.

    Attributes:
        asked: the entry of the log that asked for it.
        fabric: the network as it is believed to be now; the sweep keeps to it.
        ends_by: when it ends whatever is known by then, Unix seconds.
    """

    sweep_id: str
    asked: int
    fabric: Fabric
    limits: Limits
    by: str
    because: str
    ends_by: float
    options: dict[str, str] = {}


class SweepRoundBegan(msgspec.Struct, frozen=True, tag="sweep.round_began"):
    """These groups are to be run, at once as far as leases allow."""

    sweep_id: str
    round: int
    groups: list[Group]


class SweepGroupBegan(msgspec.Struct, frozen=True, tag="sweep.group_began"):
    """A lease for all nodes of a group is asked for; `run_id`: the run that it belongs to."""

    sweep_id: str
    group: int
    run_id: str


class SweepGroupMet(msgspec.Struct, frozen=True, tag="sweep.group_met"):
    """Rank 0 of a group has said its unique id, and the other ranks are asked. The id itself is kept nowhere."""

    sweep_id: str
    group: int
    lease_id: str


class SweepGroupEnded(msgspec.Struct, frozen=True, tag="sweep.group_ended"):
    """What the ranks of a group came back with.

    Attributes:
        outcome: `pass`: it was measured, and is judged with its round; `fail`: a rank saw by itself that something is
            wrong; `error` or `skip`: nothing is known by it.
        numbers: the worst that any rank says of each lane.
        missing: nodes whose rank never arrived.
    """

    sweep_id: str
    group: int
    outcome: str
    because: str
    numbers: list[BenchNumber] = []
    machine: BenchMachine = BenchMachine()
    missing: list[str] = []


class SweepNodeLeft(msgspec.Struct, frozen=True, tag="sweep.node_left"):
    """A node can take part no more; the group in which it is has no result."""

    sweep_id: str
    node: str
    because: str


class SweepRoundJudged(msgspec.Struct, frozen=True, tag="sweep.round_judged"):
    """What the numbers of a round mean beside baselines, or beside the groups of the screen.

    Attributes:
        again: results of earlier groups that had nothing to be held against, and now have.
    """

    sweep_id: str
    round: int
    results: list[Result]
    again: list[Result] = []


class SweepStopAsked(msgspec.Struct, frozen=True, tag="sweep.stop_asked"):
    """A person ends a sweep: nothing is said of any node."""

    sweep_id: str
    by: str
    because: str


class SweepVerdict(msgspec.Struct, frozen=True):
    """One fault that a sweep found.

    Attributes:
        kind: node, link or switch.
        parts: what is at fault; several where nothing tells them apart.
        nodes: that have a part in it.
        rails: on which it is slow, empty for all.
        answered_by: the incident that is open about it; empty for a node, whose finding is answered like every other.
    """

    kind: str
    parts: list[str]
    nodes: list[str]
    rails: list[str]
    reason: Reason
    answered_by: str = ""


class SweepEnded(msgspec.Struct, frozen=True, tag="sweep.ended"):
    """A sweep is over.

    Attributes:
        outcome: `done`; `too_many`: what was slow is no list of single faults, and a person is asked; `stopped`,
            `timed_out`: nothing is said of any node.
        cleared: nodes that nothing speaks against; `untested`, `doubts`: node → why.
        asks: the incident by which a person is asked about it, empty when none is.
    """

    sweep_id: str
    outcome: str
    reason: Reason
    verdicts: list[SweepVerdict] = []
    cleared: list[str] = []
    untested: dict[str, str] = {}
    doubts: dict[str, str] = {}
    tests: int = 0
    rounds: int = 0
    asks: str = ""


SweepEvent = (
    SweepAsked
    | SweepBegan
    | SweepRoundBegan
    | SweepGroupBegan
    | SweepGroupMet
    | SweepGroupEnded
    | SweepNodeLeft
    | SweepRoundJudged
    | SweepStopAsked
    | SweepEnded
)
