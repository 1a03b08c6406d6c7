"""Where tickets go."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from controller.sections.notices import JsonLinesSection, WebhookSection

TicketSection = Annotated[JsonLinesSection | WebhookSection, Field(discriminator="kind")]
"""One system for tickets. A ticket goes to the first that takes its team."""
