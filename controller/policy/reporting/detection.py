"""How soon a fault is found, and how soon its node takes no more work."""

from __future__ import annotations

from dataclasses import dataclass, field

from controller.policy.reporting.durations import Durations
from controller.policy.reporting.incidents import PARTS, Open
from controller.policy.reporting.nodes import Standing
from controller.policy.reporting.shapes import DetectionRow, RepairRow

TIMED = frozenset({"edge"})
"""Origins of findings that carry the node's own time of the fault. A level carries its own, and others know only when
they looked."""

ALL = "all"
"""The row of every class together."""


@dataclass(slots=True)
class Detection:
    """Of one class."""

    found: Durations = field(default_factory=Durations)
    decided: Durations = field(default_factory=Durations)
    isolated: Durations = field(default_factory=Durations)
    timeless: int = 0
    clock_ahead: int = 0

    def open(self, first: Standing, opened_at: float) -> None:
        """An incident opened over a finding."""
        self.decided.add(opened_at - first.at)
        if first.origin not in TIMED:
            self.timeless += 1
            return
        self.clock_ahead += first.observed_at > first.at
        self.found.add(first.at - first.observed_at)

    def row(self, fault_class: str) -> DetectionRow:
        """Return the figures."""
        return DetectionRow(
            fault_class,
            self.found.spread(),
            self.decided.spread(),
            self.isolated.spread(),
            self.timeless,
            self.clock_ahead,
        )


@dataclass(slots=True)
class Repair:
    """Of one class: incidents that ended with their node back in service."""

    total: Durations = field(default_factory=Durations)
    parts_s: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PARTS, 0.0))

    def end(self, incident: Open, at: float) -> None:
        """An incident ended; its time is all spent."""
        self.total.add(at - incident.opened_at)
        for part, seconds in incident.spent_by_part().items():
            self.parts_s[part] += seconds

    def row(self, fault_class: str) -> RepairRow | None:
        """Return the figures, `None` without any."""
        total = self.total.spread()
        if total is None:
            return None
        means = {part: round(seconds / total.count, 3) for part, seconds in self.parts_s.items()}
        return RepairRow(fault_class, total, means)


@dataclass(slots=True)
class TimesBook:
    """By class, and of all together."""

    detection: dict[str, Detection] = field(default_factory=dict)
    repair: dict[str, Repair] = field(default_factory=dict)

    def open(self, incident: Open, first: Standing, at: float) -> None:
        """An incident opened over a finding that the log has."""
        for fault_class in (ALL, incident.fault_class):
            self.detection.setdefault(fault_class, Detection()).open(first, at)

    def isolate(self, incident: Open, at: float) -> None:
        """Its node takes no more work."""
        if incident.raised_at:
            for fault_class in (ALL, incident.fault_class):
                self.detection.setdefault(fault_class, Detection()).isolated.add(at - incident.raised_at)

    def end(self, incident: Open, at: float) -> None:
        """Its node is back in service."""
        for fault_class in (ALL, incident.fault_class):
            self.repair.setdefault(fault_class, Repair()).end(incident, at)

    def detections(self) -> list[DetectionRow]:
        """Return the rows by class, all together first."""
        return [self.detection[name].row(name) for name in _all_first(self.detection)]

    def repairs(self) -> list[RepairRow]:
        """Return the rows by class, all together first."""
        rows = (self.repair[name].row(name) for name in _all_first(self.repair))
        return [row for row in rows if row is not None]


def _all_first(names: dict[str, Detection] | dict[str, Repair]) -> list[str]:
    return sorted(names, key=lambda name: (name != ALL, name))
