"""Where pages go: one file a kind."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from controller.sections.notices import JsonLinesSection, WebhookSection
from controller.sections.pages.alertmanager import AlertmanagerSection
from controller.sections.pages.chat import ChatSection
from controller.sections.pages.opsgenie import OpsgenieSection
from controller.sections.pages.pagerduty import PagerDutySection

PageSection = Annotated[
    JsonLinesSection | WebhookSection | AlertmanagerSection | PagerDutySection | OpsgenieSection | ChatSection,
    Field(discriminator="kind"),
]
"""One way to page people. A page goes to every one that takes its team and severity."""
