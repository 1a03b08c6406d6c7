"""Everything that can happen in a cell, as one closed set of events.

The append-only log of these is the only truth; belief is folded from it, and decisions are themselves events, so that
a log replays to the same decisions (I12). Times are Unix seconds; `observed_at` is the node's clock, the log's own
`at` is the controller's.
"""

from __future__ import annotations

import msgspec

from controller.bench_events import BenchEvent
from controller.enrolment_events import EnrolmentEvent
from controller.incident_events import IncidentAborted as IncidentAborted
from controller.incident_events import IncidentClosed as IncidentClosed
from controller.incident_events import IncidentEvent
from controller.incident_events import IncidentHandedOver as IncidentHandedOver
from controller.incident_events import IncidentJoined as IncidentJoined
from controller.incident_events import IncidentOpened as IncidentOpened
from controller.incident_events import IncidentReclassified as IncidentReclassified
from controller.incident_events import IncidentReleasing as IncidentReleasing
from controller.incident_events import IncidentReturning as IncidentReturning
from controller.incident_events import IncidentSuperseded as IncidentSuperseded
from controller.incident_events import IncidentWaiting as IncidentWaiting
from controller.incident_events import Recurrence as Recurrence
from controller.incident_events import StepEnded as StepEnded
from controller.incident_events import StepIntended as StepIntended
from controller.incident_events import StepProgressed as StepProgressed
from controller.incident_events import StepSkipped as StepSkipped
from controller.node_events import AgentStarted as AgentStarted
from controller.node_events import AgentToldUnknown as AgentToldUnknown
from controller.node_events import BmcObserved as BmcObserved
from controller.node_events import CheckLevelsChanged as CheckLevelsChanged
from controller.node_events import EvidenceEnded as EvidenceEnded
from controller.node_events import EvidenceRemoved as EvidenceRemoved
from controller.node_events import EvidenceStored as EvidenceStored
from controller.node_events import FindingCleared as FindingCleared
from controller.node_events import FindingLeft as FindingLeft
from controller.node_events import FindingRaised as FindingRaised
from controller.node_events import NodeEvent
from controller.node_events import NodePlaced as NodePlaced
from controller.node_events import NodeSeen as NodeSeen
from controller.node_events import OrderEnded as OrderEnded
from controller.node_events import PeersObserved as PeersObserved
from controller.node_events import PresenceChanged as PresenceChanged
from controller.node_events import ScheduleObserved as ScheduleObserved
from controller.notice_events import NoticeEvent
from controller.policy.playbook import Playbook
from controller.reason import Reason as Reason
from controller.sweep_events import SweepEvent


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
    NodeEvent
    | IncidentEvent
    | PlaybooksTrusted
    | RolloutBegan
    | RolloutSettled
    | RulesLoaded
    | ClockSet
    | OperatorActed
    | ActProposed
    | ActAgreed
    | ActWithdrawn
    | ActCarried
    | ActLapsed
    | DrillStarted
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
