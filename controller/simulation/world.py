"""The world that a simulated cell looks at: nodes that fail and are mended, and people who take their time.

It hears what the policy intends, and says what came of it, as nodes, schedulers and technicians would. What is true of
a fault stays here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from random import Random

from checks.finding import Finding, FindingKey, Verdict
from controller import events
from controller.bench_events import LeaseGranted
from controller.events import Logged, StepIntended
from controller.policy.playbook import Verb
from controller.simulation.clockwork import Clock
from controller.simulation.draws import Draws, remaining_s, time_s
from controller.simulation.fleet import Host, Parts
from controller.simulation.measuring import Measuring
from controller.simulation.model import Kind, Model, Spread
from controller.simulation.people import People
from controller.simulation.signs import shown_by
from controller.simulation.truth import Fault

MENDS_AS: Mapping[Verb, str] = {
    Verb.RESTART_SERVICE: "restart_service",
    Verb.RESET_GPU: "reset",
    Verb.RELOAD_DRIVER: "reset",
    Verb.REBOOT: "reboot",
    Verb.POWER_CYCLE: "reboot",
}
"""Verb → what the model calls it. A driver that is loaded anew resets the GPUs."""

DEAD = frozenset({Kind.SILENT, Kind.POWER})
"""What keeps a node down."""


@dataclass(slots=True)
class Node:
    """One node, as it is. `shown`: findings that its agent has raised, and the fault behind each."""

    host: Host
    parts: Parts
    stream: Random
    boot: int = 1
    down: bool = False
    worked_on: bool = False
    faults: list[Fault] = field(default_factory=list)
    shown: dict[FindingKey, Fault] = field(default_factory=dict)

    @property
    def boot_id(self) -> str:
        """The boot it is on."""
        return f"{self.host.name}-boot-{self.boot}"


class Truth:
    """Whoever is told what is really so. This one does nothing with it."""

    def acts(self, node: Node, fault: Fault, at: float) -> None:
        """A fault begins, or comes back, on a node."""

    def rests(self, node: Node, fault: Fault, at: float) -> None:
        """A fault is gone from a node, for good or for a while."""

    def is_up(self, node: Node, at: float) -> None:
        """A node comes up or goes down, as `node.down` says."""

    def is_worked_on(self, node: Node, at: float) -> None:
        """People take a node out themselves, or give it back, as `node.worked_on` says."""


@dataclass(slots=True)
class World:
    """All nodes.

    Attributes:
        truth: told of what is really so; see `Truth`.
        judged: what the fleet's own policy makes of what a check says.
        measures: whether its nodes run benchmarks.
    """

    clock: Clock
    model: Model
    draws: Draws
    nodes: dict[str, Node] = field(default_factory=dict)
    truth: Truth = field(default_factory=Truth)
    judged: Callable[[Finding], Finding] = lambda finding: finding
    measures: bool = True
    people: People = field(init=False)
    _measuring: Measuring = field(init=False)

    def __post_init__(self) -> None:
        """People and benchmarks belong to one world."""
        self.people, self._measuring = People(self), Measuring(self)

    def open(self, hosts: Iterable[Host]) -> None:
        """Have every node be heard and in service."""
        for host in hosts:
            node = Node(host, Parts(host.name), self.draws.stream("repairs", host.name))
            self.nodes[host.name] = node
            self.clock.happen(
                self._seen(node),
                events.PresenceChanged(host.name, "online", "the agent connected"),
                self._schedule(node),
            )

    def _seen(self, node: Node) -> events.NodeSeen:
        facts = node.parts.facts(node.host, benchmarks=self.measures)
        return events.NodeSeen(node.host.name, node.boot_id, facts)

    def begin(self, fault: Fault) -> None:
        """Have a fault happen now; what is broken already does not break once more in the same way."""
        if any(_is_alike(fault, other) for name in fault.nodes for other in self.nodes[name].faults):
            return
        for name in fault.nodes:
            self._act(self.nodes[name], fault)
        self.people.notice(fault)
        match fault.kind:
            case Kind.NODE | Kind.LEAF | Kind.DOMAIN:
                self._show(fault)
            case Kind.POWER:
                self._lose_power(fault)
            case Kind.SILENT:
                self._fall_silent(self.nodes[fault.nodes[0]])
            case Kind.HIDDEN:
                pass
            case Kind.DECOY:
                self._show(fault)
                self.clock.after(fault.repair_s, partial(self.end, fault))
            case Kind.UNHEARD:
                self._go_unheard(fault)
            case Kind.PLANNED:
                self._maintain(fault)

    def hear(self, entry: Logged) -> None:
        """Do what a decision asks for."""
        match entry.event:
            case StepIntended() as intent:
                self.clock.after(self.model.repairs.effect_s, partial(self._carry_out, intent))
            case events.IncidentHandedOver(incident_id=incident_id):
                self.people.ask(incident_id)
            case LeaseGranted() as granted:
                self._measuring.lease(granted)

    # What is seen of a fault

    def _show(self, fault: Fault) -> None:
        for name in fault.nodes:
            node = self.nodes[name]
            delay_s = node.stream.random() * self.model.repairs.poll_s
            self.clock.after(delay_s, partial(self._raise, node, fault))

    def _raise(self, node: Node, fault: Fault) -> None:
        if fault.ended <= self.clock.now or node.down:
            return
        for finding in map(self.judged, self.found(node, fault)):
            node.shown[finding.key] = fault
            self.clock.happen(events.FindingRaised(node.host.name, node.boot_id, finding, self.clock.now))

    def found(self, node: Node, fault: Fault) -> tuple[Finding, ...]:
        """Return what the node's checks find of a fault."""
        return shown_by(fault.sign, self.device(node, fault), self._serial(node, fault))

    def device(self, node: Node, fault: Fault) -> str:
        """Return what a check calls the part that a fault is of."""
        if fault.place.startswith("gpu"):
            return f"GPU-{node.host.name}-{fault.place.removeprefix('gpu')}"
        return f"mlx5_{fault.place.removeprefix('port')}/1" if fault.place else ""

    def _serial(self, node: Node, fault: Fault) -> str:
        return node.parts.serial(fault.place or "host")

    def _clear(self, node: Node, fault: Fault, because: str) -> None:
        for key in [key for key, behind in node.shown.items() if behind is fault]:
            del node.shown[key]
            if not fault.is_told:  # What a benchmark found is over when it passes.
                self.clock.happen(events.FindingCleared(node.host.name, key, because, self.clock.now))

    def end(self, fault: Fault, because: str = "It is over.") -> None:
        """Have a fault be over for good."""
        if fault.ended <= self.clock.now:
            return
        fault.ended = self.clock.now
        for name in fault.nodes:
            node = self.nodes[name]
            if fault in node.faults:
                self._rest(node, fault)
            self._clear(node, fault, because)

    def _act(self, node: Node, fault: Fault) -> None:
        node.faults.append(fault)
        self.truth.acts(node, fault, self.clock.now)

    def _rest(self, node: Node, fault: Fault) -> None:
        node.faults.remove(fault)
        self.truth.rests(node, fault, self.clock.now)

    def _set_down(self, node: Node, *, down: bool) -> None:
        node.down = down
        self.truth.is_up(node, self.clock.now)

    def _fall_silent(self, node: Node) -> None:
        self._set_down(node, down=True)
        self.clock.after(self.model.repairs.silent_after_s, partial(self._say_silent, node))
        self.clock.after(self.model.repairs.scheduler_notices_s, partial(self._say_schedule, node))

    def _lose_power(self, fault: Fault) -> None:
        """Have all nodes of a rack be down until its power is back, and start then."""
        for name in fault.nodes:
            self._fall_silent(self.nodes[name])
        self.clock.after(fault.repair_s, partial(self._power_returns, fault))

    def _power_returns(self, fault: Fault) -> None:
        self.end(fault)
        for name in fault.nodes:
            node = self.nodes[name]
            self.clock.after(time_s(node.stream, self.model.repairs.reboot), partial(self.come_back, node))

    def _say_silent(self, node: Node) -> None:
        if node.down:
            self.clock.happen(events.PresenceChanged(node.host.name, "lost", "the broker says that it is gone"))

    def _say_schedule(self, node: Node) -> None:
        self.clock.happen(self._schedule(node))

    def _schedule(self, node: Node, foreign: str = "") -> events.ScheduleObserved:
        believed = self.clock.belief.nodes.get(node.host.name)
        held_by = believed.hold_id if believed is not None and believed.held_since else ""
        free = not held_by and not foreign
        return events.ScheduleObserved(node.host.name, free, held_by, foreign, [], self.clock.now, not node.down)

    def _go_unheard(self, fault: Fault) -> None:
        """Have the agent be gone for a while; the node's scheduler still hears it."""
        node = self.nodes[fault.nodes[0]]
        self.clock.happen(events.PresenceChanged(node.host.name, "lost", "the broker says that it is gone"))
        self.clock.after(fault.repair_s, partial(self._be_heard, node, fault))

    def _be_heard(self, node: Node, fault: Fault) -> None:
        self.end(fault)
        if not node.down:
            self.clock.happen(events.PresenceChanged(node.host.name, "online", "the agent connected"))

    def _maintain(self, fault: Fault) -> None:
        """Have people hold the node for a while, as its scheduler tells."""
        node = self.nodes[fault.nodes[0]]
        self.clock.happen(self._schedule(node, "planned maintenance"))
        self.clock.after(fault.repair_s, partial(self._maintained, node, fault))

    def _maintained(self, node: Node, fault: Fault) -> None:
        self.end(fault)
        self._say_schedule(node)

    # What the controller asks for

    def _carry_out(self, intent: StepIntended) -> None:
        repairs, stream = self.model.repairs, self._stream(intent)
        match Verb(intent.verb):
            case Verb.CORDON | Verb.UNCORDON:
                self._did(intent, "Done.")
            case Verb.DRAIN:
                waits = intent.parameters.get("jobs") == "wait"
                takes_s = remaining_s(stream, self.model.jobs) if waits else time_s(stream, repairs.drain_requeue)
                self.clock.after(takes_s, partial(self._did, intent, "No job is left."))
            case Verb.TICKET | Verb.PAGE:
                self._told(intent)
            case Verb.COLLECT:
                self.clock.after(repairs.collect_s, partial(self._ordered, intent, {}))
            case Verb.VERIFY:
                self.clock.after(repairs.verify_s, partial(self._looked, intent))
            case Verb.RESTART_SERVICE:
                self._repair(intent, repairs.restart_service)
            case Verb.RESET_GPU | Verb.RELOAD_DRIVER:
                self._repair(intent, repairs.reset)
            case Verb.REBOOT | Verb.POWER_CYCLE:
                self._restart(intent, repairs.reboot)
            case Verb.WAIT | Verb.PROBATION | Verb.APPROVE:
                pass

    def _stream(self, intent: StepIntended) -> Random:
        node = self.nodes.get(intent.node)
        return node.stream if node is not None else self.draws.stream("cell", intent.key)

    def _did(self, intent: StepIntended, because: str) -> None:
        if self._is_current(intent):
            self.clock.happen(
                events.StepEnded(intent.incident_id, intent.step, intent.attempt, "done", because, intent.key)
            )

    def _told(self, intent: StepIntended) -> None:
        self._did(intent, "It was sent.")
        self.people.ask(intent.incident_id)

    def _is_current(self, intent: StepIntended) -> bool:
        incident = self.clock.belief.open_incidents.get(intent.incident_id)
        return incident is not None and incident.intent is not None and incident.intent.key == intent.key

    def _ordered(self, intent: StepIntended, evidence: dict[str, str]) -> None:
        """Have a node answer an order; one that is down does not."""
        if not self.nodes[intent.node].down:
            now = self.clock.now
            self.clock.happen(events.OrderEnded(intent.node, intent.key, "done", "Done.", now, now, evidence))

    def _looked(self, intent: StepIntended) -> None:
        """Have a node look again at what condemned it."""
        incident = self.clock.belief.incidents[intent.incident_id]
        shown = {key.check for key in self.nodes[intent.node].shown}
        checks = {key.check for key in incident.condemned_by}
        self._ordered(intent, {check: Verdict.FAILED if check in shown else Verdict.OK for check in checks})

    def _repair(self, intent: StepIntended, spread: Spread) -> None:
        self.clock.after(time_s(self._stream(intent), spread), partial(self._repaired, intent))

    def _repaired(self, intent: StepIntended) -> None:
        node = self.nodes[intent.node]
        if node.down:
            return
        self._mend(node, MENDS_AS[Verb(intent.verb)])
        self._ordered(intent, {})

    def _restart(self, intent: StepIntended, spread: Spread) -> None:
        node, now = self.nodes[intent.node], self.clock.now
        if Verb(intent.verb) is Verb.POWER_CYCLE:
            said = (intent.incident_id, intent.step, intent.attempt, intent.key)
            self.clock.happen(events.StepProgressed(*said, "accepted", "The BMC took it up."))
        elif node.down:
            return
        else:
            self.clock.happen(events.OrderEnded(node.host.name, intent.key, "accepted", "It restarts.", now, now))
        self._set_down(node, down=True)
        self.clock.after(self.model.repairs.silent_after_s, partial(self._say_silent, node))
        self.clock.after(time_s(node.stream, spread), partial(self.come_back, node))

    def come_back(self, node: Node) -> None:
        """Have a node start anew, and be heard unless something keeps it down."""
        before, node.boot = node.boot_id, node.boot + 1
        self._mend(node, "reboot")
        if any(fault.kind in DEAD for fault in node.faults):
            return
        self._set_down(node, down=False)
        name, now = node.host.name, self.clock.now
        self.clock.happen(
            self._seen(node),
            events.AgentStarted(name, node.boot_id, before, True, "simulated", now),
            events.PresenceChanged(name, "online", "the agent connected"),
            self._schedule(node),
        )

    def _mend(self, node: Node, how: str) -> None:
        """Have a repair act on all that is wrong with a node: it ends it, hides it for a while, or does nothing."""
        for fault in list(node.faults):
            if how in fault.mended_by:
                self.end(fault, f"Gone after the {how.replace('_', ' ')}.")
            elif how in fault.hidden_by:
                fault.hidden_by = frozenset()
                self._clear(node, fault, f"Gone after the {how.replace('_', ' ')}.")
                self._rest(node, fault)
                self.clock.after(fault.returns_after_s, partial(self._return, node, fault))

    def _return(self, node: Node, fault: Fault) -> None:
        if fault.ended == math.inf:
            self._act(node, fault)
            if fault.kind is Kind.SILENT:
                self._fall_silent(node)
            else:
                self._raise(node, fault)

    # What people do

    def is_held(self, node: Node) -> bool:
        """Whether fleetmend holds a node out."""
        believed = self.clock.belief.nodes.get(node.host.name)
        return believed is not None and believed.held_since > 0.0

    def work_on(self, node: Node, by: str) -> None:
        """Have somebody hold a node out, empty for nobody any more."""
        node.worked_on = bool(by)
        self.truth.is_worked_on(node, self.clock.now)
        self.clock.happen(self._schedule(node, by))

    def swap(self, fault: Fault) -> None:
        """Have another part be in the place of one that is broken."""
        if not fault.is_nodes_own or not fault.place.startswith("gpu"):
            return
        node = self.nodes[fault.nodes[0]]
        node.parts.swap(fault.place)
        self.clock.happen(self._seen(node))
        if self.measures and self.is_held(node):
            self._measuring.admit(node)


def _is_alike(one: Fault, other: Fault) -> bool:
    """Whether two faults show the same."""
    return (one.sign, one.place, one.kind is Kind.SILENT) == (other.sign, other.place, other.kind is Kind.SILENT)
