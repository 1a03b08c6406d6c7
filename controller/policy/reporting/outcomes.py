"""How incidents end, and what people were told of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from controller.policy.playbook import Verb
from controller.policy.reporting.incidents import Open
from controller.policy.reporting.shapes import NoticeRow, OutcomeRow

TELLS = (Verb.TICKET, Verb.PAGE)
"""Steps that tell people."""

MONTH_H = 24.0 * 30.4375
"""Hours of a month. Source: a Julian year of 365.25 days in twelve."""


@dataclass(slots=True)
class Ends:
    """Of one class."""

    opened: int = 0
    handed_over: int = 0
    closed: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class OutcomeBook:
    """Incidents by class, and notices by kind.

    Attributes:
        sent: steps that told people and were done.
        filed: notices that a destination took, where the log has events of its own about them.
    """

    ends: dict[str, Ends] = field(default_factory=dict)
    sent: dict[str, int] = field(default_factory=lambda: dict.fromkeys(map(str, TELLS), 0))
    filed: dict[str, int] = field(default_factory=dict)

    def of(self, fault_class: str) -> Ends:
        """Return the count of a class."""
        return self.ends.setdefault(fault_class, Ends())

    def close(self, incident: Open, outcome: str) -> None:
        """An incident ended."""
        closed = self.of(incident.fault_class).closed
        closed[outcome] = closed.get(outcome, 0) + 1

    def rows(self, still_open: Iterable[Open]) -> list[OutcomeRow]:
        """Return the rows by class."""
        left: dict[str, int] = {}
        for incident in still_open:
            left[incident.fault_class] = left.get(incident.fault_class, 0) + 1
        return [
            OutcomeRow(name, ends.opened, dict(sorted(ends.closed.items())), left.get(name, 0), ends.handed_over)
            for name in sorted({*self.ends, *left})
            for ends in (self.ends.get(name, Ends()),)
        ]

    def notices(self, node_hours: float) -> list[NoticeRow]:
        """Return tickets and pages, by month and node."""
        counted = {**dict.fromkeys(self.sent, 0), **self.filed} if self.filed else self.sent
        months = node_hours / MONTH_H
        return [NoticeRow(kind, sent, sent / months if months else None) for kind, sent in counted.items()]
