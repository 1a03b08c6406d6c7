"""What every way to page people has: which pages it takes, and who is next when nobody acknowledges."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from controller.sections.notices import Destination

Severity = Literal["info", "warning", "critical"]
"""As playbooks have them."""


class Paging(Destination):
    """One way to page people."""

    severities: list[Severity] = Field(default=[], description="only pages of these severities; empty: all")
    escalate_after_s: Annotated[float, Field(ge=0)] = Field(
        default=0.0,
        description="so long may a page stand without anybody acknowledging it before `escalate_to` are paged too; "
        "0 leaves that to the other side's own schedules",
    )
    escalate_to: list[str] = Field(default=[], description="names of other `[[pages]]`")
    escalations_only: bool = Field(
        default=False, description="takes no page by itself, only what others escalate to it, whatever its severity"
    )

    @model_validator(mode="after")
    def _escalates_whole(self) -> Paging:
        if bool(self.escalate_after_s) != bool(self.escalate_to):
            raise ValueError("escalate_after_s and escalate_to need each other: after how long, and to whom")
        return self

    @property
    def called(self) -> str:
        """What it is called: its name, else its kind."""
        return self.name or str(getattr(self, "kind", ""))

    def takes(self, team: str, severity: str) -> bool:
        """Return whether a page for this team, of this severity, goes here by itself."""
        if self.escalations_only or not self.takes_team(team):
            return False
        return not self.severities or severity in self.severities
