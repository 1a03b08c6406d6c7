"""What the policy decides: incidents, and the steps that are taken for them."""

from __future__ import annotations

import msgspec

from checks.finding import Finding
from controller.policy.playbook import Playbook
from controller.reason import Reason


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


IncidentEvent = (
    IncidentOpened
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
)
