"""How new hosts get their identity from this controller."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from controller.sections.section import Section
from wire.url import addresses_of

TOKENS = "enrolment-tokens.json"


class EnrolmentSection(Section):
    """How new hosts get their identity (docs/how-to/enrol-hosts.md). Without this table none does here."""

    pki: Path = Field(
        default=Path("/etc/fleetmend/pki"),
        description="the certificate authority's folder (`fleetmend pki init`); the controller's user has to write it",
    )
    agent_days: Annotated[int, Field(ge=1, le=825)] = Field(
        default=30, description="a node's certificate is good for so long; it is renewed when a third is left"
    )
    broker_url: str | tuple[str, ...] = Field(
        default="", description="mqtts:// address of the broker as nodes reach it; default: that of [broker]"
    )
    tokens_file: Path | None = Field(
        default=None,
        description="what `fleetmend enrol token` writes, and nobody else; default: `enrolment-tokens.json` in the "
        "state directory. Controllers that stand by need it, too",
    )

    @field_validator("broker_url")
    @classmethod
    def _usable(cls, url: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if url and (plain := [str(each) for each in addresses_of(url) if not each.tls]):
            raise ValueError(f"{plain[0]} is reached without TLS: nodes show their certificates over mqtts:// alone")
        return url

    def tokens_in(self, state: Path) -> Path:
        """Return where tokens are."""
        return self.tokens_file or state / TOKENS
