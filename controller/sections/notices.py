"""Where tickets and pages go: what every destination has, and the two that take both."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from controller.sections.section import Section


class Destination(Section):
    """One place where tickets or pages go."""

    name: str = Field(default="", description="what it is called in the timeline; default: its kind")
    teams: list[str] = Field(default=[], description="only what is for one of these teams; empty: all")

    def takes_team(self, team: str) -> bool:
        """Return whether what is for this team goes here."""
        return not self.teams or team in self.teams


class JsonLinesSection(Destination):
    """A file of JSON lines."""

    kind: Literal["json_lines"] = "json_lines"
    path: Path | None = Field(default=None, description="the file; default in the state directory")


class WebhookSection(Destination):
    """A webhook: the notice as JSON."""

    kind: Literal["webhook"]
    url: str = Field(description="where to POST")
    deduplicates: bool = Field(default=False, description="the receiver drops a repeated Idempotency-Key")
    timeout_s: Annotated[float, Field(gt=0)] = 10.0

    @field_validator("url")
    @classmethod
    def _is_url(cls, url: str) -> str:
        if not url.startswith(("http://", "https://")):
            raise ValueError("must be https://host/path")
        return url
