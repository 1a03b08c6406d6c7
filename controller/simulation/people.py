"""People: they are told of a fault or find it, take its node out, mend it, and say so."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Final

from controller import events
from controller.policy.approvals import RETURN
from controller.simulation.draws import time_s
from controller.simulation.model import Kind
from controller.simulation.truth import Fault

if TYPE_CHECKING:
    from controller.simulation.world import Node, World

TECHNICIAN: Final = "technician"

MENDED: Final = frozenset({Kind.NODE, Kind.SILENT, Kind.LEAF, Kind.DOMAIN})
"""What the people who are told of it mend. Power has people of its own."""

RESTARTS: Final = frozenset({"restart_service", "reset", "reboot"})


@dataclass(slots=True)
class People:
    """Everybody who works on a fleet.

    Attributes:
        look_by_themselves: they notice a fault when its job has stood still long enough, whether a policy tells or not.
    """

    world: World
    look_by_themselves: bool = False
    _asked: set[str] = field(default_factory=set)

    def ask(self, incident_id: str) -> None:
        """Have somebody take an incident up, once."""
        if incident_id in self._asked:
            return
        self._asked.add(incident_id)
        stream = self.world.draws.stream("people", incident_id)
        answer_s = time_s(stream, self.world.model.repairs.answer)
        self.world.clock.after(answer_s, partial(self._take_up, incident_id, stream))

    def notice(self, fault: Fault) -> None:
        """Have somebody find out by a job that stands still."""
        if self.look_by_themselves and fault.kind in MENDED and not fault.redundant:
            model, stream = self.world.model, self.world.draws.stream("notice", fault.number)
            wait_s = model.jobs.gives_up_s + time_s(stream, model.repairs.answer)
            self.world.clock.after(wait_s, partial(self._find, fault, stream))

    def _take_up(self, incident_id: str, stream: Random) -> None:
        """Work as long as what is really wrong takes."""
        faults = self._behind(incident_id)
        nodes = self._take_out(faults)
        work_s = max((self._work_s(fault, stream) for fault in faults), default=0.0)
        self.world.clock.after(work_s, partial(self._worked, incident_id, nodes))

    def _find(self, fault: Fault, stream: Random) -> None:
        if fault.ended > self.world.clock.now:
            nodes = self._take_out([fault])
            self.world.clock.after(self._work_s(fault, stream), partial(self._mended, [fault], nodes))

    def _behind(self, incident_id: str) -> list[Fault]:
        incident, nodes = self.world.clock.belief.incidents.get(incident_id), self.world.nodes
        if incident is None:
            return []
        names = [incident.node] if incident.node else sorted(incident.members)
        found = [fault for name in names if name in nodes for fault in nodes[name].faults]
        known = (fault for fault in found if fault.kind in MENDED or fault.is_told)
        return list({fault.number: fault for fault in known}.values())

    def _take_out(self, faults: Iterable[Fault]) -> list[Node]:
        """Have nodes be out while somebody works on them, and return those that nobody had taken out before."""
        taken = []
        for fault in faults:
            node = self.world.nodes[fault.nodes[0]]
            if fault.is_nodes_own and not self.world.is_held(node) and not node.worked_on:
                self.world.work_on(node, TECHNICIAN)
                taken.append(node)
        return taken

    def _work_s(self, fault: Fault, stream: Random) -> float:
        """People restart first what a restart mends."""
        if RESTARTS.isdisjoint(fault.mended_by):
            return fault.repair_s
        return min(fault.repair_s, time_s(stream, self.world.model.repairs.reboot))

    def _worked(self, incident_id: str, nodes: list[Node]) -> None:
        """Have people end all that is wrong there, and say so."""
        self._mended(self._behind(incident_id), nodes)
        self._asked.discard(incident_id)
        incident = self.world.clock.belief.open_incidents.get(incident_id)
        if incident is None:
            return
        node = self.world.nodes.get(incident.node)
        if node is not None and node.down:
            self.world.come_back(node)
        self.world.clock.happen(events.OperatorActed("approve", incident_id, TECHNICIAN, "It is mended.", RETURN))

    def _mended(self, faults: list[Fault], nodes: list[Node]) -> None:
        for fault in faults:
            if RESTARTS.isdisjoint(fault.mended_by):
                self.world.swap(fault)
            self.world.end(fault, "People mended it.")
        for node in nodes:
            if node.down:
                self.world.come_back(node)
            self.world.work_on(node, "")
