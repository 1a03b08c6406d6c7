"""Holds what a simulated cell did to what was really so."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from controller import events
from controller.events import Logged
from controller.policy.playbook import Verb
from controller.simulation.model import NODE_FAULTS, Kind
from controller.simulation.truth import DAY_S, Fault
from controller.simulation.world import Node, Truth, World

HOUR_S: Final = 3600.0
RECIDIVISM_S: Final = 7 * DAY_S
"""A fault that is back within this was not mended. Source: the definition of recidivism in the fault model."""


@dataclass(slots=True)
class Seen:
    """What became of one fault.

    Attributes:
        detected_at: when an incident was opened for it, 0 while none was.
        isolated_at: when its node was taken out, 0 while it was not.
        returned_at: when the node was given back after it, 0 while it was not.
    """

    fault: Fault
    began_at: float
    detected_at: float = 0.0
    isolated_at: float = 0.0
    returned_at: float = 0.0


@dataclass(slots=True)
class Cordon:
    """One cordon, and what was so at that moment. `cause`: class of the fault behind it, empty for none."""

    node: str
    at: float
    right: bool
    cause: str


@dataclass(slots=True)
class Clocked:
    """How long something is so, added up."""

    total_s: float = 0.0
    since: float = -1.0

    def turn(self, *, on: bool, at: float) -> None:
        """Say how it is from now on."""
        if on and self.since < 0.0:
            self.since = at
        elif not on and self.since >= 0.0:
            self.total_s += at - self.since
            self.since = -1.0


@dataclass(slots=True)
class _Standing:
    """How a node stands."""

    held: bool = False
    down: bool = False
    acting: set[int] = field(default_factory=set)
    out: Clocked = field(default_factory=Clocked)
    missed: Clocked = field(default_factory=Clocked)


@dataclass(slots=True)
class Score(Truth):
    """What is counted while a simulation runs; `result.py` makes figures of it."""

    world: World
    seen: dict[int, Seen] = field(default_factory=dict)
    cordons: list[Cordon] = field(default_factory=list)
    incidents: int = 0
    tickets: int = 0
    pages: int = 0
    came_back: int = 0
    lemons_named: set[str] = field(default_factory=set)
    most_held: int = 0
    stages_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    _standing: dict[str, _Standing] = field(default_factory=lambda: defaultdict(_Standing))
    _causes: dict[str, list[int]] = field(default_factory=dict)
    _verbs: dict[str, tuple[str, str, float]] = field(default_factory=dict)
    _held: int = 0

    # What is really so

    def acts(self, node: Node, fault: Fault, at: float) -> None:
        """Begin to count a fault, or go on when it came back."""
        if fault.number in self.seen:
            self.came_back += fault.is_nodes_own
        else:
            self.seen[fault.number] = Seen(fault, at)
        if fault.is_nodes_own:
            self._standing[node.host.name].acting.add(fault.number)
            self._recount(node.host.name, at)

    def rests(self, node: Node, fault: Fault, at: float) -> None:
        """Count a fault no longer."""
        self._standing[node.host.name].acting.discard(fault.number)
        self._recount(node.host.name, at)

    def is_up(self, node: Node, at: float) -> None:
        """Count a node's time in service."""
        self._standing[node.host.name].down = node.down
        self._recount(node.host.name, at)

    def _recount(self, name: str, at: float) -> None:
        standing = self._standing[name]
        standing.out.turn(on=standing.held or standing.down, at=at)
        standing.missed.turn(on=bool(standing.acting) and not standing.held and not standing.down, at=at)

    # What the cell did

    def hear(self, entry: Logged) -> None:
        """Count one entry of the log."""
        match entry.event:
            case events.IncidentOpened() as opened:
                self.incidents += 1
                self._causes[opened.incident_id] = self._behind(opened)
                self._detect(opened.incident_id, entry.at)
            case events.IncidentJoined() as joined:
                self._joined(joined, entry.at)
            case events.StepIntended() as intent:
                self._verbs[intent.key] = (intent.verb, intent.node, entry.at)
            case events.StepEnded() as ended:
                self._ended(ended, entry.at)
            case events.FindingRaised(finding=finding, node=node) if finding.check == "node.lemon":
                self.lemons_named.add(node)

    def _behind(self, opened: events.IncidentOpened) -> list[int]:
        """Return the faults that an incident is about, by what their nodes show."""
        node = self.world.nodes.get(opened.node)
        if node is None:
            return [n for n, seen in self.seen.items() if seen.fault.kind is Kind.LEAF and seen.fault in self._acting()]
        shown = {node.shown[each.key].number for each in opened.findings if each.key in node.shown}
        unheard = {f.number for f in node.faults if f.kind in {Kind.SILENT, Kind.UNHEARD}}
        return sorted(shown or unheard)

    def _acting(self) -> list[Fault]:
        return [fault for node in self.world.nodes.values() for fault in node.faults]

    def _joined(self, joined: events.IncidentJoined, at: float) -> None:
        node = self.world.nodes.get(joined.node or self._node_of(joined.incident_id))
        behind = node.shown.get(joined.finding.key) if node is not None else None
        if behind is not None and behind.number not in self._causes.setdefault(joined.incident_id, []):
            self._causes[joined.incident_id].append(behind.number)
            self._detect(joined.incident_id, at)

    def _node_of(self, incident_id: str) -> str:
        incident = self.world.clock.belief.incidents.get(incident_id)
        return incident.node if incident is not None else ""

    def _detect(self, incident_id: str, at: float) -> None:
        for number in self._causes[incident_id]:
            seen = self.seen[number]
            seen.detected_at = seen.detected_at or at

    def _ended(self, ended: events.StepEnded, at: float) -> None:
        verb, node, began = self._verbs.pop(ended.key, ("", "", at))
        self.stages_s[_STAGES.get(verb, "other")].append(at - began)
        if ended.outcome != "done":
            return
        match verb:
            case Verb.CORDON:
                self._cordoned(ended.incident_id, node, at)
            case Verb.UNCORDON:
                self._returned(ended.incident_id, node, at)
            case Verb.TICKET:
                self.tickets += 1
            case Verb.PAGE:
                self.pages += 1

    def _cordoned(self, incident_id: str, node: str, at: float) -> None:
        causes = [self.seen[number] for number in self._causes.get(incident_id, [])]
        standing = self._standing[node]
        cause = next((seen.fault.name for seen in causes), "")
        self.cordons.append(Cordon(node, at, bool(standing.acting), cause))
        for seen in causes:
            seen.isolated_at = seen.isolated_at or at
        self._held += not standing.held
        self.most_held = max(self.most_held, self._held)
        standing.held = True
        self._recount(node, at)

    def _returned(self, incident_id: str, node: str, at: float) -> None:
        for number in self._causes.get(incident_id, []):
            self.seen[number].returned_at = at
        standing = self._standing[node]
        self._held -= standing.held
        standing.held = False
        self._recount(node, at)

    def end(self, at: float) -> None:
        """Close what is still counted."""
        for standing in self._standing.values():
            standing.out.turn(on=False, at=at)
            standing.missed.turn(on=False, at=at)

    @property
    def out_s(self) -> float:
        """Seconds of nodes that were held or down."""
        return sum(standing.out.total_s for standing in self._standing.values())

    @property
    def missed_s(self) -> float:
        """Seconds of nodes that were in service with a fault of their own."""
        return sum(standing.missed.total_s for standing in self._standing.values())


_STAGES: Final[Mapping[str, str]] = {
    Verb.DRAIN: "drain",
    Verb.RESTART_SERVICE: "action",
    Verb.RESET_GPU: "action",
    Verb.RELOAD_DRIVER: "action",
    Verb.REBOOT: "action",
    Verb.POWER_CYCLE: "action",
    Verb.VERIFY: "verify",
    Verb.PROBATION: "probation",
}


def is_visible(fault: Fault) -> bool:
    """Whether a fault is one that its node's checks can show."""
    return fault.kind in NODE_FAULTS - {Kind.HIDDEN}
