"""What is believed of the cell: a fold over the event log, with no other input.

`Belief.apply` is the only place where state changes. Policy reads it and never writes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import singledispatchmethod

from checks.finding import Finding, FindingKey, Verdict
from controller import events
from controller.policy.history import DRILL_S, History
from controller.policy.incident import Incident, Phase
from controller.policy.lemon import LEMON_KEY, Failure, Failures, counts_as_failure, weight_of
from controller.policy.parts import Seat, seats
from controller.policy.playbook import Verb
from controller.policy.transitions import hold_to, leads_to, place_of
from wire.messages import CheckLevel, NodeFacts

CLOSED_KEPT = 5_000
"""Closed incidents that stay in memory, for people. Source: our choice; some 4 kB each."""

PRESENCE = "agent.presence"
CONDEMNED = "part.condemned"

_NONE: dict[str, Incident] = {}


@dataclass(slots=True)
class Raised:
    """A finding that stands now. `since` is the controller's clock, `incident_id` who answers it."""

    finding: Finding
    since: float
    observed_at: float
    origin: str
    incident_id: str = ""


@dataclass(slots=True)
class NodeBelief:
    """One node.

    Attributes:
        presence: online, stopped, lost, silent, or unknown before the first word.
        hold_id: incident under whose name the node is held out, from the moment that is intended; empty when free.
        held_since: when the cordon was confirmed, 0 while it is only intended.
        hold_changed_at: when our own cordon or uncordon last ended; an older look at the scheduler says nothing.
        edges: per finding key, the node's clock of the newest edge, so that a late, older edge changes nothing.
    """

    name: str
    boot_id: str = ""
    facts: NodeFacts = field(default_factory=NodeFacts)
    presence: str = "unknown"
    presence_since: float = 0.0
    findings: dict[FindingKey, Raised] = field(default_factory=dict)
    checks: dict[str, CheckLevel] = field(default_factory=dict)
    edges: dict[FindingKey, float] = field(default_factory=dict)
    agent_started_at: float = 0.0
    rebooted_at: float = 0.0
    hold_id: str = ""
    held_since: float = 0.0
    hold_changed_at: float = 0.0
    schedulable: bool = True
    foreign_reason: str = ""
    jobs: tuple[str, ...] = ()
    schedule_observed_at: float = 0.0
    paused: str = ""
    drilled_at: float = 0.0
    known_since: float = 0.0


@dataclass(slots=True)
class Belief:
    """The cell.

    Attributes:
        open_incidents: subset of `incidents`, in order of opening.
        incidents: the open ones, and the newest `closed_kept` closed ones; older ones live in the log alone.
        opened: how many incidents were ever opened.
        open_by_node: the open incidents of each node, oldest first; "" has those of the whole fleet.
        held: nodes that fleetmend holds out or is about to: what budgets count.
        unanswered: findings that stand and that nobody decided about yet, so that deciding costs what is open, not what
            exists.
        left: findings that stand and that no playbook answers, by node.
        silent: nodes whose agent is lost or silent, with when that began.
        unreported: those of `silent` for which no finding stands yet.
        agents_lost: nodes on which the controller itself raised a finding about that.
        orders: order id → incident id, for orders under way.
        cordons_asked: node → a person's wish to take it out.
        paused: why nothing new may be begun, empty when it may.
        closed: the closed incidents that are kept, in order of closing.
        history: what happened to each part before.
        failures: incidents that took nodes out lately; `lemons`: nodes for which a finding about that stands.
        job_nodes: job → on how many nodes it runs.
        condemned: serial of a part that was replaced for what no diagnosis clears → its incident.
        condemned_seen: node → device → seat of a condemned part that it names; a node stays when they are gone.
        began_at: when the log began.
        rules_digest: of the rules that decide now.
    """

    nodes: dict[str, NodeBelief] = field(default_factory=dict)
    incidents: dict[str, Incident] = field(default_factory=dict)
    open_incidents: dict[str, Incident] = field(default_factory=dict)
    opened: int = 0
    open_by_node: dict[str, dict[str, Incident]] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    unanswered: dict[tuple[str, FindingKey], None] = field(default_factory=dict)
    left: dict[str, dict[FindingKey, None]] = field(default_factory=dict)
    silent: dict[str, float] = field(default_factory=dict)
    unreported: dict[str, float] = field(default_factory=dict)
    agents_lost: set[str] = field(default_factory=set)
    orders: dict[str, str] = field(default_factory=dict)
    cordons_asked: dict[str, events.OperatorActed] = field(default_factory=dict)
    paused: str = ""
    closed: deque[str] = field(default_factory=deque)
    closed_kept: int = CLOSED_KEPT
    history: History = field(default_factory=History)
    failures: Failures = field(default_factory=Failures)
    lemons: set[str] = field(default_factory=set)
    job_nodes: dict[str, int] = field(default_factory=dict)
    condemned: dict[str, str] = field(default_factory=dict)
    condemned_seen: dict[str, dict[str, Seat]] = field(default_factory=dict)
    began_at: float = 0.0
    rules_digest: str = ""
    last_event_id: int = 0
    last_at: float = 0.0

    def node(self, name: str) -> NodeBelief:
        """Return the node, adding it when it is new."""
        found = self.nodes.get(name)
        if found is None:
            found = self.nodes[name] = NodeBelief(name, known_since=self.last_at)
        return found

    def next_incident_id(self) -> str:
        """Return the name of the next incident: counted, so that a replay gives the same."""
        return f"inc-{self.opened + 1:06d}"

    def open_on(self, node: str) -> list[Incident]:
        """Return the open incidents of a node, oldest first; those of the whole fleet for an empty name."""
        return list(self.open_by_node.get(node, _NONE).values())

    def apply(self, logged: events.Logged) -> None:
        """Take one log entry in. Entries must come in order.

        Raises:
            OutOfPlace: the event cannot happen to its incident where that stands.
        """
        self.last_event_id, self.last_at = logged.event_id, logged.at
        self.began_at = self.began_at or logged.at
        incident = self.incidents.get(events.incident_of(logged.event))
        allowed = leads_to(place_of(incident), logged.event) if incident is not None else frozenset()
        self._apply(logged.event, logged.at)
        if incident is not None:
            hold_to(allowed, logged.event, place_of(incident))
        self._count_hold(self._node_of(logged.event))

    def _node_of(self, event: events.Event) -> str:
        incident = self.incidents.get(events.incident_of(event))
        return incident.node if incident is not None else events.node_of(event)

    def _count_hold(self, name: str) -> None:
        """Holds begin and end in many events; they are counted in this one place."""
        if any(incident.holding for incident in self.open_by_node.get(name, _NONE).values()):
            self.held.add(name)
        else:
            self.held.discard(name)

    @singledispatchmethod
    def _apply(self, event: object, at: float) -> None:
        raise TypeError(f"no fold for {type(event).__name__} at {at}")

    @_apply.register
    def _(self, event: events.NodeSeen, _at: float) -> None:
        node = self.node(event.node)
        node.boot_id, node.facts = event.boot_id, event.facts
        if self.condemned:
            here = {seat.device: seat for seat in seats(event.facts) if seat.serial in self.condemned}
            if here or event.node in self.condemned_seen:
                self.condemned_seen[event.node] = here

    @_apply.register
    def _(self, event: events.FindingRaised, at: float) -> None:
        node, key = self.node(event.node), event.finding.key
        if node.edges.get(key, 0.0) > event.observed_at:
            return
        node.edges[key] = event.observed_at
        if event.finding.check == PRESENCE:
            self.agents_lost.add(event.node)
            self._count_silence(event.node)
        elif key == LEMON_KEY:
            self.lemons.add(event.node)
        before = node.findings.get(key)
        if before is None or judged_otherwise(before.finding, event.finding):
            since = at if before is None else before.since
            node.findings[key] = Raised(event.finding, since, event.observed_at, event.origin)
            self._leave_unanswered(event.node, event.finding)
        else:
            before.finding, before.observed_at = event.finding, event.observed_at
            self._name_part(before)

    def _name_part(self, raised: Raised) -> None:
        """Let the incident know its part: an agent may learn the serial number after the fault."""
        incident = self.open_incidents.get(raised.incident_id)
        known = incident.condemned_by.get(raised.finding.key) if incident is not None else None
        serial = raised.finding.serial
        if incident is None or known is None or known.serial or not serial:
            return
        incident.condemned_by[known.key] = replace(known, serial=serial)
        if incident.part in {f"{incident.node}/{known.device}", known.device}:
            incident.part = serial

    def _leave_unanswered(self, node: str, finding: Finding) -> None:
        self._forget_question(node, finding.key)
        if finding.verdict in {Verdict.FAILED, Verdict.DEGRADED}:
            self.unanswered[node, finding.key] = None

    def _forget_question(self, node: str, key: FindingKey) -> None:
        self.unanswered.pop((node, key), None)
        left = self.left.get(node, {})
        left.pop(key, None)
        if not left:
            self.left.pop(node, None)

    @_apply.register
    def _(self, event: events.FindingLeft, _at: float) -> None:
        self.unanswered.pop((event.node, event.key), None)
        self.left.setdefault(event.node, {})[event.key] = None

    @_apply.register
    def _(self, event: events.RulesLoaded, _at: float) -> None:
        """Other playbooks may answer what was left: everything is asked again."""
        self.unanswered.update(((node, key), None) for node, keys in self.left.items() for key in keys)
        self.left.clear()
        self.rules_digest = event.digest

    @_apply.register
    def _(self, event: events.FindingCleared, _at: float) -> None:
        node = self.node(event.node)
        if node.edges.get(event.key, 0.0) > event.observed_at:
            return
        node.edges[event.key] = event.observed_at
        node.findings.pop(event.key, None)
        if event.key.check == PRESENCE:
            self.agents_lost.discard(event.node)
            self._count_silence(event.node)
        elif event.key == LEMON_KEY:
            self.lemons.discard(event.node)
        self._forget_question(event.node, event.key)

    @_apply.register
    def _(self, event: events.CheckLevelsChanged, _at: float) -> None:
        self.node(event.node).checks = dict(event.checks)

    @_apply.register
    def _(self, event: events.AgentStarted, at: float) -> None:
        node = self.node(event.node)
        node.boot_id, node.agent_started_at = event.boot_id, at
        if event.rebooted:
            node.rebooted_at = at

    @_apply.register
    def _(self, event: events.PresenceChanged, at: float) -> None:
        node = self.node(event.node)
        node.presence, node.presence_since = event.state, at
        if event.state in {"lost", "silent"}:
            self.silent.setdefault(event.node, at)
        else:
            self.silent.pop(event.node, None)
        self._count_silence(event.node)

    def _count_silence(self, name: str) -> None:
        if name in self.silent and name not in self.agents_lost:
            self.unreported[name] = self.silent[name]
        else:
            self.unreported.pop(name, None)

    @_apply.register
    def _(self, event: events.OrderEnded, _at: float) -> None:
        incident = self.incidents.get(self.orders.get(event.order_id, ""))
        if incident is not None and incident.intent is not None and incident.intent.key == event.order_id:
            incident.order = event
            incident.evidence = {**incident.evidence, **event.evidence}

    @_apply.register
    def _(self, event: events.ScheduleObserved, _at: float) -> None:
        node = self.node(event.node)
        if event.observed_at < node.hold_changed_at:
            return
        node.schedulable, node.foreign_reason = event.schedulable, event.foreign_reason
        self._count_jobs(node.jobs, event.jobs)
        node.jobs, node.schedule_observed_at = tuple(event.jobs), event.observed_at
        if node.held_since and event.held_by != node.hold_id and not self._uncordoning(event.node):
            for incident in self.open_on(event.node):
                _lose_hold(incident, event.foreign_reason)

    def _count_jobs(self, before: Iterable[str], after: Iterable[str]) -> None:
        for job in set(after) - set(before):
            self.job_nodes[job] = self.job_nodes.get(job, 0) + 1
        for job in set(before) - set(after):
            self.job_nodes[job] -= 1
            if not self.job_nodes[job]:
                del self.job_nodes[job]

    def _count_failure(self, incident: Incident, at: float) -> None:
        if counts_as_failure(incident):
            job_nodes = max((self.job_nodes[job] for job in self.node(incident.node).jobs), default=1)
            self.failures.add(Failure(incident.node, at, weight_of(incident.fault_class, job_nodes)))

    def _uncordoning(self, node: str) -> bool:
        """Our own uncordon is under way: the scheduler may show its effect before the engine says so."""
        return any(i.intent is not None and i.intent.verb == Verb.UNCORDON for i in self.open_on(node))

    @_apply.register
    def _(self, event: events.OperatorActed, _at: float) -> None:
        by = f"{event.by}: {event.because}" if event.because else event.by
        match event.verb:
            case "pause" | "resume":
                self._pause(event.subject, by if event.verb == "pause" else "")
            case "cordon":
                self.cordons_asked[event.subject] = event
            case "uncordon":
                self.cordons_asked.pop(event.subject, None)
                for incident in self.open_on(event.subject):
                    incident.stop_asked = f"returned to service by {by}"
            case "approve" | "abort" if event.subject in self.open_incidents:
                self._approve_or_abort(self.open_incidents[event.subject], event.verb, by)
            case _:
                """An incident that closed in between: nothing is left to approve or abort."""

    def _approve_or_abort(self, incident: Incident, verb: str, by: str) -> None:
        if verb == "abort":
            incident.stop_asked = f"aborted by {by}"
        elif incident.outcome:
            incident.return_asked = True
        else:
            incident.approved_by = by

    def _pause(self, subject: str, reason: str) -> None:
        if subject in {"", "fleet"}:
            self.paused = reason
        else:
            self.node(subject).paused = reason

    @_apply.register
    def _(self, event: events.DrillStarted, at: float) -> None:
        """What a drill breaks is found like any fault; it only says nothing about the part."""
        self.node(event.node).drilled_at = at

    @_apply.register
    def _(self, event: events.IncidentOpened, at: float) -> None:
        incident = Incident(
            event.incident_id,
            event.node,
            event.device,
            event.fault_class,
            event.playbook,
            opened_at=at,
            because=event.reason.because,
            part=event.part,
            recurrence=event.recurrence,
            drill=self._is_drill(event),
        )
        self.incidents[incident.id] = self.open_incidents[incident.id] = incident
        self.open_by_node.setdefault(incident.node, {})[incident.id] = incident
        self.opened += 1
        self._count_failure(incident, at)
        self._ask_again(incident)
        self.cordons_asked.pop(event.node, None)
        for finding in event.findings:
            self._join(incident, finding, at)

    def _is_drill(self, event: events.IncidentOpened) -> bool:
        """A fault may have to stand for a while before its incident opens, so its own time counts."""
        node = self.nodes.get(event.node)
        if node is None:
            return False
        raised = [node.findings[each.key].since for each in event.findings if each.key in node.findings]
        return any(since - node.drilled_at <= DRILL_S for since in raised)

    def _ask_again(self, incident: Incident) -> None:
        """What nobody answers by itself may belong to an incident of the same device."""
        left = self.left.get(incident.node, {})
        for key in [key for key in left if key.device == incident.device]:
            self._forget_question(incident.node, key)
            self.unanswered[incident.node, key] = None

    @_apply.register
    def _(self, event: events.IncidentJoined, at: float) -> None:
        self._join(self.incidents[event.incident_id], event.finding, at)

    @_apply.register
    def _(self, event: events.IncidentReclassified, at: float) -> None:
        incident = self.incidents[event.incident_id]
        incident.recurrence = event.recurrence
        incident.fault_class, incident.playbook = event.fault_class, event.playbook
        incident.because = event.reason.because
        self._drop_intent(incident)
        incident.enter(Phase.AUTOMATIC)
        self._join(incident, event.finding, at)

    def _join(self, incident: Incident, finding: Finding, at: float) -> None:
        incident.condemned_by[finding.key] = finding
        incident.last_finding_at = at
        self._forget_question(incident.node, finding.key)
        raised = self.node(incident.node).findings.get(finding.key) if incident.node else None
        if raised is not None:
            raised.incident_id = incident.id

    @_apply.register
    def _(self, event: events.IncidentWaiting, _at: float) -> None:
        self.incidents[event.incident_id].waiting_for = event.for_what

    @_apply.register
    def _(self, event: events.StepIntended, at: float) -> None:
        self.incidents[event.incident_id].intend(event, at)
        self.orders[event.key] = event.incident_id
        if event.verb == Verb.CORDON:
            node = self.node(event.node)
            node.hold_id = node.hold_id or event.hold_id

    @_apply.register
    def _(self, event: events.StepEnded, at: float) -> None:
        incident = self.incidents[event.incident_id]
        if incident.intent is None or incident.intent.key != event.key:
            return
        verb = incident.intent.verb
        self.orders.pop(event.key, None)
        incident.end_step(event, at)
        if verb == Verb.CORDON:
            self._cordon_ended(incident, event, at)
        elif verb == Verb.UNCORDON and event.outcome == "done":
            incident.holding = False
            self.node(incident.node).hold_changed_at = at
            self._free_if_unheld(incident.node)

    @_apply.register
    def _(self, event: events.StepSkipped, _at: float) -> None:
        incident = self.incidents[event.incident_id]
        incident.skip(event.go_to)
        if event.verb == Verb.UNCORDON:
            incident.holding = False
            self._free_if_unheld(incident.node)

    def _cordon_ended(self, incident: Incident, event: events.StepEnded, at: float) -> None:
        node = self.node(incident.node)
        if event.outcome == "done":
            node.held_since, node.schedulable, node.hold_changed_at = node.held_since or at, False, at
            return
        incident.holding = False
        self._free_if_unheld(incident.node)
        if event.outcome == "refused":
            node.foreign_reason = event.because

    def _drop_intent(self, incident: Incident) -> None:
        if incident.intent is not None:
            self.orders.pop(incident.intent.key, None)
            incident.intent, incident.order = None, None

    def _free_if_unheld(self, name: str) -> None:
        node = self.nodes.get(name)
        if node is None or any(incident.holding for incident in self.open_on(name)):
            return
        if node.hold_id:
            node.hold_id, node.held_since, node.schedulable = "", 0.0, not node.foreign_reason

    @_apply.register
    def _(self, event: events.IncidentHandedOver, at: float) -> None:
        incident = self.incidents[event.incident_id]
        incident.rma = event.rma or incident.rma
        incident.outcome, incident.because = "handed_over", event.reason.because
        incident.return_asked = False
        incident.enter(Phase.HAND_OVER)
        self.history.remember(incident, at)

    @_apply.register
    def _(self, event: events.IncidentReturning, _at: float) -> None:
        incident = self.incidents[event.incident_id]
        if event.part:
            incident.successor, self.condemned[incident.part] = event.part, incident.id
        incident.outcome, incident.return_asked = "", False
        incident.enter(Phase.RETURNING)

    @_apply.register
    def _(self, event: events.IncidentReleasing, _at: float) -> None:
        incident = self.incidents[event.incident_id]
        self._drop_intent(incident)
        incident.enter(Phase.RELEASING)

    @_apply.register
    def _(self, event: events.IncidentAborted, at: float) -> None:
        incident = self.incidents[event.incident_id]
        incident.outcome, incident.because, incident.stop_asked = "aborted", event.reason.because, ""
        self._drop_intent(incident)
        incident.enter(Phase.HAND_OVER)
        incident.position = len(incident.steps())
        self.history.remember(incident, at)

    @_apply.register
    def _(self, event: events.IncidentClosed, at: float) -> None:
        incident = self.open_incidents.pop(event.incident_id)
        self._leave_open(incident)
        incident.outcome, incident.closed_at, incident.because = event.outcome, at, event.reason.because
        incident.waiting_for, incident.holding = "", False
        self._drop_intent(incident)
        self._free_if_unheld(incident.node)
        self.history.remember(incident, at)

    def _leave_open(self, incident: Incident) -> None:
        here = self.open_by_node[incident.node]
        del here[incident.id]
        if not here:
            del self.open_by_node[incident.node]
        self.closed.append(incident.id)
        if len(self.closed) > self.closed_kept:
            del self.incidents[self.closed.popleft()]


def incident_in(entries: Iterable[events.Logged], incident_id: str) -> Incident | None:
    """Return an incident as the entries about it tell, for one that closed too long ago to be in belief.

    Returns:
        `None` when the entries do not have its beginning.
    """
    recalled = Belief()
    for entry in entries:
        if incident_id in recalled.incidents or isinstance(entry.event, events.IncidentOpened):
            recalled.apply(entry)
    return recalled.incidents.get(incident_id)


def judged_otherwise(before: Finding, after: Finding) -> bool:
    """Return whether two findings of one key call for different answers."""
    return (before.verdict, before.action) != (after.verdict, after.action)


def _lose_hold(incident: Incident, foreign_reason: str) -> None:
    """A person changed the scheduler's hold while it was ours: the plan is theirs now (I5)."""
    incident.holding = False
    whose = f"it is now held as {foreign_reason!r}" if foreign_reason else "it is schedulable again"
    incident.stop_asked = f"a person changed the node in the scheduler: {whose}"


def health(node: NodeBelief) -> Verdict:
    """Return the node's health for people: its worst verdict, where a silent agent means `unknown`."""
    verdicts = {raised.finding.verdict for raised in node.findings.values()}
    for worst in (Verdict.FAILED, Verdict.DEGRADED, Verdict.UNKNOWN):
        if worst in verdicts:
            return worst
    return Verdict.OK if node.presence == "online" else Verdict.UNKNOWN
