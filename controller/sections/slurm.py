"""What is particular to Slurm."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from controller.schedulers.slurm_jobs import JobRule
from controller.sections.section import Section


class JobSection(Section):
    """What may be done to some jobs at most so that a node becomes empty. All that is given must match; of several that
    match, the mildest counts."""

    partition: str = ""
    account: str = ""
    qos: str = ""
    jobs: Literal["wait", "requeue", "cancel"] = Field(
        default="cancel",
        description="`wait` leaves them until they end, at the latest by their time limit, `requeue` puts them back, "
        "`cancel` allows whatever the playbook says",
    )
    held: bool = Field(default=False, description="a requeued job waits until a person releases it")

    @model_validator(mode="after")
    def _says_something(self) -> JobSection:
        if self.jobs == "cancel" and not self.held:
            raise ValueError("it allows everything: set jobs or held")
        return self

    def rule(self) -> JobRule:
        """Return the rule for the adapter."""
        return JobRule(self.jobs, self.held, self.partition, self.account, self.qos)


class SlurmSection(Section):
    """What is particular to Slurm."""

    form: Literal["auto", "json", "text"] = Field(
        default="auto", description="what its programs are asked for; auto is JSON where they offer it, else text"
    )
    jobs: list[JobSection] = Field(default=[], description="what may be done to jobs at most")
    rest_url: str = Field(
        default="",
        description="of slurmrestd, from 23.11 on: http://host:6820 or unix:///run/slurmrestd.socket; its programs are "
        "used for what it cannot do, and for everything when it is empty",
    )
    rest_token_file: Path | None = Field(
        default=None, description="file that holds a JWT and nothing else; read anew whenever it is needed"
    )
    rest_ca_file: Path | None = None

    @model_validator(mode="after")
    def _can_be_asked(self) -> SlurmSection:
        parts = urlsplit(self.rest_url)
        if self.rest_url and not (parts.netloc if parts.scheme in {"http", "https"} else parts.scheme == "unix"):
            raise ValueError("rest_url must be http://host:port, https://host:port or unix:///path")
        if parts.username is not None or parts.password is not None:
            raise ValueError("rest_url must not hold a secret: put the token into rest_token_file")
        if not self.rest_url and (self.rest_token_file or self.rest_ca_file):
            raise ValueError("rest_token_file and rest_ca_file need rest_url")
        return self
