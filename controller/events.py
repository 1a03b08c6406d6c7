"""Everything that can happen in a cell, as one closed set of events.

The append-only log of these is the only truth; belief is folded from it, and decisions are themselves events, so that
a log replays to the same decisions (I12). Times are Unix seconds; `observed_at` is the node's clock, the log's own
`at` is the controller's.
"""

from __future__ import annotations

import msgspec

from checks.finding import Finding, FindingKey
from controller.bench_events import BenchEvent
from controller.enrolment_events import EnrolmentEvent
from controller.notice_events import NoticeEvent
from controller.policy.playbook import Playbook
from controller.reason import Reason as Reason
from controller.sweep_events import SweepEvent
from wire.messages import CheckLevel, NodeFacts

# --- what nodes say --------------------------------------------------------------------------------------------------


class NodeSeen(msgspec.Struct, frozen=True, tag="node.seen"):
    """A node's facts, when it is first heard of and whenever they change."""

    node: str
    boot_id: str
    facts: NodeFacts


class NodePlaced(msgspec.Struct, frozen=True, tag="node.placed"):
    """Where a source says that a node stands, kind → names; it replaces what that source said before.

    `source`: `file`, `netbox`, `slurm`, `kubernetes` or `ib_fabric`. No places: it says nothing of the node any more.
    What a node says of itself comes with its facts.
    """

    node: str
    places: dict[str, list[str]]
    source: str = "file"


class FindingRaised(msgspec.Struct, frozen=True, tag="finding.raised"):
    """A fault began or changed.

    `origin`: `edge` as it happened, `level` healed from a status, `controller` our own, `scheduler` what others say of
    the node there, `bench` what a benchmark found, over which the node's own word has no say.
    """

    node: str
    boot_id: str
    finding: Finding
    observed_at: float
    origin: str = "edge"


class FindingCleared(msgspec.Struct, frozen=True, tag="finding.cleared"):
    """A fault is over."""

    node: str
    key: FindingKey
    because: str
    observed_at: float
    origin: str = "edge"


class FindingLeft(msgspec.Struct, frozen=True, tag="finding.left"):
    """No playbook answers this finding: nothing is done about it, and why."""

    node: str
    key: FindingKey
    because: str


class PlaybooksTrusted(msgspec.Struct, frozen=True, tag="playbooks.trusted"):
    """These texts answer every incident of theirs from here on."""

    playbooks: list[Playbook]
    because: str


class RolloutBegan(msgspec.Struct, frozen=True, tag="rollout.began"):
    """A playbook has another text, or is new: it answers few incidents until one of them ended well."""

    playbook: Playbook
    because: str


class RulesLoaded(msgspec.Struct, frozen=True, tag="rules.loaded"):
    """Other rules decide from here on: playbooks, budgets or limits changed. `digest`: of all of them together."""

    digest: str
    because: str


class ClockSet(msgspec.Struct, frozen=True, tag="clock.set"):
    """Somebody set the controller's clock by `step_s` seconds: the moments of what is open move along."""

    step_s: float
    because: str


class CheckLevelsChanged(msgspec.Struct, frozen=True, tag="checks.changed"):
    """Which verdict each check of a node gives; logged only when a verdict changes, not every minute."""

    node: str
    checks: dict[str, CheckLevel]


class AgentStarted(msgspec.Struct, frozen=True, tag="agent.started"):
    """The agent came up, after a reboot or not."""

    node: str
    boot_id: str
    previous_boot_id: str
    rebooted: bool
    version: str
    observed_at: float


class AgentToldUnknown(msgspec.Struct, frozen=True, tag="agent.told_unknown"):
    """A newer agent told something that this version cannot read. It is kept, and nothing follows from it.

    Attributes:
        told: what the agent calls it.
        text: its whole body, as JSON.
    """

    node: str
    boot_id: str
    told: str
    text: str

    @property
    def because(self) -> str:
        """Why nothing follows from it."""
        return f"this version of the controller cannot read {self.told!r}, which a newer agent tells: update it"


class PresenceChanged(msgspec.Struct, frozen=True, tag="presence.changed"):
    """`online`, `stopped`, `lost` (Last Will) or `silent` (nothing heard for too long)."""

    node: str
    state: str
    because: str


class OrderEnded(msgspec.Struct, frozen=True, tag="order.ended"):
    """What a node made of an order."""

    node: str
    order_id: str
    outcome: str
    because: str
    started_at: float
    observed_at: float
    evidence: dict[str, str] = {}


class EvidenceEnded(msgspec.Struct, frozen=True, tag="evidence.ended"):
    """What became of a node's bundle of evidence: `sent` or `failed`, as the node says; `delayed`, as the controller
    does that has no room for it now.

    `incident_id` is empty when the incident that the node names is none of its own.
    """

    incident_id: str
    node: str
    upload: str
    outcome: str
    because: str
    size_bytes: int = 0
    sha256: str = ""


class EvidenceStored(msgspec.Struct, frozen=True, tag="evidence.stored"):
    """A bundle of evidence is whole and kept. `url`: where people get it."""

    incident_id: str
    node: str
    upload: str
    size_bytes: int
    sha256: str
    url: str


class EvidenceRemoved(msgspec.Struct, frozen=True, tag="evidence.removed"):
    """A bundle of evidence is there no more, and why."""

    incident_id: str
    node: str
    upload: str
    because: str


# --- what schedulers and people say ----------------------------------------------------------------------------------


class ScheduleObserved(msgspec.Struct, frozen=True, tag="schedule.observed"):
    """The scheduler's view of a node changed.

    Attributes:
        observed_at: when the question was asked.
        responding: whether the scheduler's own daemon on the node answers, `None` when it cannot say.
        jobs_unknown: why nobody can tell whether there are other jobs than these, empty when there are none.
    """

    node: str
    schedulable: bool
    held_by: str
    foreign_reason: str
    jobs: list[str]
    observed_at: float
    responding: bool | None = None
    jobs_unknown: str = ""


class BmcObserved(msgspec.Struct, frozen=True, tag="bmc.observed"):
    """What a BMC says of the power of a node whose agent is silent, whenever that changes.

    `power`: `on`, `off`, or `unknown` when it could not be asked, which is no evidence of anything.
    """

    node: str
    power: str
    because: str
    observed_at: float


class PeersObserved(msgspec.Struct, frozen=True, tag="peers.observed"):
    """Which of the nodes that were asked reach the host of a node whose agent is silent, whenever that changes.

    `unreached_by` has those alone whose word counts: each of them reaches another one of them, so that its own network
    is not what is cut. Both empty: nobody can tell any more.
    """

    node: str
    reached_by: list[str]
    unreached_by: list[str]
    because: str
    observed_at: float


class OperatorActed(msgspec.Struct, frozen=True, tag="operator.acted"):
    """A person did something.

    Attributes:
        verb: cordon, uncordon, pause, resume, approve, abort, acknowledge, promote or withdraw.
        subject: node, scope, incident or playbook.
        what: exactly what is approved or promoted: a plan, a step's key, a playbook's digest; empty for what is asked.
        expires_at: until when an approval may be used, Unix seconds, 0 for always.
    """

    verb: str
    subject: str
    by: str
    because: str
    what: str = ""
    expires_at: float = 0.0


class ActProposed(msgspec.Struct, frozen=True, tag="act.proposed"):
    """A person asked for what reaches the whole fleet: it waits for the yes of approvers.

    Attributes:
        by: who asked; `act.by` is the same.
        counts: who asked is an approver, and has said yes by asking.
        expires_at: until when enough must have said yes, Unix seconds.
    """

    proposal_id: str
    act: OperatorActed
    by: str
    because: str
    counts: bool
    expires_at: float


class ActAgreed(msgspec.Struct, frozen=True, tag="act.agreed"):
    """An approver said yes to what somebody proposed."""

    proposal_id: str
    by: str
    because: str


class ActWithdrawn(msgspec.Struct, frozen=True, tag="act.withdrawn"):
    """A person said that what was proposed is not to be done."""

    proposal_id: str
    by: str
    because: str


class ActCarried(msgspec.Struct, frozen=True, tag="act.carried"):
    """Enough people said yes: what was proposed is done as `act` says. `agreed_by`: who said yes, in order."""

    proposal_id: str
    act: OperatorActed
    agreed_by: list[str]
    reason: Reason


class ActLapsed(msgspec.Struct, frozen=True, tag="act.lapsed"):
    """Too few said yes in time: what was proposed is not done."""

    proposal_id: str
    reason: Reason


class DrillStarted(msgspec.Struct, frozen=True, tag="drill.started"):
    """A person had a fault injected into a node."""

    node: str
    fault: str
    order_id: str
    parameters: dict[str, str]
    by: str


# --- what the policy decides -----------------------------------------------------------------------------------------


class Recurrence(msgspec.Struct, frozen=True):
    """What the history of the part says of this fault, copied in like the playbook.

    Attributes:
        strikes: repairs of this fault on this part that were verified and did not last.
        spent: rungs of the ladder that are not tried again.
        rma: the part is bad; no rung is tried, people get it.
        because: the sentence, empty when history says nothing.
    """

    strikes: int = 0
    spent: tuple[str, ...] = ()
    rma: bool = False
    because: str = ""


class IncidentOpened(msgspec.Struct, frozen=True, tag="incident.opened"):
    """A problem that something will be done about. The playbook is copied in, so that a later edit changes nothing."""

    incident_id: str
    node: str
    device: str
    fault_class: str
    playbook: Playbook
    findings: list[Finding]
    reason: Reason
    mode: str = ""
    """shadow, ask or act, as decided by settings and playbook; empty for what the playbook says."""
    part: str = ""
    recurrence: Recurrence = Recurrence()


class IncidentJoined(msgspec.Struct, frozen=True, tag="incident.joined"):
    """One more finding of the same burst or component belongs to this incident."""

    incident_id: str
    finding: Finding
    reason: Reason
    node: str = ""
    """Whose finding it is, for the incident of a domain, which is about no single node."""


class IncidentSuperseded(msgspec.Struct, frozen=True, tag="incident.superseded"):
    """Another incident explains this one: its plan ends, and a node that is held for it comes free. `by`: the other."""

    incident_id: str
    by: str
    reason: Reason


class IncidentReclassified(msgspec.Struct, frozen=True, tag="incident.reclassified"):
    """A finding of higher precedence came before any repair began: its playbook takes over."""

    incident_id: str
    fault_class: str
    playbook: Playbook
    finding: Finding
    reason: Reason
    mode: str = ""
    recurrence: Recurrence = Recurrence()


class IncidentWaiting(msgspec.Struct, frozen=True, tag="incident.waiting"):
    """The next step is not taken yet. `for_what`: budget, pause, freeze, approval, node, scheduler, confirmation."""

    incident_id: str
    for_what: str
    reason: Reason


class StepIntended(msgspec.Struct, frozen=True, tag="step.intended"):
    """A step is about to be carried out; written before any effect. `key` makes the effect happen once (I4)."""

    incident_id: str
    phase: str
    step: str
    verb: str
    attempt: int
    key: str
    node: str
    device: str
    parameters: dict[str, str]
    expires_at: float
    reason: Reason
    hold_id: str = ""


class StepProgressed(msgspec.Struct, frozen=True, tag="step.progressed"):
    """What is known of a step that has not ended.

    Attributes:
        state: `delayed`: the same attempt is tried again at `retry_at`; `accepted`: it was taken up, and the node must
            show it; `waiting`: it goes on, and `because` says what is waited for; `in_doubt`: nobody knows whether it
            was.
        failures: how often this attempt failed so far.
        until: the step lasts at least until then, whatever its limit, 0 when the limit holds.
    """

    incident_id: str
    step: str
    attempt: int
    key: str
    state: str
    because: str
    failures: int = 0
    retry_at: float = 0.0
    until: float = 0.0


class StepEnded(msgspec.Struct, frozen=True, tag="step.ended"):
    """How a step ended: `done`, `failed`, `refused`, `timed_out`, or `in_doubt` (a crash in between).

    Attributes:
        permanent: another attempt would fail as well.
        hands_over: when no further attempt follows, people get it, wherever the step's failure leads otherwise.
    """

    incident_id: str
    step: str
    attempt: int
    outcome: str
    because: str
    key: str
    evidence: dict[str, str] = {}
    permanent: bool = False
    hands_over: bool = False


class StepSkipped(msgspec.Struct, frozen=True, tag="step.skipped"):
    """A step was not needed, and why. `go_to`: the later step to go on with; empty goes on as after its success."""

    incident_id: str
    step: str
    verb: str
    because: str
    go_to: str = ""


class IncidentHandedOver(msgspec.Struct, frozen=True, tag="incident.handed_over"):
    """The automatic part is over; people go on. The hand-over steps follow, and the node stays out.

    Attributes:
        rma: why the part is to be sent back, empty when nothing says so.
    """

    incident_id: str
    reason: Reason
    rma: str = ""


class IncidentReturning(msgspec.Struct, frozen=True, tag="incident.returning"):
    """It is mended, as people say or as another part in its place shows: the way back begins with a verification.

    Attributes:
        part: serial of that other part, empty when people said so.
    """

    incident_id: str
    reason: Reason
    part: str = ""


class IncidentReleasing(msgspec.Struct, frozen=True, tag="incident.releasing"):
    """Our plan for the node ends, and so does our hold: a person takes it back (I5), or nothing speaks for it any more.

    `ends_as`: how the incident closes once the hold is lifted.
    """

    incident_id: str
    reason: Reason
    ends_as: str = "cancelled"


class IncidentAborted(msgspec.Struct, frozen=True, tag="incident.aborted"):
    """A person stopped the plan. The node stays out until a person gives it back: nothing proves it healthy (I6)."""

    incident_id: str
    reason: Reason


class IncidentClosed(msgspec.Struct, frozen=True, tag="incident.closed"):
    """Nothing more will be done. `outcome`: returned, recovered, handed_over, cancelled, aborted, shadowed."""

    incident_id: str
    outcome: str
    reason: Reason


class RolloutSettled(msgspec.Struct, frozen=True, tag="rollout.settled"):
    """What became of a changed playbook. `outcome`: `trusted`, `stopped` (the old text stays), or `reverted`."""

    name: str
    digest: str
    outcome: str
    reason: Reason


class LogRestored(msgspec.Struct, frozen=True, tag="log.restored"):
    """The log up to here came from a backup: what happened after that is not in it.

    `through`: the backup's last entry.
    """

    through: int


Event = (
    NodeSeen
    | NodePlaced
    | FindingRaised
    | FindingCleared
    | FindingLeft
    | PlaybooksTrusted
    | RolloutBegan
    | RolloutSettled
    | RulesLoaded
    | ClockSet
    | CheckLevelsChanged
    | AgentStarted
    | AgentToldUnknown
    | PresenceChanged
    | OrderEnded
    | EvidenceEnded
    | EvidenceStored
    | EvidenceRemoved
    | ScheduleObserved
    | BmcObserved
    | PeersObserved
    | OperatorActed
    | ActProposed
    | ActAgreed
    | ActWithdrawn
    | ActCarried
    | ActLapsed
    | DrillStarted
    | IncidentOpened
    | IncidentJoined
    | IncidentSuperseded
    | IncidentReclassified
    | IncidentWaiting
    | StepIntended
    | StepProgressed
    | StepEnded
    | StepSkipped
    | IncidentHandedOver
    | IncidentReturning
    | IncidentReleasing
    | IncidentAborted
    | IncidentClosed
    | LogRestored
    | BenchEvent
    | SweepEvent
    | NoticeEvent
    | EnrolmentEvent
)


class Logged(msgspec.Struct, frozen=True):
    """One entry of the log. `event_id` grows without gaps; `at` is the controller's clock when it was decided."""

    event_id: int
    at: float
    event: Event


def kind_of(event: Event) -> str:
    """Return the event's name, e.g. `step.intended`."""
    return str(event.__struct_config__.tag)


def node_of(event: Event) -> str:
    """Return the node an event is about, empty when it is about none by itself."""
    event = event.act if isinstance(event, ActCarried) else event
    if isinstance(event, OperatorActed):
        return "" if event.verb in _ON_INCIDENTS | _ON_PLAYBOOKS or event.subject == "fleet" else event.subject
    return str(getattr(event, "node", ""))


def incident_of(event: Event) -> str:
    """Return the incident an event belongs to, empty when it belongs to none."""
    event = event.act if isinstance(event, ActCarried) else event
    if isinstance(event, OperatorActed):
        return event.subject if event.verb in _ON_INCIDENTS else ""
    return str(getattr(event, "incident_id", ""))


_ON_INCIDENTS = frozenset({"approve", "abort", "acknowledge"})
_ON_PLAYBOOKS = frozenset({"promote", "withdraw"})
