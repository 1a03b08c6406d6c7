"""The report, as a type: what the API answers, and what every page, table and file of it is made of.

Times are Unix seconds, durations say their unit. What the log does not tell is `null`, never zero; `notes` say why.
docs/explanation/figures.md says how each figure is defined, and by whom.
"""

from __future__ import annotations

import msgspec

from controller.policy.reporting.intervals import Between


class Spread(msgspec.Struct, frozen=True):
    """A set of durations in seconds. Mean and longest are exact, and so are quantiles of 200; others are within 1 %."""

    count: int
    mean_s: float
    p50_s: float
    p95_s: float
    longest_s: float


class Span(msgspec.Struct, frozen=True):
    """What the report is about.

    Attributes:
        since, until: as they were used; the log may have begun later than was asked.
        log_tells_from: the first moment from which on nothing is missing in the log.
        through: last entry that was read.
        drills: whether injected faults count like others.
        simulated_nodes: of `nodes`, those whose hardware is not real.
    """

    since: float
    until: float
    log_tells_from: float
    through: int
    drills: bool
    nodes: int
    gpus: int
    simulated_nodes: int


class StateRow(msgspec.Struct, frozen=True):
    """Time in one state. `share` is of all time; `gpu_hours` has those nodes alone whose GPUs are known."""

    state: str
    node_hours: float
    gpu_hours: float
    share: float | None


class Slice(msgspec.Struct, frozen=True):
    """One part of the span: when it begins, and node-hours by state, in the order of the availability's states."""

    begins: float
    node_hours: list[float]


class Availability(msgspec.Struct, frozen=True):
    """How much of the fleet could take work.

    Attributes:
        nodes, gpus: in service over the time in which they were meant to serve and something is known of them.
        nodes_at_least, nodes_at_most: the same, had all unknown time been out of service, or in service.
        states: every state, in order.
        slices: the span in parts of equal length.
    """

    nodes: float | None
    gpus: float | None
    nodes_at_least: float | None
    nodes_at_most: float | None
    states: list[StateRow]
    slices: list[Slice]


class NodeTimes(msgspec.Struct, frozen=True):
    """One node's time by state, in hours. `known_h`: from when on it is in the log; the states add up to it."""

    node: str
    sku: str
    known_h: float
    in_service_h: float
    held_out_h: float
    kept_out_h: float
    lost_h: float
    planned_h: float
    drill_h: float
    unknown_h: float
    incidents: int


class Goodput(msgspec.Struct, frozen=True):
    """GPU-hours by what became of them.

    Attributes:
        gpu_hours: all that were there, whatever their state.
        at_most: share that could have computed; what jobs made of it is not in the log.
        with_jobs_gpu_hours: in service on nodes for which the scheduler named a job, `null` without such a word.
        jobs_hit: jobs that ran on a node when an incident took it out.
    """

    gpu_hours: float
    usable_gpu_hours: float
    at_most: float | None
    with_jobs_gpu_hours: float | None
    jobs_hit: int


class LossRow(msgspec.Struct, frozen=True):
    """Time lost to one cause.

    Attributes:
        kind: `fault`, `people` (planned), `scheduler`, `lost`, `benchmarks`, `admission` or `drill`.
        cause: fault class, or the kind again.
        doing: of an incident, what the time went to: wait, handling, drain, repair, verify, probation or people; what
            is waited for follows a colon (`wait:budget`).
        money: `null` where a price is missing for any GPU of it.
    """

    kind: str
    cause: str
    doing: str
    node_hours: float
    gpu_hours: float
    money: float | None


class RiskRow(msgspec.Struct, frozen=True):
    """Time that a node with an open incident was still in service, by what the incident waited for or did. It is not
    lost: nobody knows what jobs made of it."""

    cause: str
    doing: str
    node_hours: float
    gpu_hours: float


class Losses(msgspec.Struct, frozen=True):
    """GPU-hours lost, and what they are worth. `unpriced_gpu_hours` have no price."""

    rows: list[LossRow]
    at_risk: list[RiskRow]
    gpu_hours: float
    money: float | None
    unpriced_gpu_hours: float
    currency: str


class DetectionRow(msgspec.Struct, frozen=True):
    """How soon faults of a class were found and isolated.

    Attributes:
        found: from the fault's own time, on the node's clock, to the finding in the log.
        decided: from there to the incident.
        isolated: from the finding to the confirmed cordon.
        timeless: incidents whose findings carry no time of their own: told by others, or healed from a level.
        clock_ahead: findings that came before the node's clock had them; they count as found at once.
    """

    fault_class: str
    found: Spread | None
    decided: Spread | None
    isolated: Spread | None
    timeless: int
    clock_ahead: int


class RepairRow(msgspec.Struct, frozen=True):
    """How long incidents took that ended with the node back in service.

    Attributes:
        total: from the incident's opening to its end; the mean of `parts_s` adds up to its mean.
        parts_s: what it went to → mean seconds.
    """

    fault_class: str
    total: Spread
    parts_s: dict[str, float]


class FailureRow(msgspec.Struct, frozen=True):
    """How often something failed.

    Attributes:
        by: `part`, `rack` or `sku`; `name`: which.
        unit: what is counted in device-hours: GPU, RDMA adapter or node.
        device_hours: powered and heard of.
        mtbf_h: `null` without a failure or without exposure; `between_h` then has its lower end, if any.
    """

    by: str
    name: str
    unit: str
    failures: int
    device_hours: float
    mtbf_h: float | None
    between_h: Between


class FixRow(msgspec.Struct, frozen=True):
    """How often an action fixed a fault.

    Attributes:
        fixed: verified, and the same fault stayed away from the same part for the whole window.
        not_fixed: the verification failed, or the fault came back.
        pending: verified, and the window is not over.
        not_done: the action itself failed, so that it says nothing.
        probability: mean of the posterior over fixed and not fixed.
    """

    fault_class: str
    sku: str
    action: str
    fixed: int
    not_fixed: int
    pending: int
    not_done: int
    probability: float | None
    between: Between


class LemonRow(msgspec.Struct, frozen=True):
    """A node that failed at least twice in the 28 days before the end, the most suspect first."""

    node: str
    score: float
    is_lemon: bool
    failures: int
    days: int
    expected: float
    times_fleet: float
    between: Between


class OutcomeRow(msgspec.Struct, frozen=True):
    """Incidents of a class: `opened` within the span, `closed` by outcome within it, and still open at its end."""

    fault_class: str
    opened: int
    closed: dict[str, int]
    open: int
    handed_over: int


class NoticeRow(msgspec.Struct, frozen=True):
    """Tickets or pages that were sent. `per_node_month`: a month has 30.44 days."""

    kind: str
    sent: int
    per_node_month: float | None


class Drills(msgspec.Struct, frozen=True):
    """Faults that people injected. `found`: from the injection to the first finding of its incident."""

    injected: int
    incidents: int
    returned: int
    found: Spread | None


class Report(msgspec.Struct, frozen=True):
    """Everything."""

    span: Span
    availability: Availability
    goodput: Goodput
    losses: Losses
    detection: list[DetectionRow]
    repair: list[RepairRow]
    failures: list[FailureRow]
    fixes: list[FixRow]
    lasting_s: float
    lemons: list[LemonRow]
    outcomes: list[OutcomeRow]
    notices: list[NoticeRow]
    drills: Drills
    nodes: list[NodeTimes]
    notes: list[str]
