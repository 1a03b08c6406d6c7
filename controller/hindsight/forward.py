"""What may come of an action that history did not take: outcomes and times drawn from the fault model.

A node that is set aside goes on in a world of its own, which knows one fault: one of those that show what was found
there, drawn by how often each comes. Every figure that rests on this is kept apart and says so.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from random import Random
from typing import Final

from checks.finding import Finding
from controller import events
from controller.bench_events import LeaseGranted
from controller.events import Event, Logged
from controller.hindsight.candidate import Candidate
from controller.policy.belief import Belief
from controller.policy.presence import AGENT_LOST, NODE_LOST, OURS
from controller.policy.rules import Rules
from controller.simulation.draws import Draws
from controller.simulation.fleet import Host, Parts
from controller.simulation.model import Kind, Model
from controller.simulation.signs import SIGNS
from controller.simulation.truth import Fault, fault_of
from controller.simulation.world import Node, World
from wire.messages import NodeFacts

PASSES: Final = frozenset({Kind.DECOY, Kind.UNHEARD, Kind.PLANNED})
OF_ONE_NODE: Final = frozenset({Kind.NODE, Kind.DECOY})
BY_SILENCE: Final[Mapping[Kind, str]] = {Kind.SILENT: NODE_LOST.check, Kind.UNHEARD: AGENT_LOST.check}


@dataclass(slots=True)
class Recorded(Parts):
    """The parts of a node as it told them itself."""

    told: NodeFacts = field(default_factory=NodeFacts)

    def facts(self, host: Host, *, benchmarks: bool = True) -> NodeFacts:  # noqa: ARG002  # it told them itself
        """Return what the node said of itself."""
        return self.told


@dataclass(slots=True)
class Aside(World):
    """The world of the nodes that are set aside. `recorded`: number of a fault → what was found of it."""

    recorded: dict[int, tuple[Finding, ...]] = field(default_factory=dict)

    def found(self, node: Node, fault: Fault) -> tuple[Finding, ...]:  # noqa: ARG002  # a fault is of one node here
        """Return what was found of a fault before."""
        return self.recorded[fault.number]


@dataclass(slots=True)
class Forward:
    """Draws how it goes on with nodes whose course is unknown; it is their world's clock as well.

    Attributes:
        now: Unix seconds.
        drawn: node → class of the fault that was drawn for it.
    """

    candidate: Candidate
    model: Model
    seed: int
    now: float = 0.0
    drawn: dict[str, str] = field(default_factory=dict)
    world: Aside = field(init=False)
    _faults: dict[str, Fault] = field(default_factory=dict)
    _due: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _order: Iterator[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        """Begin with nobody set aside."""
        self.world = Aside(self, self.model, Draws(self.seed))
        self.candidate.hear.append(self.hear)
        self.candidate.elsewhere = self.drawn

    @property
    def rules(self) -> Rules:
        """What the candidate decides by."""
        return self.candidate.rules

    @property
    def belief(self) -> Belief:
        """What the candidate believes."""
        return self.candidate.belief

    def after(self, delay_s: float, act: Callable[[], None]) -> None:
        """Have something happen so long from now."""
        heapq.heappush(self._due, (self.now + delay_s, next(self._order), act))

    def happen(self, *said: Event) -> None:
        """Tell the candidate."""
        for event in said:
            self.candidate.happen(event, self.now)

    def next_at(self) -> float:
        """Return when the next thing happens, infinity when nothing will."""
        return self._due[0][0] if self._due else float("inf")

    def run(self, until: float) -> None:
        """Let happen what is due by then."""
        while self.next_at() <= until:
            due, _, act = heapq.heappop(self._due)
            self.now = max(self.now, due)
            act()
        self.now = max(self.now, until)

    def hear(self, entry: Logged) -> None:
        """Have the world do what is decided about its nodes."""
        if self._node_of(entry.event) in self.drawn:
            self.world.hear(entry)

    def _node_of(self, event: Event) -> str:
        match event:
            case events.StepIntended(node=node) | LeaseGranted(nodes=[node]):
                return node
            case events.IncidentHandedOver(incident_id=incident_id):
                return self.belief.incidents[incident_id].node
        return ""

    def take(self, name: str, at: float) -> bool:
        """Take over a node with what was found there; False: the model knows no fault that shows it."""
        node = self.belief.nodes[name]
        found = tuple(raised.finding for raised in node.findings.values()) or self._condemning(name)
        stream = self.world.draws.stream("aside", name, round(at))
        kind_of_fault = self._class_of(found, stream)
        if not kind_of_fault:
            return False
        self.now = max(self.now, at)
        host = Host(name, node.facts.places)
        here = Node(host, Recorded(name, told=node.facts), self.world.draws.stream("aside repairs", name, round(at)))
        fault = fault_of(kind_of_fault, self.model.classes[kind_of_fault], (name,), self.model, stream, at)
        fault.number = next(self._order) + 1
        here.faults.append(fault)
        here.shown = dict.fromkeys((each.key for each in found if each.key in node.findings), fault)
        here.down = fault.kind is Kind.SILENT
        self.world.nodes[name], self.world.recorded[fault.number] = here, found
        self.drawn[name], self._faults[name] = kind_of_fault, fault
        if fault.kind in PASSES:
            self.after(fault.repair_s, partial(self.world.end, fault))
        self._go_on(name)
        return True

    def _condemning(self, name: str) -> tuple[Finding, ...]:
        return tuple(found for incident in self.belief.open_on(name) for found in incident.condemned_by.values())

    def _go_on(self, name: str) -> None:
        """Have the world carry out what is under way, and people take up what they have."""
        for incident in self.belief.open_on(name):
            if incident.intent is not None:
                self.world.hear(Logged(0, self.now, incident.intent))
            elif incident.outcome == "handed_over":
                self.world.hear(Logged(0, self.now, events.IncidentHandedOver(incident.id, events.Reason(""))))

    def _class_of(self, found: tuple[Finding, ...], stream: Random) -> str:
        """Draw a class among those that show one of these findings, by how often each comes."""
        said = {(each.check, each.code) for each in found}
        rates = {name: self._rate(name, said) for name in self.model.classes}
        names = [name for name, rate in rates.items() if rate > 0.0]
        return stream.choices(names, [rates[name] for name in names])[0] if names else ""

    def _rate(self, name: str, said: set[tuple[str, str]]) -> float:
        declared = self.model.classes[name]
        silent = {check for check, _ in said} & OURS
        if declared.kind in BY_SILENCE:
            worst = NODE_LOST.check if NODE_LOST.check in silent else next(iter(silent), "")
            return self.model.rate_of(name) if BY_SILENCE[declared.kind] == worst else 0.0
        if declared.kind not in OF_ONE_NODE:
            return 0.0
        showing = [sign for sign in declared.signs if said & {(each.check, each.code) for each in SIGNS[sign]}]
        return self.model.rate_of(name) * len(showing) / len(declared.signs) if showing else 0.0

    def is_over(self, name: str) -> bool:
        """Whether nothing is left of it: no fault, and no incident of the candidate's."""
        here = self.world.nodes[name]
        return self._faults[name].ended <= self.now and not here.down and not self.belief.open_on(name)

    def leave(self, name: str) -> None:
        """The node takes part in what was recorded again."""
        del self.drawn[name], self._faults[name]
