"""Holds what a simulated cell did to what was really so."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from checks.finding import FindingKey
from controller import events
from controller.events import Logged
from controller.policy.playbook import Verb
from controller.policy.reporting.incidents import Open, opened
from controller.simulation.model import NODE_FAULTS, Kind
from controller.simulation.tally import Clocked, Parts, Returns, Tally
from controller.simulation.truth import Fault
from controller.simulation.world import Node, Truth, World

HOUR_S: Final = 3600.0


@dataclass(slots=True)
class Seen:
    """What is known of one fault that is not over.

    Attributes:
        detected_at: when an incident was opened for it, 0 while none was.
        isolated_at: when its node was taken out for it, 0 while it was not.
        returned_at: when the node was last given back after it, 0 while it was not.
        incidents: how many are open for it.
    """

    fault: Fault
    began_at: float
    detected_at: float = 0.0
    isolated_at: float = 0.0
    returned_at: float = 0.0
    incidents: int = 0


@dataclass(slots=True)
class _Standing:
    """How a node stands. `stopped`: faults of its own that stopped a job, which may still be placed there, and since
    when. `wrongly`: held without a fault of its own."""

    held: bool = False
    worked_on: bool = False
    down: bool = False
    acting: set[int] = field(default_factory=set)
    stopped: dict[int, float] = field(default_factory=dict)
    out: Clocked = field(default_factory=Clocked)
    kept: Clocked = field(default_factory=Clocked)
    missed: Clocked = field(default_factory=Clocked)
    wrongly: Clocked = field(default_factory=Clocked)

    @property
    def is_taken_out(self) -> bool:
        return self.held or self.worked_on


@dataclass(slots=True)
class Score(Truth):
    """What is counted while a simulation runs; `result.py` makes figures of it.

    Attributes:
        tallies: class of fault → what became of it.
        false_cordons: of nodes without a fault of their own, by the class that brought them about, empty for nothing.
        budget_wait_s: how long incidents waited for a budget.
    """

    world: World
    tallies: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    cordons: int = 0
    false_cordons: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    incidents: int = 0
    tickets: int = 0
    pages: int = 0
    lemons_named: set[str] = field(default_factory=set)
    most_held: int = 0
    budget_wait_s: float = 0.0
    parts: Parts = field(default_factory=Parts)
    seen: dict[int, Seen] = field(default_factory=dict)
    _standing: dict[str, _Standing] = field(default_factory=lambda: defaultdict(_Standing))
    _causes: dict[str, list[int]] = field(default_factory=dict)
    _open: dict[str, Open] = field(default_factory=dict)
    _returns: Returns = field(default_factory=Returns)
    _held: int = 0

    # What is really so

    def acts(self, node: Node, fault: Fault, at: float) -> None:
        """Begin to count a fault, or go on when it came back."""
        name, tally, standing = node.host.name, self.tallies[fault.name], self._standing[node.host.name]
        if fault.number not in self.seen:
            self.seen[fault.number] = Seen(fault, at)
            tally.truth += 1
        if fault.is_nodes_own:
            since_days = self._returns.days_since(fault.name, name, fault.place, at)
            for days in tally.back:
                tally.back[days] += since_days <= days
            standing.acting.add(fault.number)
            if is_visible(fault) and not standing.is_taken_out:
                standing.stopped[fault.number] = at
            self._recount(name, at)

    def rests(self, node: Node, fault: Fault, at: float) -> None:
        """Count a fault no longer."""
        standing = self._standing[node.host.name]
        standing.acting.discard(fault.number)
        if fault.number in standing.stopped:
            self._stopped(fault, min(at - standing.stopped.pop(fault.number), self._longest_stop_s))
        self._recount(node.host.name, at)
        self._settle([fault.number])

    def is_up(self, node: Node, at: float) -> None:
        """Count a node's time in service."""
        self._standing[node.host.name].down = node.down
        self._recount(node.host.name, at)

    def is_worked_on(self, node: Node, at: float) -> None:
        """Count a node that people took out themselves, or gave back."""
        standing = self._standing[node.host.name]
        standing.worked_on = node.worked_on
        self._taken_out(standing, at)
        self._recount(node.host.name, at)

    def _recount(self, name: str, at: float) -> None:
        standing = self._standing[name]
        out = standing.is_taken_out or standing.down
        standing.out.turn(on=out, at=at)
        standing.kept.turn(on=standing.held, at=at)
        standing.missed.turn(on=bool(standing.acting) and not out, at=at)

    def _taken_out(self, standing: _Standing, at: float) -> None:
        """Jobs that stood still go on elsewhere."""
        if standing.is_taken_out:
            for number, since in standing.stopped.items():
                self._stopped(self.seen[number].fault, at - since)
            standing.stopped.clear()

    def _stopped(self, fault: Fault, waited_s: float) -> None:
        # The scheduler itself places nothing on a node that is down.
        tally = self.tallies[fault.name]
        tally.stops += 1
        notices_s = self.world.model.repairs.scheduler_notices_s
        tally.stopped_s += min(waited_s, notices_s) if fault.kind is Kind.SILENT else waited_s

    @property
    def _longest_stop_s(self) -> float:
        """Where nothing takes the node out, the collective gives up at last, and a person looks for the node."""
        return self.world.model.jobs.gives_up_s + self.world.model.repairs.answer.median_s

    # What the cell did

    def hear(self, entry: Logged) -> None:
        """Count one entry of the log."""
        event, at = entry.event, entry.at
        match event:
            case events.IncidentOpened():
                self._opened(event, at)
            case events.IncidentJoined():
                self._joined(event, at)
            case events.IncidentWaiting() if (open_ := self._open.get(event.incident_id)) is not None:
                open_.waits(event.for_what, at)
            case events.StepIntended() if (open_ := self._open.get(event.incident_id)) is not None:
                open_.intends(event, at)
            case events.StepEnded():
                self._ended(event, at)
            case events.IncidentHandedOver() | events.IncidentAborted():
                self._open[event.incident_id].is_handed_over(at)
            case events.IncidentReturning():
                self._open[event.incident_id].returns(at)
            case events.IncidentClosed():
                self._closed(event, at)
            case events.FindingRaised(finding=finding, node=node) if finding.check == "node.lemon":
                self.lemons_named.add(node)

    def _opened(self, event: events.IncidentOpened, at: float) -> None:
        self.incidents += 1
        self._open[event.incident_id] = opened(event, at, sku="", drill=False)
        self._causes[event.incident_id] = []
        self._detect(event.incident_id, self._behind(event), at)

    def _behind(self, opened: events.IncidentOpened) -> list[int]:
        """Return the faults that an incident is about, by what its node shows. Nodes join that of a domain later."""
        node = self.world.nodes.get(opened.node)
        return _behind(node, (each.key for each in opened.findings)) if node is not None else []

    def _joined(self, joined: events.IncidentJoined, at: float) -> None:
        open_ = self._open.get(joined.incident_id)
        node = self.world.nodes.get(joined.node or (open_.node if open_ is not None else ""))
        if node is not None and open_ is not None:
            self._detect(joined.incident_id, _behind(node, [joined.finding.key]), at)

    def _detect(self, incident_id: str, numbers: Iterable[int], at: float) -> None:
        causes = self._causes[incident_id]
        for number in numbers:
            seen = self.seen[number]
            if number in causes:
                continue
            causes.append(number)
            seen.incidents += 1
            if not seen.detected_at:
                seen.detected_at = at
                self.tallies[seen.fault.name].detected += 1
                self.tallies[seen.fault.name].to_find.add(at - seen.began_at)

    def _ended(self, ended: events.StepEnded, at: float) -> None:
        open_ = self._open.get(ended.incident_id)
        intent = open_.ends(ended, at) if open_ is not None else None
        if intent is None or open_ is None or ended.outcome != "done":
            return
        match intent.verb:
            case Verb.CORDON:
                open_.cordoned_at = open_.cordoned_at or at
                self._cordoned(ended.incident_id, intent.node, at)
            case Verb.UNCORDON:
                self._returned(ended.incident_id, intent.node, at)
            case Verb.TICKET:
                self.tickets += 1
            case Verb.PAGE:
                self.pages += 1

    def _cordoned(self, incident_id: str, node: str, at: float) -> None:
        causes, standing = [self.seen[number] for number in self._causes[incident_id]], self._standing[node]
        name, right = causes[0].fault.name if causes else "", bool(standing.acting)
        self.cordons += 1
        if name:
            self.tallies[name].cordons += 1
            self.tallies[name].right += right
        if not right:
            self.false_cordons[name] += 1
            standing.wrongly.turn(on=True, at=at)
        for seen in causes:
            if not seen.isolated_at:
                seen.isolated_at = at
                self.tallies[seen.fault.name].to_isolate.add(at - seen.detected_at)
        self._held += not standing.held
        self.most_held = max(self.most_held, self._held)
        standing.held = True
        self._taken_out(standing, at)
        self._recount(node, at)

    def _returned(self, incident_id: str, node: str, at: float) -> None:
        for number in self._causes[incident_id]:
            seen = self.seen[number]
            seen.returned_at = at
            if seen.fault.is_nodes_own:
                self.tallies[seen.fault.name].returns += 1
                self._returns.give_back(seen.fault.name, node, seen.fault.place, at)
        standing = self._standing[node]
        self._held -= standing.held
        standing.held = False
        standing.wrongly.turn(on=False, at=at)
        self._recount(node, at)

    def _closed(self, closed: events.IncidentClosed, at: float) -> None:
        causes, open_ = self._causes.pop(closed.incident_id), self._open.pop(closed.incident_id)
        open_.does(open_.doing, at)
        self.budget_wait_s += sum(spent for what, spent in open_.spent_s.items() if what.startswith("wait:budget"))
        if closed.outcome == "returned" and open_.cordoned_at:
            self.parts.add(open_.spent_by_part())
            for name in {self.seen[number].fault.name for number in causes}:
                self.tallies[name].parts.add(open_.spent_by_part())
        for number in causes:
            self.seen[number].incidents -= 1
        self._settle(causes)

    def _settle(self, numbers: Iterable[int]) -> None:
        """Forget the faults that are over, and that no incident is open for."""
        for number in numbers:
            seen = self.seen.get(number)
            if seen is not None and seen.fault.ended < math.inf and not seen.incidents:
                del self.seen[number]
                if seen.returned_at:
                    self.tallies[seen.fault.name].to_return.add(seen.returned_at - seen.began_at)

    def end(self, at: float) -> None:
        """Close what is still counted."""
        for standing in self._standing.values():
            for clock in (standing.out, standing.kept, standing.missed, standing.wrongly):
                clock.turn(on=False, at=at)
            for number, since in standing.stopped.items():
                self._stopped(self.seen[number].fault, min(at - since, self._longest_stop_s))
        for seen in self.seen.values():
            if seen.returned_at:
                self.tallies[seen.fault.name].to_return.add(seen.returned_at - seen.began_at)

    @property
    def out_s(self) -> float:
        """Seconds of nodes that were out or down."""
        return sum(standing.out.total_s for standing in self._standing.values())

    @property
    def held_s(self) -> float:
        """Seconds of nodes that fleetmend held."""
        return sum(standing.kept.total_s for standing in self._standing.values())

    @property
    def missed_s(self) -> float:
        """Seconds of nodes that were in service with a fault of their own."""
        return sum(standing.missed.total_s for standing in self._standing.values())

    @property
    def wrongly_s(self) -> float:
        """Seconds of nodes that were held after a false cordon."""
        return sum(standing.wrongly.total_s for standing in self._standing.values())


QUIET: Final = frozenset({Kind.SILENT, Kind.UNHEARD, Kind.POWER})
"""What is told by silence alone."""


def _behind(node: Node, keys: Iterable[FindingKey]) -> list[int]:
    shown = {node.shown[key].number for key in keys if key in node.shown}
    return sorted(shown or {fault.number for fault in node.faults if fault.kind in QUIET})


def is_visible(fault: Fault) -> bool:
    """Whether a fault is one that its node's checks can show."""
    return fault.kind in NODE_FAULTS - {Kind.HIDDEN}
