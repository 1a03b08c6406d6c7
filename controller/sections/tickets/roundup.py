"""Roundup as a place for tickets."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from controller.sections.notices import Severity
from controller.sections.tickets.ticket_system import Text, TicketSystem


class RoundupSection(TicketSystem):
    """Roundup, its REST interface; `url` is the tracker's, e.g. `https://host/fleet`."""

    kind: Literal["roundup"]
    user: Text = Field(pattern=r"^[^:]+$", description="with the roles that may see and make issues and messages")
    password_file: Path = Field(description="file that holds the password and nothing else")
    assignees: dict[str, Text] = Field(default={}, description="team → user that its tickets are assigned to")
    keywords: dict[str, Text] = Field(default={}, description="team → keyword of its tickets, which must be there")
    priorities: dict[Severity, Text] = Field(default={}, description="severity → Roundup's priority")
    new_status: Text = Field(default="unread", description="of a ticket that is made")
    open_status: Text = Field(default="in-progress", description="what a ticket is set to that is opened again")
    closed_status: Text = Field(default="resolved", description="what a ticket is set to that is done")
    closed: list[Text] = Field(
        default=["resolved", "done-cbb"], description="statuses in which nobody works on a ticket any more"
    )

    @model_validator(mode="after")
    def _open_is_open(self) -> RoundupSection:
        for key in ("new_status", "open_status"):
            if getattr(self, key) in {*self.closed, self.closed_status}:
                raise ValueError(f"{key} must be none of closed and closed_status")
        return self
