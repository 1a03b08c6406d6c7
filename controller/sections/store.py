"""Where the event log lives, and for how long."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import parse_qs, urlsplit

from pydantic import Field, model_validator

from controller.sections.section import Section
from wire.files import read_secret


class StoreSection(Section):
    """Where the event log lives, and for how long."""

    url: str = Field(
        default="",
        description="postgresql://user@host:port/database, without a password; default: a file in the state directory",
    )
    password_file: Path | None = Field(
        default=None, description="file that holds the password and nothing else; else as libpq finds it (PGPASSFILE)"
    )
    keep_days: Annotated[float, Field(ge=1)] = Field(
        default=90.0, description="entries older than this are deleted once a snapshot holds what they say"
    )
    snapshot_every: Annotated[int, Field(ge=1_000)] = Field(
        default=200_000, description="entries after which a new snapshot is written: a start reads no more than these"
    )

    @model_validator(mode="after")
    def _url_fits(self) -> StoreSection:
        parts = urlsplit(self.url)
        if self.url and (parts.scheme != "postgresql" or not parts.path.strip("/")):
            raise ValueError("url must be postgresql://user@host:port/database, or empty")
        if parts.password is not None or "password" in parse_qs(parts.query):
            raise ValueError("url must not hold the password: put it into password_file, or into libpq's PGPASSFILE")
        return self

    @property
    def password(self) -> str:
        """What the password file holds, empty without one.

        Raises:
            SecretError: it cannot be used.
        """
        return read_secret(self.password_file) if self.password_file else ""
