"""Every body that the API takes or gives, as a type: the OpenAPI document is generated from these.

Times are ISO 8601 in UTC with milliseconds, durations are seconds. What is not known yet is null, never zero.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

MAX_BECAUSE = 500
"""Longest reason a person may give, in characters: it is shown whole on pages and in schedulers' reason fields."""


class FindingRow(msgspec.Struct, frozen=True):
    """One finding that stands."""

    check: str
    device: str
    code: str
    verdict: str
    action: str
    because: str


class FindingDetail(msgspec.Struct, frozen=True):
    """One finding with all that is known of it. `incident_id` says who answers it, null when nobody does."""

    check: str
    device: str
    code: str
    verdict: str
    action: str
    because: str
    pci: str
    serial: str
    evidence: dict[str, str]
    since: str | None
    standing: bool
    incident_id: str | None


class NodeRow(msgspec.Struct, frozen=True):
    """One node. `last_seen_s`: seconds since any message of it came, null when none did.

    `places`: kind (`rack`, `leaf`, `pool`, ...) → names of where it stands, with `sku`, `driver` and `job`.
    """

    name: str
    health: str
    schedulable: bool
    held_by_us: bool
    findings: list[FindingRow]
    last_seen_s: float | None
    places: dict[str, list[str]]


class IncidentRow(msgspec.Struct, frozen=True):
    """One incident. `outcome` and `closed_at` are null while not set; `acknowledged_by` is empty until somebody did."""

    id: str
    node: str
    device: str
    fault_class: str
    playbook: str
    state: str
    outcome: str | None
    opened_at: str
    closed_at: str | None
    because: str
    acknowledged_by: str = ""


class TimelineEntry(msgspec.Struct, frozen=True):
    """One entry of the log: what happened, why, what went into the decision, and what would have stopped it.

    `trace_id`: of the incident that it belongs to, empty where nothing is traced.
    """

    event_id: int
    at: str
    kind: str
    node: str
    incident_id: str
    text: str
    because: str
    inputs: dict[str, str]
    unless: str
    trace_id: str = ""


class CheckRow(msgspec.Struct, frozen=True):
    """How one check of a node stands. `judged_at` is null when it never judged a fresh reading."""

    check: str
    verdict: str
    judged_at: str | None
    because: str


class NodeFactsShown(msgspec.Struct, frozen=True):
    """What the node is, as it knows itself."""

    simulated: bool
    agent_version: str
    kernel: str
    driver_version: str
    gpu_model: str
    gpu_count: int
    serial: str
    devices: dict[str, str]
    orders_allowed: list[str]
    guids: list[str]


class FailureRate(msgspec.Struct, frozen=True):
    """How often a node failed beside the fleet, within the last `window_days`.

    `lemon_score`: probability that its rate is more than five times the fleet's. `rate_ratio`: its rate over the
    fleet's, with the ends of the interval that holds nine tenths of what is believed of it. `expected`: failures that
    a node of the fleet has in the time that this one was watched.
    """

    lemon_score: float
    rate_ratio: float
    rate_ratio_low: float
    rate_ratio_high: float
    failures: int
    expected: float
    window_days: float


class NodeDetail(msgspec.Struct, frozen=True):
    """Everything about one node. `foreign_reason`: why somebody else holds it out, empty when nobody does.

    `places`: as in a list of nodes; `placed_by`: kind → the source that it was taken from, `node` for the node itself.
    """

    name: str
    health: str
    schedulable: bool
    held_by_us: bool
    last_seen_s: float | None
    presence: str
    presence_since: str | None
    boot_id: str
    held_by: str | None
    held_since: str | None
    foreign_reason: str
    paused: str
    jobs: list[str]
    places: dict[str, list[str]]
    placed_by: dict[str, str]
    facts: NodeFactsShown
    findings: list[FindingDetail]
    checks: list[CheckRow]
    incidents: list[IncidentRow]
    timeline: list[TimelineEntry]
    failure_rate: FailureRate


class PlannedStep(msgspec.Struct, frozen=True):
    """One step of an incident's plan.

    `state`: done, failed, refused, timed_out, in_doubt, skipped, abandoned (a person ended it), current, waiting,
    next or planned. `otherwise`: the step that follows when this one fails.

    Attributes:
        decided: why it was begun; `because` says how it ended, once it did.
        inputs: what went into that decision; `unless`: what would have to differ for it not to be begun.
        parameters: what it was, or will be, asked with.
        ends_by: when a step that is under way has failed at the latest, null for every other.
    """

    phase: str
    step: str
    verb: str
    state: str
    attempt: int
    attempts: int
    limit_s: float
    because: str
    otherwise: str
    decided: str = ""
    inputs: dict[str, str] = {}
    unless: str = ""
    parameters: dict[str, str] = {}
    began_at: str | None = None
    ended_at: str | None = None
    ends_by: str | None = None


class BundleRow(msgspec.Struct, frozen=True):
    """One bundle of evidence. `state`: `sent` (as the node says), `stored`, `delayed`, `failed` or `removed`.

    `url`: where it is got from, empty unless it is stored. `at`: when that state began.
    """

    upload: str
    incident_id: str
    node: str
    state: str
    because: str
    size_bytes: int
    sha256: str
    url: str
    at: str


class NoticeRow(msgspec.Struct, frozen=True):
    """One ticket or page, where it is and how it stands.

    Attributes:
        kind: `ticket` or `page`.
        destination: name of the place that has it, by `reference`; people open it at `url`, where that is not empty.
        state: open, acknowledged, closed, or gone (nobody finds it there any more).
        heard: how it stands there as the destination said last: open, acknowledged, closed or gone.
        told: what the destination was told last.
        incidents: every incident that it is for.
        group: what the incidents share for which it stands, empty for a notice of its own.
        escalates: the destination whose page nobody acknowledged, empty for every other notice.
        trouble: why the destination does not take what is new, empty while it does.
    """

    kind: str
    destination: str
    reference: str
    url: str
    subject: str
    title: str
    team: str
    severity: str
    state: str
    filed_at: str
    heard: str
    acknowledged_by: str
    acknowledged_at: str | None
    told: str
    told_at: str | None
    closed_at: str | None
    incidents: list[str]
    group: str
    follows: str
    escalates: str
    escalated_to: str
    trouble: str


class NoticeFailure(msgspec.Struct, frozen=True):
    """What a destination did not take.

    Attributes:
        what: `filed`, `told` or `closed`: what was to become of the notice.
        outcome: `retry`, `permanent`, `refused` or `in_doubt`.
        retry_at: when it is tried again, null when it is given up.
    """

    kind: str
    destination: str
    what: str
    outcome: str
    because: str
    failures: int
    since: str
    retry_at: str | None


class IncidentDetail(msgspec.Struct, frozen=True):
    """Everything about one incident.

    Attributes:
        acts: what a person can do about it now; `refusals`: what they cannot → why not.
        question: what a person is asked now, empty when nothing is.
        approves: what an approval would be for now; an approval that names it is refused when that has changed.
        part: what it is about, by serial number where known.
        runbook_url: where people read the runbook, an address of this server's when it begins with `/`; empty where
            nobody knows.
        history: what the past of that part said when it opened, empty when there is nothing.
        send_back: why the part is to be sent back, empty when it is not.
        bundles: what the node gathered besides `evidence`, as files to download.
        notices: its tickets and pages, in order of filing; `notice_failures`: what destinations did not take.
        acknowledged_by: who looks after it, empty while nobody does.
        trace_id: of its OpenTelemetry trace, in hexadecimal; empty where nothing is traced.
        trace_url: where people see that, empty where nobody said.
    """

    id: str
    node: str
    device: str
    fault_class: str
    playbook: str
    state: str
    outcome: str | None
    opened_at: str
    closed_at: str | None
    because: str
    summary: str
    severity: str
    mode: str
    phase: str
    holding: bool
    waiting_for: str | None
    last_failure: str
    runbook: str
    runbook_url: str
    playbook_digest: str
    next: str
    acts: list[str]
    question: str
    approves: str
    findings: list[FindingDetail]
    steps: list[PlannedStep]
    evidence: dict[str, str]
    timeline: list[TimelineEntry]
    part: str = ""
    history: str = ""
    send_back: str = ""
    bundles: list[BundleRow] = []
    acknowledged_by: str = ""
    acknowledged_at: str | None = None
    notices: list[NoticeRow] = []
    notice_failures: list[NoticeFailure] = []
    refusals: dict[str, str] = {}
    trace_id: str = ""
    trace_url: str = ""


class BudgetUse(msgspec.Struct, frozen=True):
    """How many nodes fleetmend holds out, of how many it may."""

    limit: int
    held: int
    text: str


class StoreUse(msgspec.Struct, frozen=True):
    """How large the event log is: entries that are there, and how old what it restores from is (null without one)."""

    name: str = ""
    used_bytes: int = 0
    events: int = 0
    deleted_through: int = 0
    snapshot_event_id: int = 0
    snapshot_age_s: float | None = None
    error: str = ""


class TracesUse(msgspec.Struct, frozen=True):
    """How the sending of traces goes; an empty `receiver` is sent none.

    Attributes:
        sent: spans that arrived, since this controller started.
        dropped: spans that did not, or that are not known to have arrived.
        waiting: spans that are still to be sent.
        error: what is wrong now, empty when nothing is.
    """

    receiver: str = ""
    sent: int = 0
    dropped: int = 0
    waiting: int = 0
    error: str = ""


class CertificateUse(msgspec.Struct, frozen=True):
    """How long the controller's certificate at the broker is good; `ends_at` is empty without one.

    Attributes:
        days_left: negative when it has expired.
        is_short: its renewal is late.
    """

    ends_at: str = ""
    days_left: float = 0.0
    is_short: bool = False


class Overview(msgspec.Struct, frozen=True):
    """The cell's own state. `paused` and `frozen` hold the reason, empty when it is neither.

    Attributes:
        pauses: scope (`rack=r12`, a node) → by whom and why; `paused` is that of the whole fleet.
        role: `leader`, or `standby` for a controller that only shows what another one, at `leader_url`, decides.
        topology_errors: source of places → why it cannot be read; what it said last stands.
        notice_errors: destination of tickets or pages → why it does not take them, or does not say how they stand.
        settings_error: why the settings that were read anew last are refused; those from before hold.
    """

    cell: str
    uptime_s: float
    budget: BudgetUse
    broker_connected: bool
    paused: str = ""
    pauses: dict[str, str] = {}
    frozen: str = ""
    scheduler: str = ""
    scheduler_error: str = ""
    topology_errors: dict[str, str] = {}
    rejected_messages: dict[str, int] = {}
    lag_s: float = 0.0
    term: int = 0
    role: str = "leader"
    leader_url: str = ""
    store: StoreUse = StoreUse()
    notice_errors: dict[str, str] = {}
    traces: TracesUse = TracesUse()
    settings_error: str = ""
    certificate: CertificateUse = CertificateUse()


class Counts(msgspec.Struct, frozen=True):
    """How many nodes and open incidents are in which state."""

    nodes: int
    ok: int
    degraded: int
    failed: int
    unknown: int
    held: int
    not_schedulable: int
    incidents_open: int
    incidents_waiting: int
    incidents_handed_over: int


class CellStatus(msgspec.Struct, frozen=True):
    """The cell at a glance."""

    at: str
    cell: str
    uptime_s: float
    budget: BudgetUse
    broker_connected: bool
    paused: str
    pauses: dict[str, str]
    frozen: str
    scheduler: str
    scheduler_error: str
    topology_errors: dict[str, str]
    rejected_messages: dict[str, int]
    lag_s: float
    term: int
    role: str
    leader_url: str
    store: StoreUse
    counts: Counts
    notice_errors: dict[str, str] = {}
    traces: TracesUse = TracesUse()
    settings_error: str = ""
    certificate: CertificateUse = CertificateUse()


class Because(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why a person does something."""

    because: Annotated[str, msgspec.Meta(max_length=MAX_BECAUSE)] = ""


class Approval(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A person's yes.

    Attributes:
        what: what they saw it asked for (`approves` of the incident); refused when something else is asked meanwhile.
        for_s: how long it holds, the setting `approvals.valid_s` when null.
    """

    because: Annotated[str, msgspec.Meta(max_length=MAX_BECAUSE)] = ""
    what: Annotated[str, msgspec.Meta(max_length=200)] = ""
    for_s: Annotated[float, msgspec.Meta(gt=0, le=2_592_000)] | None = None


class Promotion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What becomes of a playbook's new text. `digest`: of the text that the person saw; empty for any."""

    because: Annotated[str, msgspec.Meta(max_length=MAX_BECAUSE)] = ""
    digest: Annotated[str, msgspec.Meta(max_length=64)] = ""


class CanaryShown(msgspec.Struct, frozen=True):
    """One incident that a new text answers. `verdict`: `well`, `badly`, or null while it goes on."""

    incident_id: str
    verdict: str | None
    because: str


class RolloutShown(msgspec.Struct, frozen=True):
    """A changed playbook that is tried. `trusted` is null for one that is new; `stopped` is empty while it is tried."""

    playbook: str
    trusted: str | None
    candidate: str
    canaries_wanted: int
    canaries: list[CanaryShown]
    stopped: str


class Scope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is paused or resumed: `fleet`, the name of a node, or `rack=r12` and the like."""

    scope: Annotated[str, msgspec.Meta(min_length=1, max_length=253)] = "fleet"
    because: Annotated[str, msgspec.Meta(max_length=MAX_BECAUSE)] = ""


class Drill(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A fault to inject. `parameters`: `device`, `repair` (chance, succeeds or fails), and what the fault knows."""

    node: Annotated[str, msgspec.Meta(min_length=1, max_length=253)]
    fault: Annotated[str, msgspec.Meta(pattern="^[a-z0-9][a-z0-9_.-]{0,63}$")]
    parameters: Annotated[
        dict[
            Annotated[str, msgspec.Meta(min_length=1, max_length=64)],
            Annotated[str, msgspec.Meta(max_length=256)],
        ],
        msgspec.Meta(max_length=16),
    ] = {}


class Acted(msgspec.Struct, frozen=True):
    """What became of a person's act. `event_id` is null when there was nothing to record.

    `proposal_id`: nothing is done yet, others have to say yes to it; null when it is done.
    """

    event_id: int | None
    at: str
    text: str
    incident_id: str | None = None
    proposal_id: str | None = None


class ProposalRow(msgspec.Struct, frozen=True):
    """What somebody proposed and has too few yeses yet. `agreed`: who said yes, in order."""

    id: str
    verb: str
    subject: str
    by: str
    because: str
    why_two: str
    agreed: list[str]
    needed: int
    proposed_at: str
    expires_at: str


class DrillStartedAnswer(msgspec.Struct, frozen=True):
    """A drill that was ordered. `outcome` is null when the node has not answered yet."""

    order_id: str
    node: str
    fault: str
    started_at: str
    outcome: str | None
    because: str


class Health(msgspec.Struct, frozen=True):
    """The controller answers."""

    status: str


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a request was not done, and what would be right. `field` names the part of the request that is wrong."""

    error: str
    hint: str
    field: str = ""


class Me(msgspec.Struct, frozen=True):
    """Who asks.

    Attributes:
        how: `open` where nobody has to say who they are, else `token` or `session`.
        may: every role whose rights they have, by that role or by one above it.
    """

    name: str
    roles: list[str]
    how: str
    may: list[str]
