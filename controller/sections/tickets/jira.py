"""Jira as a place for tickets."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from controller.sections.notices import Severity
from controller.sections.tickets.ticket_system import Text, WithFields

ProjectKey = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{1,254}$")]
JiraLabel = Annotated[str, Field(pattern=r"^\S{1,255}$")]
"""Source: Jira, "Labels": no spaces, 255 characters at most."""

_FIELD = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)


class JiraSection(WithFields):
    """Jira; `url` is where its pages begin, `fields` are ids of text fields, e.g. `customfield_10042`."""

    kind: Literal["jira"]
    deployment: Literal["cloud", "data_center"] = Field(
        default="cloud", description="Jira Cloud (REST API v3), or Jira Data Center and Server (v2)"
    )
    user: str = Field(
        default="", description="Jira Cloud: e-mail address of the account; empty: the token is sent as it is (Bearer)"
    )
    token_file: Path = Field(
        description="file that holds an API token (Cloud) or a personal access token (Data Center), nothing else"
    )
    project: ProjectKey = Field(description="key of the project where tickets are made")
    projects: dict[str, ProjectKey] = Field(default={}, description="team → its project, in place of `project`")
    issue_type: Text = Field(default="Task", description="of a ticket, as the projects have it")
    components: dict[str, Text] = Field(default={}, description="team → component of its tickets")
    priorities: dict[Severity, Text] = Field(default={}, description="severity → Jira's priority")
    labels: list[JiraLabel] = Field(default=["fleetmend"], description="that every ticket has besides its marks")
    close: Text = Field(default="Done", description="transition that ends the work, or the status that it leads to")
    reopen: Text = Field(
        default="To Do", description="transition that opens a ticket again, or the status that it leads to"
    )

    @field_validator("fields")
    @classmethod
    def _ids_of_fields(cls, fields: dict[str, str]) -> dict[str, str]:
        for name, theirs in fields.items():
            if not _FIELD.fullmatch(theirs):
                raise ValueError(f"{name}: {theirs!r} is no id of a field, like customfield_10042")
        return fields

    @model_validator(mode="after")
    def _has_account(self) -> JiraSection:
        if ":" in self.user:
            raise ValueError("user must have no colon: HTTP's basic authentication ends the name there")
        if self.deployment == "cloud" and "atlassian.net" in self.url and not self.user:
            raise ValueError("user is missing: Jira Cloud wants the account's e-mail address with its API token")
        return self
