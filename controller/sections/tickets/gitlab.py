"""Issues of GitLab as a place for tickets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from controller.sections.tickets.labels import LabelledTickets
from controller.sections.web_address import WebAddress

Project = Annotated[str, Field(pattern=r"^([\w.-]+/)+[\w.-]+$|^[0-9]+$", max_length=300)]


class GitLabSection(LabelledTickets):
    """Issues of GitLab."""

    kind: Literal["gitlab"]
    url: WebAddress = Field(default="https://gitlab.com", description="where its pages begin")
    token_file: Path = Field(
        description="file that holds an access token of scope `api` with the role Reporter (Planner) or more"
    )
    project: Project = Field(description="where tickets are made, `group/project` or its number")
    projects: dict[str, Project] = Field(default={}, description="team → its project, in place of `project`")
    confidential: bool = Field(default=False, description="tickets are for members of the project alone")
