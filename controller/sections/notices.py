"""Where tickets and pages go: what every destination has, the two that take both, and when many become one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from controller.policy.noticing.routing import DestinationRule, NoticeRules, StormRule
from controller.sections.section import Section

Severity = Literal["critical", "warning", "info"]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{0,64}$")]


class Destination(Section):
    """One place where tickets or pages go."""

    name: Name = Field(default="", description="what it is called in the timeline; default: its kind")
    teams: list[str] = Field(default=[], description="only what is for one of these teams; empty: all")
    severities: list[Severity] = Field(
        default=[], description="pages alone: only those of these severities; empty: all"
    )
    escalate_to: Name = Field(default="", description="pages alone: who is paged when nobody acknowledges one here")
    escalate_after_s: Annotated[float, Field(gt=0)] = Field(
        default=900.0, description="pages alone: how long an acknowledgement is waited for"
    )
    escalation_only: bool = Field(default=False, description="pages alone: it takes only what another one escalates")

    @property
    def called(self) -> str:
        """What it is called in the timeline."""
        return self.name or str(getattr(self, "kind", "destination"))

    def takes_team(self, team: str) -> bool:
        """Return whether what is for this team goes here."""
        return not self.teams or team in self.teams

    def rule(self) -> DestinationRule:
        """Return what is routed here, as the policy reads it."""
        return DestinationRule(
            self.called,
            frozenset(self.teams),
            frozenset(self.severities),
            self.escalate_to,
            self.escalate_after_s,
            self.escalation_only,
        )


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


class NoticesSection(Section):
    """How tickets and pages are followed, and when many pages become one."""

    listen_every_s: Annotated[float, Field(ge=1)] = Field(
        default=30.0, description="how often destinations are asked how their open tickets and pages stand"
    )
    bundle_s: Annotated[float, Field(ge=0)] = Field(
        default=20.0, description="small news wait so long for others, so that a ticket gets one comment and not five"
    )
    storm_pages: Annotated[int, Field(ge=1)] = Field(
        default=3, description="so many open pages of one fault class and team, or from one place, are single ones"
    )
    storm_within_s: Annotated[float, Field(gt=0)] = Field(
        default=300.0, description="further ones that come within this join one page for all of them"
    )

    def rules(self, tickets: tuple[DestinationRule, ...], pages: tuple[DestinationRule, ...]) -> NoticeRules:
        """Return them as the policy reads them."""
        return NoticeRules(tickets, pages, StormRule(self.storm_pages, self.storm_within_s), self.bundle_s)
