"""What is heard of nodes: what they say themselves, and what their scheduler, their BMC and their peers say of them.

`observed_at` is the node's clock.
"""

from __future__ import annotations

import msgspec

from checks.finding import Finding, FindingKey
from wire.messages import CheckLevel, NodeFacts


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


NodeEvent = (
    NodeSeen
    | NodePlaced
    | FindingRaised
    | FindingCleared
    | FindingLeft
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
)
