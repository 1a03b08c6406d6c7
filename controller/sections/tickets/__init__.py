"""Where tickets go: one file a kind."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from controller.sections.notices import JsonLinesSection, WebhookSection
from controller.sections.tickets.github import GitHubSection
from controller.sections.tickets.gitlab import GitLabSection
from controller.sections.tickets.jira import JiraSection
from controller.sections.tickets.request_tracker import RequestTrackerSection
from controller.sections.tickets.roundup import RoundupSection
from controller.sections.tickets.servicenow import ServiceNowSection

TicketSection = Annotated[
    JsonLinesSection
    | WebhookSection
    | JiraSection
    | ServiceNowSection
    | GitHubSection
    | GitLabSection
    | RequestTrackerSection
    | RoundupSection,
    Field(discriminator="kind"),
]
"""One system for tickets. A ticket goes to the first that takes its team."""
