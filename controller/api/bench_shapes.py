"""Bodies of the API about active benchmarks; see shapes.py for what holds of all of them."""

from __future__ import annotations

from typing import Annotated

import msgspec

from controller.api.shapes import MAX_BECAUSE

MOST_NODES = 1_024
MOST_BENCHMARKS = 16
MOST_OPTIONS = 16
LONGEST_NAME = 253
LONGEST_OPTION = 1_024
LONGEST_PATIENCE_S = 604_800.0


class BenchmarkShown(msgspec.Struct, frozen=True):
    """One benchmark. `limits_s`: how long it may take on a node by tier, 1 first."""

    benchmark: str
    measures: str
    finds: str
    needs: str
    limits_s: list[float]


class HeadlineShown(msgspec.Struct, frozen=True):
    """The worst value of a metric."""

    metric: str
    value: float
    unit: str


class NumberShown(msgspec.Struct, frozen=True):
    """One number and what it means.

    Attributes:
        summary: what the metric is.
        value: null when the test ran and gave none.
        device: GPU, adapter or path; two joined by `>` for a way between two; empty for the node as a whole.
        lane: rail of a group's test.
        size_bytes: of the message, 0 where there is none.
        way: what NCCL was told to use, e.g. `ring`; empty for its own choice.
        p50_s, p99_s: of the time of one iteration; `variation`: standard deviation as a share of the mean.
        fail, warn: worse than this is so judged; null where no limit is known for it.
        median, deviation, peers: of the baseline that it was held against, null and 0 without one.
    """

    metric: str
    summary: str
    unit: str
    value: float | None
    device: str
    lane: str
    size_bytes: int
    way: str
    p50_s: float
    p99_s: float
    variation: float
    samples: int
    outcome: str
    because: str
    fail: float | None
    warn: float | None
    median: float | None
    deviation: float | None
    peers: int


class FaultShown(msgspec.Struct, frozen=True):
    """What went wrong and needs no limit to be seen, e.g. a wrong sum or a counter that grew meanwhile."""

    code: str
    because: str
    device: str
    severity: str


class MachineShown(msgspec.Struct, frozen=True):
    """What was measured on; what is not known is empty."""

    sku: str = ""
    driver: str = ""
    nccl: str = ""
    topology: str = ""
    gpus: int = 0


class ResultRow(msgspec.Struct, frozen=True):
    """The newest result of a benchmark on a node. `outcome`: pass, warn, fail or error."""

    node: str
    benchmark: str
    outcome: str
    because: str
    at: str
    run_id: str
    headline: list[HeadlineShown]


class EarlierResult(msgspec.Struct, frozen=True):
    """What a benchmark came to before on the same node."""

    at: str
    outcome: str


class ResultDetail(msgspec.Struct, frozen=True):
    """A result with all of its numbers.

    Attributes:
        passed_at: when this benchmark last passed on the node, null when it never did.
        complete: false when the log no longer has the numbers, and only the headline is known.
        notes: what people should know beside it, e.g. that one GPU tests no link.
        earlier: what it came to before, oldest first, at most eight.
    """

    node: str
    benchmark: str
    outcome: str
    because: str
    at: str
    run_id: str
    headline: list[HeadlineShown]
    passed_at: str | None
    complete: bool
    machine: MachineShown
    numbers: list[NumberShown]
    faults: list[FaultShown]
    notes: list[str]
    earlier: list[EarlierResult] = []


class LeaseShown(msgspec.Struct, frozen=True):
    """What may run now, and until when. `nodes`: one, or those of a group; `heard`: those that have come back."""

    lease_id: str
    run_id: str
    nodes: list[str]
    benchmark: str
    tier: int
    granted_at: str
    expires_at: str
    heard: list[str]


class TurnShown(msgspec.Struct, frozen=True):
    """One benchmark of a run on one node.

    Attributes:
        state: planned, running, abandoned (the run ended before), or the outcome: pass, warn, fail, error, skip.
        because: why that outcome; of one that is planned or running: what an earlier try came to, empty for the first.
        share: how far it is, from 0 to 1; `doing`: what it says of that.
    """

    node: str
    benchmark: str
    state: str
    because: str
    share: float
    doing: str


class RunRow(msgspec.Struct, frozen=True):
    """One run.

    Attributes:
        purpose: operator, admission, verify, suspicion, idle or sweep.
        waiting: why it goes on later, empty while it does not wait.
        outcome: the worst of its results, or `stopped`; empty while it is under way.
    """

    run_id: str
    nodes: list[str]
    benchmarks: list[str]
    tier: int
    purpose: str
    by: str
    because: str
    asked_at: str
    waiting: str
    outcome: str
    ended_at: str | None
    ended_because: str
    incident_id: str | None


class RunDetail(RunRow, frozen=True):
    """One run with what becomes of each benchmark on each node."""

    turns: list[TurnShown]


class BenchWanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to run.

    Attributes:
        benchmarks: one after the other on each node; empty for those that need nothing but GPUs.
        tier: 1 takes at most 30 s, 2 at most 5 min, 3 longer and on a cordoned node alone.
        options: for the benchmarks, e.g. `path` for `storage`.
        wait_s: how long a node that is at work is waited for; 0 skips it at once.
    """

    nodes: Annotated[
        list[Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_NAME)]],
        msgspec.Meta(min_length=1, max_length=MOST_NODES),
    ]
    benchmarks: Annotated[list[str], msgspec.Meta(max_length=MOST_BENCHMARKS)] = []
    tier: Annotated[int, msgspec.Meta(ge=1, le=3)] = 1
    options: Annotated[
        dict[
            Annotated[str, msgspec.Meta(min_length=1, max_length=64)],
            Annotated[str, msgspec.Meta(max_length=LONGEST_OPTION)],
        ],
        msgspec.Meta(max_length=MOST_OPTIONS),
    ] = {}
    wait_s: Annotated[float, msgspec.Meta(ge=0, le=LONGEST_PATIENCE_S)] = 0.0
    because: Annotated[str, msgspec.Meta(max_length=MAX_BECAUSE)] = ""


class RunAsked(msgspec.Struct, frozen=True):
    """A run that was asked for."""

    run_id: str
    at: str
    text: str


class BaselineShown(msgspec.Struct, frozen=True):
    """What healthy peers of one kind reach; it stands until somebody forgets it.

    Attributes:
        nodes: in the group, 1 for a node by itself; `crosses`: whether the group left its leaf switches.
        deviation: median absolute deviation.
        learnt_from: the nodes whose results it holds; `learnt_by`: a person, or `fleetmend`.
        shift: how the fleet has moved since, empty while it has not: then nothing fails by it.
    """

    metric: str
    unit: str
    sku: str
    driver: str
    nccl: str
    topology: str
    size_bytes: int
    nodes: int
    crosses: bool
    way: str
    median: float
    deviation: float
    peers: int
    learnt_from: list[str]
    learnt_at: str | None
    learnt_by: str
    shift: str


class BaselinesChosen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which baselines it is about; what is empty does not narrow. `every`: all of them, when nothing narrows."""

    metric: Annotated[str, msgspec.Meta(max_length=64)] = ""
    sku: Annotated[str, msgspec.Meta(max_length=64)] = ""
    driver: Annotated[str, msgspec.Meta(max_length=64)] = ""
    because: Annotated[str, msgspec.Meta(max_length=MAX_BECAUSE)] = ""
    every: bool = False
