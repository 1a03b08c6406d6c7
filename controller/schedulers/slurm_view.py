"""What Slurm says of nodes and jobs, as values, whichever way it printed them; and what fleetmend writes into a node's
reason."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from controller.adapters import NodeSchedule
from controller.schedulers.hostlist import expand

MAX_REASON_CHARACTERS = 200
"""Slurm took 3,000 in a trial; people read the reason in one column of `sinfo -R`."""

OCCUPYING = frozenset(
    {"RUNNING", "COMPLETING", "SUSPENDED", "CONFIGURING", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"}
)
"""States in which a job has its nodes. Source: squeue(1), JOB STATE CODES."""

COMPLETING = "COMPLETING"
"""The job is ending: asking it again to go changes nothing."""

TAKEN_OUT = frozenset({"DRAIN", "FAIL"})
"""Flags by which somebody took a node out. Source: scontrol(1), State=<state>, and sinfo(1), NODE STATE CODES."""

NOT_SCHEDULABLE = TAKEN_OUT | {
    *("NOT_RESPONDING", "INVALID_REG", "MAINTENANCE", "POWERING_DOWN", "POWER_DRAIN", "REBOOT_ISSUED"),
}
"""Flags under which Slurm places no ordinary job. Source: sinfo(1), NODE STATE CODES."""

WORKING = frozenset({"IDLE", "MIXED", "ALLOCATED"})

_SILENT = re.compile(r"(^|: )Not responding$")
"""The reason that slurmctld itself gives a node that it set down: nobody's decision, so nobody's hold. Where a reason
stands already, 22.05 leaves that and 24.11 adds to it. Source: seen in both, after a slurmd was killed."""

BY_CHECK = "check"
"""Stands in a reason in place of an incident: the node's own health check took it out, and no controller knows why yet.
No incident has such an id; an incident that needs the node takes the hold over."""

REBOOTING = frozenset({"REBOOT_REQUESTED", "REBOOT_ISSUED"})
"""Flags of a node that slurmd is to reboot. Source: sinfo(1), NODE STATE CODES."""

_REBOOT_TIMED_OUT = ": reboot timed out"
"""What slurmctld adds to the reason of a node that did not come back within ResumeTimeout. 22.05 sets it down and takes
the drain off, 24.11 leaves the drain. Source: seen in both."""

LAST_MOMENT = 253_402_300_799.0
"""The end of the year 9999, beyond which there are no dates here."""

YEAR_S = 365 * 86_400.0
"""Slurm has a job without a time limit end so long after its start. Source: job_mgr.c, and seen in 22.05."""

_OURS = re.compile(r"fleetmend:(\S+)(?: |$)")
_INCIDENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}")
_NOT_IN_A_REASON = frozenset("\"'`\\|$[]")


@dataclass(frozen=True, slots=True)
class SlurmNode:
    """One node as slurmctld sees it.

    Attributes:
        base: `IDLE`, `MIXED`, `ALLOCATED`, `DOWN`, ...
        flags: `DRAIN`, `COMPLETING`, `NOT_RESPONDING`, ...
        reason: why it is out, without who said so and when; empty when there is none.
    """

    name: str
    base: str
    flags: frozenset[str]
    reason: str = ""

    @property
    def state(self) -> str:
        """The state as scontrol prints it."""
        return "+".join([self.base, *sorted(self.flags)])

    @property
    def taken_out(self) -> bool:
        """Somebody took it out, or it is down for more than not answering."""
        return self.drained or (self.base == "DOWN" and not _SILENT.search(self.reason))

    @property
    def drained(self) -> bool:
        """Somebody took it out. Being down is no sign of that: slurmctld sets down what rebooted."""
        return bool(self.flags & TAKEN_OUT)

    @property
    def held_by(self) -> str:
        """The incident by which fleetmend holds it, empty when it does not. A reason alone holds nothing: from 24.11
        on, a node that was given back keeps the old one, even when it is set down later."""
        lost_by_reboot = self.base == "DOWN" and self.reason.endswith(_REBOOT_TIMED_OUT)
        ours = _OURS.match(self.reason) if self.drained or lost_by_reboot else None
        return ours.group(1) if ours else ""

    @property
    def rebooting(self) -> bool:
        """Slurm was asked to reboot it, and it has not come back."""
        return bool(self.flags & REBOOTING)

    @property
    def taken_out_by_check(self) -> bool:
        """Its own health check took it out, so an incident of fleetmend may take it over."""
        return self.held_by == BY_CHECK

    @property
    def foreign_reason(self) -> str:
        """Why somebody else holds it, empty when nobody does."""
        if not self.taken_out or self.held_by:
            return ""
        return self.reason or f"{self.state}, without a reason"


@dataclass(frozen=True, slots=True)
class SlurmJob:
    """One job on its nodes.

    Attributes:
        id: as squeue shows it: `7_2` is one task, and the number 7 may be the whole array.
        ends_at: when its time limit ends it, Unix seconds, 0 when it has none or that is not known.
    """

    id: str
    state: str
    nodes: str
    partition: str = ""
    account: str = ""
    qos: str = ""
    ends_at: float = 0.0


@dataclass(frozen=True, slots=True)
class SlurmReservation:
    """One advanced reservation. Times are Unix seconds, `nodes` is a host list, `flags` are `MAINT` and others."""

    name: str
    starts_at: float
    ends_at: float
    nodes: str
    flags: frozenset[str] = frozenset()

    def maintains(self, now: float) -> bool:
        """Return whether people work at its nodes now."""
        return "MAINT" in self.flags and self.starts_at <= now < self.ends_at

    @property
    def words(self) -> str:
        """What it is, for a sentence."""
        kind = "maintenance reservation" if "MAINT" in self.flags else "reservation"
        return f"{kind} {self.name} ({moment(self.starts_at)} to {moment(self.ends_at)})"


def moment(at: float) -> str:
    """Return a time of Slurm's in UTC, for a sentence."""
    return f"{datetime.fromtimestamp(max(0.0, min(at, LAST_MOMENT)), UTC):%Y-%m-%d %H:%M} UTC"


def end_of_job(starts_at: float, ends_at: float) -> float:
    """Return when its time limit ends a job, 0 when it has none."""
    return ends_at if starts_at and ends_at - starts_at < YEAR_S else 0.0


def maintained(reservations: Iterable[SlurmReservation], now: float) -> dict[str, SlurmReservation]:
    """Return the nodes at which people work now, each with the reservation that lasts longest."""
    found: dict[str, SlurmReservation] = {}
    for each in sorted((each for each in reservations if each.maintains(now)), key=lambda each: each.ends_at):
        found.update(dict.fromkeys(expand(each.nodes), each))
    return found


def jobs_by_node(jobs: Iterable[SlurmJob]) -> dict[str, tuple[str, ...]]:
    """Return the ids of the jobs on each node, in a stable order."""
    found: dict[str, list[str]] = {}
    for job in jobs:
        for node in expand(job.nodes):
            found.setdefault(node, []).append(job.id)
    return {node: in_order(ids) for node, ids in found.items()}


def in_order(ids: Iterable[str]) -> tuple[str, ...]:
    """Return job ids by their number."""
    return tuple(sorted(ids, key=lambda text: [int(number) for number in re.findall(r"\d+", text)]))


def schedules(
    nodes: Iterable[SlurmNode], jobs: Mapping[str, tuple[str, ...]], maintenance: Mapping[str, SlurmReservation]
) -> dict[str, NodeSchedule]:
    """Return the nodes as the engine sees them: what a node's own check took out is held by no incident yet, and a node
    in maintenance is somebody else's, also while it is ours."""
    return {
        node.name: NodeSchedule(
            schedulable=node.base in WORKING and not node.flags & NOT_SCHEDULABLE and node.name not in maintenance,
            held_by="" if node.taken_out_by_check else node.held_by,
            foreign_reason=node.foreign_reason or (maintenance[node.name].words if node.name in maintenance else ""),
            jobs=jobs.get(node.name, ()),
            responding="NOT_RESPONDING" not in node.flags,
        )
        for node in nodes
    }


def reason_text(incident_id: str, sentence: str, *, mark: str = "") -> str:
    """Return the reason for a node: `fleetmend:<incident> <sentence> (<mark>)` in one bounded line that scontrol gives
    back unchanged.

    Args:
        mark: key of an effect that is written with the reason, in one, so that it can be found again.

    Raises:
        ValueError: the incident's id could not be read back.
    """
    if not _INCIDENT.fullmatch(incident_id):
        raise ValueError(f"incident id {incident_id!r} must be letters, digits and ._:/- to stand in a reason")
    plain = "".join(c if c.isprintable() and c not in _NOT_IN_A_REASON else " " for c in sentence)
    end = _marked(mark) if mark else ""
    start = f"fleetmend:{incident_id} {' '.join(plain.split())}"
    return f"{start[: max(0, MAX_REASON_CHARACTERS - len(end))].rstrip()}{end}"


def carries(reason: str, mark: str) -> bool:
    """Return whether a reason was written with this mark. Slurm adds to what follows it."""
    return _marked(mark) in reason


def _marked(mark: str) -> str:
    return f" ({mark})"
