"""The outside world as the engine sees it: one protocol per kind, one file per adapter.

Every effect carries its idempotency key, `<incident>/<step>/<attempt>`. An adapter must make the effect at most once
per key where the outside thing lets it (look first, then act), and says by `repeatable` whether it can.
Errors are those of controller.errors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, runtime_checkable

from checks.finding import Finding
from controller.policy.places import Places


@dataclass(frozen=True, slots=True)
class Hold:
    """Why fleetmend takes a node out.

    Attributes:
        reason: the sentence for people; an adapter adds the incident's id in the form its scheduler has for it.
        key: idempotency key of the effect.
        fencing_token: leadership term of this controller.
        device: for a drain, the one device that is to be free of jobs; empty for all of the node.
    """

    incident_id: str
    reason: str
    key: str
    fencing_token: int
    device: str = ""


@dataclass(frozen=True, slots=True)
class NodeSchedule:
    """How a scheduler sees one node.

    Attributes:
        schedulable: new work may be placed on it.
        held_by: incident id when we hold it, empty otherwise.
        foreign_reason: why somebody else holds it, empty when nobody does. Both may: a node that we hold can be in a
            maintenance of somebody's, too.
        jobs: ids of the jobs on it now.
        jobs_unknown: why nobody can tell whether there are others, empty when these are all.
        responding: whether the scheduler's own daemon on the node answers, `None` when it cannot say.
        said: what others find wrong with the node and tell through the scheduler; not what fleetmend told it.
        places: where it stands, as far as the scheduler knows.
    """

    schedulable: bool
    held_by: str = ""
    foreign_reason: str = ""
    jobs: tuple[str, ...] = ()
    responding: bool | None = None
    said: tuple[Finding, ...] = ()
    places: Places = field(default_factory=dict)
    jobs_unknown: str = ""


class Scheduler(Protocol):
    """Who places work on nodes."""

    name: str

    async def observe(self) -> Mapping[str, NodeSchedule]:
        """Return every node the scheduler knows."""
        ...

    async def cordon(self, node: str, hold: Hold) -> str:
        """Let no new work onto the node; running jobs go on. Return a sentence for the timeline.

        Doing it again for the same incident changes nothing.

        Raises:
            Refused: somebody else holds the node; their reason is left as it is.
        """
        ...

    async def drain(self, node: str, hold: Hold, *, jobs: str) -> tuple[str, ...]:
        """Take one step towards an empty node and return the jobs still on it; the engine asks again until none.

        Args:
            jobs: `wait` leaves them, `requeue` puts them back in the queue, `cancel` ends them.
        """
        ...

    async def uncordon(self, node: str, hold: Hold) -> str:
        """Give the node back, if and only if this incident's hold is the one on it. Return a sentence.

        Raises:
            Refused: the hold on the node is not ours.
        """
        ...


@runtime_checkable
class Rebooting(Protocol):
    """A scheduler that can reboot nodes, by its own daemon on them."""

    async def reboot(self, node: str, hold: Hold) -> str:
        """Have a node rebooted that this incident holds, and return a sentence once that was taken up.

        At most once for each `hold.key`; the node comes back held as before.

        Raises:
            Refused: the hold on the node is not ours, or its daemon does not answer.
        """
        ...


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a drain waits for.

    Attributes:
        because: a sentence for people.
        until: Unix seconds until when its step is to last, whatever limit it has; 0 leaves it to that.
    """

    because: str
    until: float = 0.0


@runtime_checkable
class Explaining(Protocol):
    """A scheduler that says what its drains wait for."""

    def waits_for(self, node: str) -> Waiting:
        """Return what the last step of a drain of this node left to be waited for. Asks nobody."""
        ...


@dataclass(frozen=True, slots=True)
class PowerSeen:
    """What a BMC says of its node. `power`: `on`, `off`, `unknown`, or empty where nobody could say."""

    power: str
    because: str = ""


@runtime_checkable
class PartialDrain(Protocol):
    """A scheduler that may know which jobs hold one device."""

    def reach(self, hold: Hold) -> str:
        """Return what the drain of a hold with a device reached, for the timeline; asked once, when it is over."""
        ...


class Power(Protocol):
    """Who switches nodes off and on.

    `repeatable`: asking again with the same key cannot switch a node off a second time.
    """

    name: str
    repeatable: bool

    async def look(self, node: str) -> PowerSeen:
        """Return whether a node has power. What cannot be asked is `unknown`, with the reason; it is no error."""
        ...

    async def cycle(self, node: str, *, key: str, fencing_token: int, cold: bool) -> str:
        """Have a node switched off and on, and return a sentence for the timeline once that was taken up.

        A node that is off is switched on, whatever else was asked for.

        Args:
            cold: power must be gone in between; else a restart by the BMC is enough.

        Raises:
            InDoubt: it was asked for, and nobody can say whether that was taken up.
            Refused: a guard said no.
        """
        ...

    def is_half_done(self, key: str) -> bool:
        """Return whether a node was switched off under this key and is not on again: no guard may leave it so."""
        ...

    async def take_up(self, node: str, *, key: str, fencing_token: int) -> str:
        """Go on with what an earlier controller asked for and did not see the end of, without switching anything off.

        Raises:
            InDoubt: the node has power; whether it was switched off and on before, nobody can say.
        """
        ...

    async def evidence(self, node: str) -> dict[str, str]:
        """Return what the BMC has to tell of a node that cannot speak for itself, name → text; nothing without a BMC.

        Raises:
            Retryable, Permanent: it cannot be asked.
        """
        ...


@dataclass(frozen=True, slots=True)
class PastIncident:
    """One incident of a part as its bundle tells it. Times are ISO 8601 in UTC; `repairs`: what was tried, in order."""

    incident_id: str
    node: str
    device: str
    fault_class: str
    opened_at: str
    ended_at: str
    outcome: str
    because: str
    repairs: list[str]


@dataclass(frozen=True, slots=True)
class RmaBundle:
    """All that is needed to send a part back.

    Attributes:
        because: why it goes back.
        part: its serial number or GUID, else how it is named.
        description: the part as the node knows it, with its place or firmware.
        versions: of the node's software: `driver`, `kernel`, `agent`; and of the part, where known.
        incidents: of this part, oldest first, on whatever node it was.
        evidence: name → text, as it was collected.
        bundles: where the large bundles of evidence are got from, which hold the vendor's own report.
    """

    because: str
    part: str
    node: str
    node_serial: str
    device: str
    pci: str
    model: str
    description: str
    fault_class: str
    versions: dict[str, str]
    incidents: list[PastIncident]
    evidence: dict[str, str]
    bundles: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Notice:
    """A ticket or a page, or what is new about one: text that can be acted on at 3 a.m.

    Attributes:
        key: idempotency key: no other notice and no other update has it.
        kind: `ticket` or `page`.
        subject: what it is about, whatever the incident: the part (or node and device) and the fault class. There is
            one open ticket a subject.
        news: for an update or a close: what happened since.
        incidents: every incident that it is for, when those are several: a storm, or a second one about the subject.
        follows: reference of the closed notice about the same subject that was here before, empty without one.
        acknowledged_by: who looks after it, empty while nobody does.
        links: what a person can do or see → where: `incident`, `acknowledge`, `approve`, `stop`, `undo`, `runbook`.
        rma: what a ticket carries when its part is to be sent back, `None` for every other notice.
    """

    key: str
    kind: str
    incident_id: str
    node: str
    device: str
    fault_class: str
    severity: str
    title: str
    body: str
    at: float
    team: str = ""
    url: str = ""
    facts: dict[str, str] = field(default_factory=dict)
    rma: RmaBundle | None = None
    subject: str = ""
    news: str = ""
    links: dict[str, str] = field(default_factory=dict)
    incidents: list[str] = field(default_factory=list)
    follows: str = ""
    acknowledged_by: str = ""


@dataclass(frozen=True, slots=True)
class Filed:
    """Where a notice is.

    Attributes:
        reference: by which the adapter finds it again, and people too.
        url: where people open it, empty where there is no such place.
        found: it was there already, and nothing was made.
    """

    reference: str
    url: str = ""
    found: bool = False


class Heard(StrEnum):
    """How a notice stands on the other side."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    CLOSED = "closed"
    GONE = "gone"
    """It was deleted, or moved to where we may not look."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the other side says of a notice. `by`: who did it, empty when it does not say; `because`: their words."""

    state: Heard
    by: str = ""
    because: str = ""


class Notifier(Protocol):
    """Where tickets or pages go.

    `repeatable`: sending the same key again cannot make a second one.
    """

    name: str
    repeatable: bool

    async def send(self, notice: Notice) -> Filed:
        """Deliver it, and return where it is once that is certain.

        A system that can be searched is searched first: what is there under the same key, or open under the same
        subject, is returned and nothing is made.
        """
        ...


@runtime_checkable
class Following(Protocol):
    """A place where a notice can be changed after it was sent. Each change has a key of its own and is made once."""

    async def update(self, reference: str, notice: Notice) -> None:
        """Tell what is new (`notice.news`); one that was closed on the other side is opened again."""
        ...

    async def close(self, reference: str, notice: Notice) -> None:
        """Tell what came of it (`notice.news`) and close or resolve it. One that is closed stays so."""
        ...


@runtime_checkable
class Acknowledging(Protocol):
    """A place that can be told that somebody has a notice, so that it calls nobody further."""

    async def acknowledge(self, reference: str, notice: Notice) -> None:
        """Tell that somebody has it (`notice.news` says who). One that is acknowledged or closed stays as it is."""
        ...


@runtime_checkable
class Listening(Protocol):
    """A place that says how its notices stand."""

    async def look(self, references: Sequence[str]) -> Mapping[str, Answer]:
        """Return what the other side says of each of these, in as few requests as it allows."""
        ...
