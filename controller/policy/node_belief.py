"""What is believed of one node."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from checks.finding import WORST_FIRST, Finding, FindingKey, Verdict
from controller.policy.scopes import Scope
from wire.messages import CheckLevel, NodeFacts


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
        reached_by: nodes that reach its host in the silence that goes on.
        unreached_by: nodes that do not, and that reach each other.
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
    jobs_unknown: str = ""
    schedule_observed_at: float = 0.0
    responding: bool | None = None
    power: str = ""
    power_because: str = ""
    reached_by: tuple[str, ...] = ()
    unreached_by: tuple[str, ...] = ()
    claims: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)
    places: dict[str, tuple[str, ...]] = field(default_factory=dict)
    scopes: tuple[Scope, ...] = ()
    drilled_at: float = 0.0
    known_since: float = 0.0
    past_boots: tuple[str, ...] = ()


def judged_otherwise(before: Finding, after: Finding) -> bool:
    """Return whether two findings of one key call for different answers."""
    return (before.verdict, before.action) != (after.verdict, after.action)


def health(node: NodeBelief) -> Verdict:
    """Return the node's health for people: its worst verdict, where a silent agent means `unknown`."""
    verdicts = {raised.finding.verdict for raised in node.findings.values()}
    for worst in (Verdict.FAILED, Verdict.DEGRADED, Verdict.UNKNOWN):
        if worst in verdicts:
            return worst
    return Verdict.OK if node.presence == "online" else Verdict.UNKNOWN


def by_health(nodes: Iterable[NodeBelief]) -> dict[Verdict, list[NodeBelief]]:
    """Return the nodes of each health, worst first. Most nodes are well, so those are told apart without a look."""
    found: dict[Verdict, list[NodeBelief]] = {verdict: [] for verdict in WORST_FIRST}
    well = found[Verdict.OK]
    for node in nodes:
        if node.findings or node.presence != "online":
            found[health(node)].append(node)
        else:
            well.append(node)
    return found
