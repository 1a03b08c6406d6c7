"""What is believed of the cell: a fold over the event log, with no other input.

`controller.policy.folding.apply` is the only place where it changes. Policy reads it and never writes.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from checks.finding import FindingKey
from controller import events
from controller.policy.benching.book import BenchBook
from controller.policy.enrolling.book import EnrolmentBook
from controller.policy.history import History
from controller.policy.incident import Incident
from controller.policy.ledger import ScopeLedger
from controller.policy.lemon import Failures
from controller.policy.node_belief import NodeBelief
from controller.policy.noticing.book import NoticeBook
from controller.policy.outbreaks import Outbreaks
from controller.policy.parts import Seat
from controller.policy.proposal import Proposal
from controller.policy.rollouts import Rollouts
from controller.policy.scopes import CHECK_KIND, FLEET, NODE_KIND, PLAYBOOK_KIND, Scope
from controller.policy.sweeping.book import SweepBook

CLOSED_KEPT = 5_000
"""Closed incidents that stay in memory, for people. Source: our choice; some 4 kB each."""

CONDEMNED = "part.condemned"

_NONE: dict[str, Incident] = {}


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
        bench: active benchmarks.
        sweeps: those of many nodes in groups.
        notices: tickets and pages.
        enrolments: what the tokens of hosts that enrol were used for.
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
    bench: BenchBook = field(default_factory=BenchBook)
    sweeps: SweepBook = field(default_factory=SweepBook)
    notices: NoticeBook = field(default_factory=NoticeBook)
    proposals: dict[str, Proposal] = field(default_factory=dict)
    enrolments: EnrolmentBook = field(default_factory=EnrolmentBook)
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
