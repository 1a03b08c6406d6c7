"""What is believed of the cell: a fold over the event log, with no other input.

`Belief.apply` is the only place where state changes. Policy reads it and never writes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, get_type_hints

from checks.finding import Finding, FindingKey, Verdict
from controller import events
from controller.policy import places
from controller.policy.approvals import RETURN, asked
from controller.policy.history import DRILL_S, History
from controller.policy.incident import Approval, Incident, Phase
from controller.policy.ledger import ScopeLedger
from controller.policy.lemon import LEMON_KEY, Failure, Failures, counts_as_failure, weight_of
from controller.policy.outbreaks import Outbreaks
from controller.policy.parts import Seat, seats
from controller.policy.playbook import BREAKER_CLASS, Verb
from controller.policy.presence import OURS
from controller.policy.rollouts import Rollouts
from controller.policy.scopes import CHECK_KIND, FLEET, NODE_KIND, PLAYBOOK_KIND, Scope, parse
from controller.policy.transitions import hold_to, leads_to, place_of
from wire.messages import CheckLevel, NodeFacts

CLOSED_KEPT = 5_000
"""Closed incidents that stay in memory, for people. Source: our choice; some 4 kB each."""

CONDEMNED = "part.condemned"
PAST_BOOTS_KEPT = 4
"""Source: our choice; a start that comes later than the fourth after it is healed by the next level alone."""

_NONE: dict[str, Incident] = {}


class _Folds:
    """One fold per kind of event, found by its type alone: singledispatchmethod builds a function on each call."""

    def __init__(self) -> None:
        self._folds: dict[type, Callable[[Any, Any, float], None]] = {}

    def register(self, fold: Callable[[Any, Any, float], None]) -> Callable[[Any, Any, float], None]:
        """Take a fold for the type that its parameter `event` names."""
        self._folds[get_type_hints(fold)["event"]] = fold
        return fold

    def of(self, event: events.Event) -> Callable[[Any, Any, float], None]:
        """Return the fold of an event."""
        return self._folds[type(event)]


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
        responding: whether the scheduler's own daemon on it answers, `None` when nobody can say.
        power: what its BMC says in the silence that goes on: on, off or unknown; empty while nobody asked.
        power_because: that in a sentence.
        claims: source → what it says of where the node stands.
        places: kind → names, merged from `claims`; `controller.policy.places.places_of` adds what is derived.
        scopes: the fleet, the node itself, and every place that it stands in.
        past_boots: boot ids that the node itself called over: a start of one of these comes late and is no reboot.
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
    responding: bool | None = None
    power: str = ""
    power_because: str = ""
    claims: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)
    places: dict[str, tuple[str, ...]] = field(default_factory=dict)
    scopes: tuple[Scope, ...] = ()
    drilled_at: float = 0.0
    known_since: float = 0.0
    past_boots: tuple[str, ...] = ()


@dataclass(slots=True)
class Belief:
    """The cell.

    Attributes:
        open_incidents: subset of `incidents`, in order of opening.
        incidents: the open ones, and the newest `closed_kept` closed ones; older ones live in the log alone.
        opened: how many incidents were ever opened.
        open_by_node: the open incidents of each node, oldest first; "" has those of the whole fleet.
        ledger: nodes that fleetmend holds out or is about to, and those taken out lately, per scope.
        outbreaks: which nodes failed lately, for shared causes.
        residents: (kind, name) of a place, derived ones included → the nodes there, in no order: sort before you
            decide by it.
        unanswered: findings that stand and that nobody decided about yet, so that deciding costs what is open, not what
            exists.
        left: findings that stand and that no playbook answers, by node.
        silent: nodes whose agent is lost or silent, with when that began.
        unreported: those of `silent` for which no finding stands yet.
        agents_lost: nodes on which the controller itself raised a finding about that, in order: a set has none, and a
            replay would decide otherwise (I12).
        orders: order id → incident id, for orders under way.
        cordons_asked: node → a person's wish to take it out.
        pauses: scope → why nothing new may be begun in it.
        rollouts: the text of every playbook that is trusted, and those that are tried.
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
    ledger: ScopeLedger = field(default_factory=ScopeLedger)
    outbreaks: Outbreaks = field(default_factory=Outbreaks)
    residents: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    unanswered: dict[tuple[str, FindingKey], None] = field(default_factory=dict)
    left: dict[str, dict[FindingKey, None]] = field(default_factory=dict)
    silent: dict[str, float] = field(default_factory=dict)
    unreported: dict[str, float] = field(default_factory=dict)
    agents_lost: dict[str, None] = field(default_factory=dict)
    orders: dict[str, str] = field(default_factory=dict)
    cordons_asked: dict[str, events.OperatorActed] = field(default_factory=dict)
    pauses: dict[Scope, str] = field(default_factory=dict)
    rollouts: Rollouts = field(default_factory=Rollouts)
    closed: dict[str, None] = field(default_factory=dict)
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
            scopes = (FLEET, Scope(NODE_KIND, name))
            found = self.nodes[name] = NodeBelief(name, scopes=scopes, known_since=self.last_at)
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
        self._apply.of(logged.event)(self, logged.event, logged.at)
        if incident is not None:
            hold_to(allowed, logged.event, place_of(incident))
        self._count_hold(self._node_of(logged.event))

    def _node_of(self, event: events.Event) -> str:
        incident = self.incidents.get(events.incident_of(event))
        return incident.node if incident is not None else events.node_of(event)

    def _count_hold(self, name: str) -> None:
        """Holds begin and end in many events; they are counted in this one place."""
        if not name:
            return
        holders = [incident for incident in self.open_by_node.get(name, _NONE).values() if incident.holding]
        if holders or name in self.held:
            self.ledger.hold(name, self.scopes_of(name, holders) if holders else ())

    @property
    def held(self) -> Collection[str]:
        """The nodes that fleetmend holds out or is about to: what budgets count."""
        return self.ledger.scopes_held.keys()

    def scopes_of(self, name: str, incidents: list[Incident]) -> tuple[Scope, ...]:
        """Return every scope of a node, and those that these incidents of it add."""
        scopes = self.nodes[name].scopes
        if not incidents:
            return scopes
        playbooks = {Scope(PLAYBOOK_KIND, incident.playbook.name) for incident in incidents}
        checks = {Scope(CHECK_KIND, key.check) for incident in incidents for key in incident.condemned_by}
        return (*scopes, *sorted(playbooks), *sorted(checks))

    _apply: ClassVar = _Folds()

    @_apply.register
    def _(self, event: events.NodeSeen, _at: float) -> None:
        node = self.node(event.node)
        with self._moving(node):
            node.boot_id, node.facts = event.boot_id, event.facts
            _claim(node, places.ITSELF, event.facts.places)
        if self.condemned:
            here = {seat.device: seat for seat in seats(event.facts) if seat.serial in self.condemned}
            if here or event.node in self.condemned_seen:
                self.condemned_seen[event.node] = here

    @_apply.register
    def _(self, event: events.NodePlaced, _at: float) -> None:
        node = self.node(event.node)
        with self._moving(node):
            _claim(node, event.source, event.places)

    @contextlib.contextmanager
    def _moving(self, node: NodeBelief) -> Iterator[None]:
        """Keep the index of residents true over a change of a node's places, facts or jobs."""
        before = places.places_of(node)
        yield
        after = places.places_of(node)
        if before == after:
            return
        places.move(self.residents, node.name, before=before, after=after)
        standing = (Scope(kind, name) for kind, names in after.items() for name in names)
        node.scopes = (FLEET, Scope(NODE_KIND, node.name), *standing)

    @_apply.register
    def _(self, event: events.FindingRaised, at: float) -> None:
        node, key = self.node(event.node), event.finding.key
        if node.edges.get(key, 0.0) > event.observed_at:
            return
        node.edges[key] = event.observed_at
        if event.finding.check in OURS:
            self.agents_lost[event.node] = None
            self._count_silence(event.node)
        elif key == LEMON_KEY:
            self.lemons.add(event.node)
        before = node.findings.get(key)
        if before is None or judged_otherwise(before.finding, event.finding):
            since = at if before is None else before.since
            self._leave_domain(event.node, key, before)
            node.findings[key] = Raised(event.finding, since, event.observed_at, event.origin)
            self._leave_unanswered(event.node, event.finding)
            if event.finding.verdict is Verdict.FAILED:
                self.outbreaks.fail(event.node, key.check, self.scopes_of(event.node, []), at)
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
        self._ask_all_again()
        self.rules_digest = event.digest

    def _ask_all_again(self) -> None:
        """Other playbooks may answer what was left."""
        self.unanswered.update(((node, key), None) for node, keys in self.left.items() for key in keys)
        self.left.clear()

    @_apply.register
    def _(self, event: events.PlaybooksTrusted, _at: float) -> None:
        for playbook in event.playbooks:
            self.rollouts.trust(playbook)
        self._ask_all_again()

    @_apply.register
    def _(self, event: events.RolloutBegan, _at: float) -> None:
        self.rollouts.begin(event.playbook)
        self._ask_all_again()

    @_apply.register
    def _(self, event: events.RolloutSettled, _at: float) -> None:
        self.rollouts.settle(event)
        self._ask_all_again()

    @_apply.register
    def _(self, event: events.FindingCleared, _at: float) -> None:
        node = self.node(event.node)
        if node.edges.get(event.key, 0.0) > event.observed_at:
            return
        node.edges[event.key] = event.observed_at
        self._leave_domain(event.node, event.key, node.findings.pop(event.key, None))
        if event.key.check in OURS and OURS.isdisjoint(key.check for key in node.findings):
            self.agents_lost.pop(event.node, None)
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
        if event.rebooted and event.previous_boot_id != event.boot_id:
            node.past_boots = (*node.past_boots, event.previous_boot_id)[-PAST_BOOTS_KEPT:]
        if event.boot_id in node.past_boots:
            return
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
            node.power = node.power_because = ""
        self._count_silence(event.node)

    def _count_silence(self, name: str) -> None:
        if name in self.silent and name not in self.agents_lost:
            self.unreported[name] = self.silent[name]
        else:
            self.unreported.pop(name, None)

    @_apply.register
    def _(self, event: events.BmcObserved, _at: float) -> None:
        """A node that is heard again meanwhile speaks for itself."""
        if event.node in self.silent:
            node = self.node(event.node)
            node.power, node.power_because = event.power, event.because

    @_apply.register
    def _(self, event: events.OrderEnded, at: float) -> None:
        incident = self.incidents.get(self.orders.get(event.order_id, ""))
        if incident is not None and incident.intent is not None and incident.intent.key == event.order_id:
            incident.order = event
            incident.taken_up_at = incident.taken_up_at or at
            incident.evidence = {**incident.evidence, **event.evidence}

    @_apply.register
    def _(self, event: events.ScheduleObserved, _at: float) -> None:
        node = self.node(event.node)
        if event.observed_at < node.hold_changed_at:
            return
        node.schedulable, node.foreign_reason = event.schedulable, event.foreign_reason
        node.responding = event.responding
        self._count_jobs(node.jobs, event.jobs)
        with self._moving(node):
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
                self._approve_or_abort(self.open_incidents[event.subject], event, by)
            case "promote" | "withdraw":
                self.rollouts.decide_by_hand(event, by)
                self._ask_all_again()
            case _:
                """An incident that closed in between: nothing is left to approve or abort."""

    def _approve_or_abort(self, incident: Incident, event: events.OperatorActed, by: str) -> None:
        if event.verb == "abort":
            incident.stop_asked = f"aborted by {by}"
            return
        wanted = asked(incident)
        what = event.what or wanted
        if what == RETURN == wanted:
            incident.return_asked = True
            return
        incident.approvals[what] = Approval(by, event.expires_at)
        if incident.waiting_for == "approval" and what != wanted:
            incident.waiting_for = ""

    def _pause(self, subject: str, reason: str) -> None:
        scope = parse(subject)
        if reason:
            self.pauses[scope] = reason
        else:
            self.pauses.pop(scope, None)

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
            set_mode=event.mode,
            part=event.part,
            recurrence=event.recurrence,
            drill=self._is_drill(event),
        )
        self.incidents[incident.id] = self.open_incidents[incident.id] = incident
        self.open_by_node.setdefault(incident.node, {})[incident.id] = incident
        self.opened += 1
        self.rollouts.answer(incident)
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
        incident = self.incidents[event.incident_id]
        if incident.node:
            self._join(incident, event.finding, at)
            return
        incident.members.setdefault(event.node, set()).add(event.finding.key)
        self._forget_question(event.node, event.finding.key)
        self.node(event.node).findings[event.finding.key].incident_id = incident.id
        self.outbreaks.explain(event.node, event.finding.check, self.scopes_of(event.node, []))

    @_apply.register
    def _(self, event: events.IncidentSuperseded, _at: float) -> None:
        self.incidents[event.incident_id].stop_asked = f"{event.by} explains it"

    def _leave_domain(self, node: str, key: FindingKey, raised: Raised | None) -> None:
        domain = self.open_incidents.get(raised.incident_id) if raised is not None else None
        if domain is None or node not in domain.members:
            return
        domain.members[node].discard(key)
        if not domain.members[node]:
            del domain.members[node]

    def _free_members(self, domain: Incident) -> None:
        """What a domain no longer explains is each node's own again."""
        for node, keys in domain.members.items():
            for key in sorted(keys, key=str):
                raised = self.node(node).findings.get(key)
                if raised is not None:
                    raised.incident_id = ""
                    self.unanswered[node, key] = None
        domain.members.clear()

    @_apply.register
    def _(self, event: events.IncidentReclassified, at: float) -> None:
        incident = self.incidents[event.incident_id]
        incident.recurrence = event.recurrence
        incident.fault_class, incident.playbook = event.fault_class, event.playbook
        incident.because, incident.set_mode = event.reason.because, event.mode
        self.rollouts.answer(incident)
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
    def _(self, event: events.IncidentWaiting, at: float) -> None:
        incident = self.incidents[event.incident_id]
        incident.waiting_for, incident.waiting_since = event.for_what, at

    @_apply.register
    def _(self, event: events.StepIntended, at: float) -> None:
        incident = self.incidents[event.incident_id]
        incident.intend(event, at)
        incident.boot_before = self.nodes[event.node].boot_id if event.node in self.nodes else ""
        self.orders[event.key] = event.incident_id
        if event.verb == Verb.CORDON:
            node = self.node(event.node)
            node.hold_id = node.hold_id or event.hold_id
            if event.node not in self.held:
                self._take_out(self.incidents[event.incident_id], at)

    def _take_out(self, incident: Incident, at: float) -> None:
        scopes = self.scopes_of(incident.node, [incident])
        self.ledger.take(scopes, at)
        for breaker in self.open_on(""):
            half_open = breaker.fault_class == BREAKER_CLASS and breaker.step() is None and not breaker.canary
            if half_open and parse(breaker.device) in scopes:
                breaker.canary = incident.id

    def _end_canary(self, incident: Incident, outcome: str) -> None:
        """A half-open breaker learns how its canary ended; one that could not be taken out was none."""
        if outcome:
            self.rollouts.end(incident)
        for breaker in self.open_on(""):
            if breaker.canary == incident.id and outcome:
                breaker.canary_outcome = breaker.canary_outcome or outcome
            elif breaker.canary == incident.id:
                breaker.canary = ""

    @_apply.register
    def _(self, event: events.StepProgressed, at: float) -> None:
        incident = self.incidents[event.incident_id]
        if incident.intent is not None and incident.intent.key == event.key:
            incident.progress = event
            if event.state == "accepted":
                incident.taken_up_at = at

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
            self._let_go(incident)
            self.node(incident.node).hold_changed_at = at
        elif verb == Verb.UNCORDON and event.outcome == "refused":
            _lose_hold(incident, event.because)
            self._let_go(incident)

    def _let_go(self, incident: Incident) -> None:
        incident.holding = incident.cordoned = False
        self._free_if_unheld(incident.node)

    @_apply.register
    def _(self, event: events.StepSkipped, _at: float) -> None:
        incident = self.incidents[event.incident_id]
        incident.skip(event.go_to)
        if event.verb == Verb.UNCORDON:
            self._let_go(incident)

    def _cordon_ended(self, incident: Incident, event: events.StepEnded, at: float) -> None:
        """Only a refusal says that nothing was done: after any other failure the node may be out, and counts so."""
        node = self.node(incident.node)
        if event.outcome == "done":
            incident.cordoned = True
            node.held_since, node.schedulable, node.hold_changed_at = node.held_since or at, False, at
            return
        self._end_canary(incident, "")
        if event.outcome == "refused":
            self._let_go(incident)
            node.foreign_reason = event.because

    def _drop_intent(self, incident: Incident) -> None:
        if incident.intent is not None:
            self.orders.pop(incident.intent.key, None)
            incident.drop_intent()

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
        self._end_canary(incident, incident.outcome)
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
        incident.releases_as = event.ends_as
        incident.enter(Phase.RELEASING)

    @_apply.register
    def _(self, event: events.IncidentAborted, at: float) -> None:
        incident = self.incidents[event.incident_id]
        incident.outcome, incident.because, incident.stop_asked = "aborted", event.reason.because, ""
        self._end_canary(incident, incident.outcome)
        self._drop_intent(incident)
        incident.enter(Phase.HAND_OVER)
        incident.position = len(incident.steps())
        self.history.remember(incident, at)

    @_apply.register
    def _(self, event: events.IncidentClosed, at: float) -> None:
        incident = self.open_incidents.pop(event.incident_id)
        self._free_members(incident)
        self._leave_open(incident)
        incident.outcome, incident.closed_at, incident.because = event.outcome, at, event.reason.because
        incident.waiting_for, incident.holding, incident.cordoned = "", False, False
        self._end_canary(incident, incident.outcome)
        if incident.fault_class == BREAKER_CLASS:
            self.ledger.forget(parse(incident.device))
        self._drop_intent(incident)
        self._free_if_unheld(incident.node)
        self.history.remember(incident, at)

    def _leave_open(self, incident: Incident) -> None:
        here = self.open_by_node[incident.node]
        del here[incident.id]
        if not here:
            del self.open_by_node[incident.node]
        self.closed[incident.id] = None
        if len(self.closed) > self.closed_kept:
            oldest = next(iter(self.closed))
            del self.closed[oldest], self.incidents[oldest]


def _claim(node: NodeBelief, source: str, claim: dict[str, list[str]]) -> None:
    kept = places.claimed(claim)
    if kept == node.claims.get(source, {}):
        return
    node.claims.pop(source, None)
    if kept:
        node.claims[source] = kept
    node.places = places.merged(node.claims)


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
    incident.holding = incident.cordoned = False
    whose = f"it is now held as {foreign_reason!r}" if foreign_reason else "it is schedulable again"
    incident.stop_asked = f"a person changed the node in the scheduler: {whose}"


def health(node: NodeBelief) -> Verdict:
    """Return the node's health for people: its worst verdict, where a silent agent means `unknown`."""
    verdicts = {raised.finding.verdict for raised in node.findings.values()}
    for worst in (Verdict.FAILED, Verdict.DEGRADED, Verdict.UNKNOWN):
        if worst in verdicts:
            return worst
    return Verdict.OK if node.presence == "online" else Verdict.UNKNOWN
