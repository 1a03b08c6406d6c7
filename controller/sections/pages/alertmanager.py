"""Alertmanager as a way to page people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from controller.sections.notices import Destination
from controller.sections.web_address import WebAddress


class AlertmanagerSection(Destination):
    """Alertmanager, its API v2. Its routes and receivers say who is called."""

    kind: Literal["alertmanager"]
    urls: list[WebAddress] = Field(
        min_length=1,
        description="each member of the cluster: alerts are sent to all, as Alertmanager wants it; one that takes "
        "them is enough",
    )
    token_file: Path | None = Field(default=None, description="file that holds a bearer token and nothing else")
    user: str = Field(default="", description="for basic authentication, with `password_file`")
    password_file: Path | None = Field(default=None, description="file that holds the password and nothing else")
    stays_s: Annotated[float, Field(ge=60)] = Field(
        default=86_400.0,
        description="an alert ends by itself so long after it was last sent; it is sent again when half of that is "
        "over. It outlives a controller that is down for less than half of it",
    )
    timeout_s: Annotated[float, Field(gt=0)] = 10.0

    @field_validator("urls")
    @classmethod
    def _each_once(cls, urls: list[str]) -> list[str]:
        if len(set(urls)) < len(urls):
            raise ValueError("each address once")
        return urls

    @model_validator(mode="after")
    def _one_way_in(self) -> AlertmanagerSection:
        if bool(self.user) != (self.password_file is not None):
            raise ValueError("user and password_file need each other")
        if self.user and self.token_file is not None:
            raise ValueError("give token_file, or user and password_file, not both")
        return self
