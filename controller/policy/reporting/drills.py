"""Faults that people injected, which say how soon a fault is found: the moment of each is known."""

from __future__ import annotations

from dataclasses import dataclass, field

from controller.policy.reporting.durations import Durations
from controller.policy.reporting.incidents import Open
from controller.policy.reporting.shapes import Drills


@dataclass(slots=True)
class DrillBook:
    """Drills within the span. `returned`: incidents of theirs that ended with the node back in service."""

    injected: int = 0
    incidents: int = 0
    returned: int = 0
    found: Durations = field(default_factory=Durations)

    def open(self, incident: Open, drilled_at: float) -> None:
        """A drill's incident opened."""
        self.incidents += 1
        if incident.raised_at >= drilled_at:
            self.found.add(incident.raised_at - drilled_at)

    def report(self) -> Drills:
        """Return the figures."""
        return Drills(self.injected, self.incidents, self.returned, self.found.spread())
