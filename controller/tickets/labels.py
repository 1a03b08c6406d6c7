"""The labels of a ticket, in systems that list tickets by them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from controller.adapters import Notice
from controller.sections.tickets.labels import LabelledTickets


@dataclass(frozen=True, slots=True)
class Labels:
    """Which labels tickets get.

    Attributes:
        found_by: what every ticket has, and what they are listed by.
        always: what every ticket has besides.
        of_team, of_severity: what some have.
    """

    found_by: str
    always: tuple[str, ...] = ()
    of_team: Mapping[str, str] = field(default_factory=dict)
    of_severity: Mapping[str, str] = field(default_factory=dict)

    def of(self, notice: Notice) -> list[str]:
        """Return the labels of a ticket."""
        named = (self.of_team.get(notice.team, ""), self.of_severity.get(notice.severity, ""))
        return [self.found_by, *self.always, *(label for label in named if label)]


def labels_of(section: LabelledTickets) -> Labels:
    """Return the labels that a table of the settings names."""
    return Labels(section.label, tuple(section.labels), section.team_labels, dict(section.severity_labels.items()))
