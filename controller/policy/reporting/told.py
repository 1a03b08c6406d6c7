"""What the log has told so far: nodes and incidents as they stand, and the books in which it is counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from controller.policy.reporting.asked import Asked, Known
from controller.policy.reporting.detection import TimesBook
from controller.policy.reporting.drills import DrillBook
from controller.policy.reporting.fixes import Fixes
from controller.policy.reporting.incidents import Open
from controller.policy.reporting.lemons import LemonBook
from controller.policy.reporting.nodes import Node
from controller.policy.reporting.outcomes import OutcomeBook
from controller.policy.reporting.timeline import TimeBook

NOBODY: Mapping[str, Known] = {}


@dataclass(slots=True)
class Told:
    """Everything that a report is made of. It is bounded by nodes, parts, classes and what is open, not by days.

    Attributes:
        known: what is known of nodes besides the log, for a log whose beginning was deleted.
        tells_from: since when nothing is missing, 0 before the first entry.
        at: the latest time that was read; a controller's clock that was set back does not turn it back.
        entry_before_at: when the entry before this one was written.
        leases: benchmarks that may run → their nodes.
        untold: how often something happened to an incident whose beginning is not in the log.
        restored: gaps in which a backup tells nothing.
        jobs_hit: jobs that ran on nodes when they were taken out.
        changed: nodes of which something changed by the entry that is taken in.
    """

    asked: Asked
    known: Mapping[str, Known]
    nodes: dict[str, Node] = field(default_factory=dict)
    open: dict[str, Open] = field(default_factory=dict)
    leases: dict[str, tuple[str, ...]] = field(default_factory=dict)
    tells_from: float = 0.0
    at: float = 0.0
    entry_before_at: float = 0.0
    untold: int = 0
    restored: int = 0
    jobs_hit: int = 0
    changed: list[Node] = field(default_factory=list)
    time: TimeBook = field(init=False)
    fixes: Fixes = field(init=False)
    times: TimesBook = field(init=False)
    outcomes: OutcomeBook = field(init=False)
    drills: DrillBook = field(init=False)
    lemons: LemonBook = field(default_factory=LemonBook)

    def __post_init__(self) -> None:
        self.count_from(self.asked.since)

    def count_from(self, since: float) -> None:
        """Count anew, from a moment on; how things stand is kept."""
        self.time, self.fixes = TimeBook(self.asked, since), Fixes(self.asked.lasting_s, since)
        self.times, self.outcomes, self.drills = TimesBook(), OutcomeBook(), DrillBook()
        self.jobs_hit = self.untold = self.restored = 0
        for node in self.nodes.values():
            node.forget_time()
            node.counted_to = max(node.counted_to, self.at)

    @property
    def counts(self) -> bool:
        """Whether what happens now is within the span."""
        return self.at >= self.time.begin

    def node(self, name: str) -> Node:
        """Return a node, adding it when it is new."""
        found = self.nodes.get(name)
        if found is None:
            found = self.nodes[name] = Node(name, self.at, self.at)
        return found

    def changing(self, name: str) -> Node:
        """Return a node of which something changes now, so that its time may count as something else afterwards."""
        node = self.node(name)
        self.changed.append(node)
        return node

    def settle(self) -> None:
        """Count the time of nodes that changed as what it counted before, if it counts as something else now."""
        for node in self.changed:
            self.time.turn(node, self.at)
        self.changed.clear()

    def incident(self, incident_id: str) -> Open | None:
        """Return an open incident of which something changes now; `None` when the log has not its beginning."""
        found = self.open.get(incident_id)
        if found is None:
            self.untold += 1
        elif found.node:
            self.changing(found.node)
        return found

    def excluded(self, incident: Open) -> bool:
        """Return whether an incident says nothing of the fleet: a drill made it, and drills are left out."""
        return incident.kind == "drill"

    def fixes_of(self, incident: Open) -> Fixes:
        """Return where an incident's repairs count; for one that a drill made, or in shadow, that is nowhere."""
        if self.excluded(incident) or incident.shadow:
            return Fixes(self.asked.lasting_s, self.time.begin)
        return self.fixes
