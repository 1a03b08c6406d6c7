"""Labels of issues, as GitHub and GitLab have them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from controller.sections.notices import Severity
from controller.sections.tickets.ticket_system import TicketSystem

Label = Annotated[str, Field(min_length=1, max_length=50, pattern=r"^[^,]+$")]
"""Source: GitHub and GitLab both list by labels that are parted by commas; GitHub's have at most 50 characters."""


class LabelledTickets(TicketSystem):
    """Issues with labels."""

    label: Label = Field(default="fleetmend", description="that every ticket has, by which they are found again")
    labels: list[Label] = Field(default=[], description="that every ticket has besides")
    team_labels: dict[str, Label] = Field(default={}, description="team → label of its tickets")
    severity_labels: dict[Severity, Label] = Field(default={}, description="severity → label")
