"""PagerDuty as a way to page people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from controller.sections.notices import Destination
from controller.sections.web_address import WebAddress


class PagerDutySection(Destination):
    """PagerDuty, its Events API v2. Its services and schedules say who is called."""

    kind: Literal["pagerduty"]
    routing_key_file: Path = Field(
        description="file that holds the integration key of the service's Events API v2 integration"
    )
    token_file: Path | None = Field(
        default=None,
        description="file that holds a REST API key, read-only is enough: with it a page is looked for after it was "
        "sent, and acknowledgements are heard. Without it PagerDuty's 202 is believed, which says only that an event "
        "was taken",
    )
    events_url: WebAddress = Field(
        default="https://events.pagerduty.com", description="in the EU: https://events.eu.pagerduty.com"
    )
    api_url: WebAddress = Field(
        default="https://api.pagerduty.com", description="in the EU: https://api.eu.pagerduty.com"
    )
    timeout_s: Annotated[float, Field(gt=0)] = 10.0
