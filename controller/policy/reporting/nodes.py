"""Each node as the log tells it: what it is, who holds it, whether it is heard. What its time counts as follows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from checks.finding import Finding, FindingKey
from controller import events
from controller.policy.places import ITSELF, RACK, Places, claimed, merged
from controller.policy.presence import NODE_LOST
from controller.policy.reporting.asked import Known
from controller.policy.reporting.incidents import Open
from controller.policy.reporting.states import STATES, State
from wire.messages import NodeFacts

Cause = tuple[str, str, str]
"""Kind, cause, and what is done meanwhile."""

_IN_SERVICE = STATES.index(State.IN_SERVICE)


class CountsAs(NamedTuple):
    """What a node's time counts as.

    Attributes:
        state: index of `STATES`.
        lost_to: `None` while it is not lost.
        risks: the incident for which it should be out, `None` while there is none.
        heard: it is exposed: a failure would be seen.
        busy: it has a job.
    """

    state: int
    lost_to: Cause | None
    risks: Cause | None
    heard: bool
    busy: bool


NOTHING_TOLD = CountsAs(STATES.index(State.UNKNOWN), None, None, heard=False, busy=False)


@dataclass(frozen=True, slots=True)
class Standing:
    """A finding that stands: when it came into the log, when on the node's clock, and who said it."""

    finding: Finding
    at: float
    observed_at: float
    origin: str


@dataclass(slots=True)
class Node:
    """One node.

    Attributes:
        since: when it came into the log.
        counts_as: what its time counts as since `counted_to`, up to when it was counted.
        people: why somebody else than fleetmend keeps it out, empty when nobody does.
        scheduler_told: whether a scheduler ever said something of it.
        open: its open incidents; `holders`: those whose cordon is confirmed, in order of taking.
        hold_changed_at: when our own cordon or uncordon last ended; an older look at the scheduler says nothing.
        drilled_at: when the last drill began.
        leases: benchmarks that may run on it now.
        by_state_s, gpu_by_state_s: seconds and GPU-seconds in each of `STATES`, within the span.
    """

    name: str
    since: float
    counted_to: float
    counts_as: CountsAs = NOTHING_TOLD
    facts: NodeFacts | None = None
    adapters: int = 0
    claims: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)
    places: Places = field(default_factory=dict)
    presence: str = ""
    schedulable: bool = True
    people: str = ""
    scheduler_told: bool = False
    jobs: tuple[str, ...] = ()
    findings: dict[FindingKey, Standing] = field(default_factory=dict)
    edges: dict[FindingKey, float] = field(default_factory=dict)
    open: dict[str, Open] = field(default_factory=dict)
    holders: dict[str, Open] = field(default_factory=dict)
    hold_changed_at: float = 0.0
    drilled_at: float = 0.0
    leases: int = 0
    incidents: int = 0
    by_state_s: list[float] = field(default_factory=lambda: [0.0] * len(STATES))
    gpu_by_state_s: list[float] = field(default_factory=lambda: [0.0] * len(STATES))

    @property
    def sku(self) -> str:
        """The model of its GPUs, empty while nobody told."""
        return self.facts.gpu_model if self.facts is not None else ""

    @property
    def gpus(self) -> int:
        """How many GPUs it has, 0 while nobody told."""
        return self.facts.gpu_count if self.facts is not None else 0

    @property
    def racks(self) -> tuple[str, ...]:
        """The racks that it stands in."""
        return self.places.get(RACK, ())

    @property
    def heard(self) -> bool:
        """Whether its agent is heard, so that it is powered and a failure would be seen."""
        return self.presence == "online"

    def state(self) -> State:
        """Return what its time counts as now."""
        if self.holders:
            kinds = {holder.kind for holder in self.holders.values()}
            return State.HELD_OUT if "fault" in kinds else State.DRILL if "drill" in kinds else State.PLANNED
        if self.people:
            return State.PLANNED
        if self.findings and NODE_LOST in self.findings:
            return State.LOST
        if not self.schedulable:
            return State.KEPT_OUT
        return State.IN_SERVICE if self.heard else State.UNKNOWN

    def count(self, state: int, seconds: float) -> None:
        """Count time in a state of `STATES`."""
        self.by_state_s[state] += seconds
        self.gpu_by_state_s[state] += seconds * self.gpus

    def would_count_as(self) -> CountsAs:
        """Return what its time counts as from now on."""
        state = self.state()
        if state is State.IN_SERVICE and not self.open and not self.leases:
            return CountsAs(_IN_SERVICE, None, None, self.heard, bool(self.jobs))
        return CountsAs(
            STATES.index(state),
            self._lost_to(state),
            self._risks() if state is State.IN_SERVICE else None,
            self.heard,
            bool(self.jobs),
        )

    def _lost_to(self, state: State) -> Cause | None:
        incident = self.culprit
        match state:
            case State.HELD_OUT | State.DRILL if incident is not None:
                return ("drill" if state is State.DRILL else "fault"), incident.fault_class, incident.doing
            case State.PLANNED if incident is not None and incident.kind == "admission":
                return "admission", incident.fault_class, incident.doing
            case State.PLANNED:
                return "people", "planned", ""
            case State.KEPT_OUT:
                return "scheduler", "kept_out", ""
            case State.LOST:
                return "lost", "node_lost", ""
            case State.IN_SERVICE if self.leases > 0:
                return "benchmarks", "benchmarks", ""
            case _:
                return None

    def _risks(self) -> Cause | None:
        """Return the first open incident that would take it out, while it is in service all the same."""
        for each in self.open.values():
            if each.kind == "fault" and each.is_failure:
                return "risk", each.fault_class, each.doing
        return None

    def is_what(self, facts: NodeFacts) -> None:
        """Take in what it says of itself."""
        self.facts = facts
        self.adapters = sum(text.startswith("rdma ") for text in facts.devices.values())
        self.stands(ITSELF, facts.places)

    def stands(self, source: str, places: Mapping[str, list[str]]) -> None:
        """Take in where a source says that it stands."""
        self.claims.pop(source, None)
        kept = claimed(places)
        if kept:
            self.claims[source] = kept
        self.places = merged(self.claims) if self.claims else {}

    def is_known(self, known: Known, tells_from: float) -> None:
        """Take in what is known besides the log, as far as it was so before the log tells."""
        self.is_what(known.facts)
        self.places = dict(known.places)
        self.claims = {ITSELF: dict(known.places)} if known.places else {}
        if 0.0 < known.presence_since < tells_from:
            self.presence = known.presence
        if 0.0 < known.observed_at < tells_from:
            self.schedulable, self.people, self.scheduler_told = known.schedulable, known.people, True

    def is_scheduled(self, event: events.ScheduleObserved) -> None:
        """Take in how the scheduler sees it; a look that is older than our own last change says nothing."""
        if event.observed_at < self.hold_changed_at:
            return
        self.schedulable, self.people, self.scheduler_told = event.schedulable, event.foreign_reason, True
        self.jobs = tuple(event.jobs)
        if not event.held_by:
            self.holders.clear()

    @property
    def culprit(self) -> Open | None:
        """The incident that its time out of service is put down to: the one about a fault that took it first."""
        return min(self.holders.values(), key=lambda each: each.kind != "fault", default=None)

    def forget_time(self) -> None:
        """Begin to count anew."""
        self.by_state_s, self.gpu_by_state_s = [0.0] * len(STATES), [0.0] * len(STATES)
        self.incidents = 0

    def let_go(self, incident_id: str) -> None:
        """An incident holds it no more; a node that nobody holds takes work again."""
        if self.holders.pop(incident_id, None) is not None and not self.holders:
            self.schedulable = not self.people

    def raised(self, event: events.FindingRaised, at: float) -> None:
        """Take in a finding; one that stands keeps the time of its first word."""
        key = event.finding.key
        if self.edges.get(key, 0.0) > event.observed_at:
            return
        self.edges[key] = event.observed_at
        before = self.findings.get(key)
        if before is None:
            self.findings[key] = Standing(event.finding, at, event.observed_at, event.origin)

    def cleared(self, event: events.FindingCleared) -> None:
        """Take in that a finding is over."""
        if self.edges.get(event.key, 0.0) <= event.observed_at:
            self.edges[event.key] = event.observed_at
            self.findings.pop(event.key, None)
