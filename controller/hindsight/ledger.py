"""What one side did and what it cost: cordons, time out of service, time with a known fault in service, notices."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from checks.finding import Verdict
from controller import events
from controller.events import Event, Logged, incident_of, node_of
from controller.policy.belief import Belief
from controller.policy.playbook import Verb

HOUR_S: Final = 3600.0


@dataclass(slots=True, eq=False)
class Hold:
    """One time a node was out.

    Attributes:
        because: why its incident opened.
        keys: the findings that it was about.
        drill: a drill made the fault.
        ended_at: infinity while it is held.
        other_because: what the other side made of it at that moment.
    """

    node: str
    at: float
    incident_id: str
    playbook: str
    because: str
    drill: bool
    keys: frozenset[object]
    ended_at: float = float("inf")
    other_because: str = ""


@dataclass(slots=True)
class Amounts:
    """What adds up. Times in seconds."""

    node_out_s: float = 0.0
    gpu_out_s: float = 0.0
    missed_s: float = 0.0
    notices: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class _Clock:
    """How a node stands since when."""

    since: float
    held: bool = False
    missed: bool = False


@dataclass(slots=True)
class Ledger:
    """One side.

    Attributes:
        belief: of that side.
        known: while both sides can be held to each other.
        aside: while the node's course is unknown to the candidate.
    """

    belief: Belief
    holds: list[Hold] = field(default_factory=list)
    known: Amounts = field(default_factory=Amounts)
    aside: Amounts = field(default_factory=Amounts)
    set_aside: set[str] = field(default_factory=set)
    _clocks: dict[str, _Clock] = field(default_factory=dict)
    _open: dict[str, Hold] = field(default_factory=dict)
    _intents: dict[str, events.StepIntended] = field(default_factory=dict)

    def hear(self, entry: Logged) -> None:
        """Count one entry, which is believed already."""
        match entry.event:
            case events.StepIntended() as intent:
                self._intents[intent.key] = intent
            case events.StepEnded() as ended:
                self._end_step(ended, entry.at)
        name = self._node_of(entry.event)
        if name:
            self._look_at(name, entry.at)

    def _node_of(self, event: Event) -> str:
        incident = self.belief.incidents.get(incident_of(event))
        return incident.node if incident is not None else node_of(event)

    def _end_step(self, ended: events.StepEnded, at: float) -> None:
        intent = self._intents.pop(ended.key, None)
        if intent is None or ended.outcome != "done":
            return
        if intent.verb in {Verb.TICKET, Verb.PAGE}:
            self._amounts(intent.node).notices[intent.verb] += 1
        elif intent.verb == Verb.CORDON and intent.node not in self._open:
            incident = self.belief.incidents[intent.incident_id]
            keys: frozenset[object] = frozenset(incident.condemned_by)
            hold = Hold(intent.node, at, incident.id, incident.playbook.name, incident.because, incident.drill, keys)
            self._open[intent.node] = hold
            self.holds.append(hold)

    def _amounts(self, node: str) -> Amounts:
        return self.aside if node in self.set_aside else self.known

    def _look_at(self, name: str, at: float) -> None:
        node = self.belief.nodes.get(name)
        if node is None:
            return
        clock = self._clocks.get(name)
        held = node.held_since > 0.0
        failing = any(raised.finding.verdict is Verdict.FAILED for raised in node.findings.values())
        missed = failing and not held and not node.foreign_reason
        if clock is None:
            self._clocks[name] = _Clock(at, held, missed)
            return
        if (clock.held, clock.missed) == (held, missed):
            return
        self._count(name, clock, at)
        clock.held, clock.missed = held, missed
        if not held and name in self._open:
            self._open.pop(name).ended_at = at

    def _count(self, name: str, clock: _Clock, at: float) -> None:
        amounts, spent_s = self._amounts(name), at - clock.since
        if spent_s <= 0.0:
            return
        clock.since = at
        if clock.held:
            amounts.node_out_s += spent_s
            amounts.gpu_out_s += spent_s * self.gpus(name)
        if clock.missed:
            amounts.missed_s += spent_s

    def gpus(self, name: str) -> int:
        """Return how many GPUs a node says it has."""
        node = self.belief.nodes.get(name)
        return node.facts.gpu_count if node is not None else 0

    def turn(self, name: str, at: float, *, aside: bool) -> None:
        """Count a node's time apart from here on, or no longer."""
        if name in self._clocks:
            self._count(name, self._clocks[name], at)
        (self.set_aside.add if aside else self.set_aside.discard)(name)

    def end(self, at: float) -> None:
        """Count up to the end of the log."""
        for name, clock in self._clocks.items():
            self._count(name, clock, at)
