"""Where pages go."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from controller.sections.notices import JsonLinesSection, WebhookSection

PageSection = Annotated[JsonLinesSection | WebhookSection, Field(discriminator="kind")]
"""One way to page people. A page goes to every one that takes its team and severity."""
