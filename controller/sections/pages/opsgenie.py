"""Opsgenie as a way to page people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from controller.sections.notices import Destination
from controller.sections.web_address import WebAddress


class OpsgenieSection(Destination):
    """Opsgenie, or the same API of Jira Service Management. Its teams and schedules say who is called."""

    kind: Literal["opsgenie"]
    token_file: Path = Field(description="file that holds the key of an API integration that may read and create")
    url: WebAddress = Field(default="https://api.opsgenie.com", description="in the EU: https://api.eu.opsgenie.com")
    responders: dict[str, str] = Field(
        default={},
        description="fleetmend's team → Opsgenie's; a team that is not named here is left to the integration's own",
    )
    timeout_s: Annotated[float, Field(gt=0)] = 10.0
