"""Issues of GitHub as a place for tickets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from controller.sections.tickets.labels import LabelledTickets
from controller.sections.web_address import WebAddress

Repository = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,39}/[A-Za-z0-9._-]{1,100}$")]


class GitHubSection(LabelledTickets):
    """Issues of GitHub."""

    kind: Literal["github"]
    url: WebAddress = Field(
        default="https://api.github.com", description="of the API; GitHub Enterprise Server: https://host/api/v3"
    )
    token_file: Path = Field(
        description="file that holds a fine-grained token with read and write access to issues of the repositories"
    )
    repository: Repository = Field(description="where tickets are made, `owner/name`")
    repositories: dict[str, Repository] = Field(
        default={}, description="team → its repository, in place of `repository`"
    )
