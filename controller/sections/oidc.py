"""The OpenID provider at which people sign in to the page."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from controller.access.roles import Role
from controller.sections.section import Section
from wire.loopback import is_loopback


class OidcSection(Section):
    """The OpenID provider at which people sign in to the page. It sends them back to `<public_url>/login/back`."""

    issuer: str = Field(description="exactly as the provider calls itself, e.g. https://login.example/realms/main")
    client_id: str = Field(description="what the provider calls this controller")
    client_secret_file: Path | None = Field(
        default=None,
        description="file that holds the client's secret and nothing else; without it the client is public",
    )
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    name_claim: str = Field(
        default="preferred_username",
        description="who a person is in the log; it has to be one that people cannot change themselves",
    )
    roles_claim: str = Field(default="groups", description="a text or a list of texts")
    roles: dict[Role, list[str]] = Field(
        description='role → values of that claim, any of which gives it, e.g. `operator = ["sre"]`'
    )
    session_s: Annotated[float, Field(ge=60, le=86_400)] = Field(
        default=3_600.0,
        description="a browser that signed in there has to do so again after this, at most `access.session_s`: so long "
        "somebody who left a group there keeps its role",
    )
    label: str = Field(default="single sign-on", description="what the button of the page calls it")
    ca_file: Path | None = Field(default=None, description="CA of its certificate, in place of the system's")

    def roles_of(self, groups: Collection[str]) -> frozenset[Role]:
        """Return the roles that these values of the claim give."""
        return frozenset(role for role, wanted in self.roles.items() if not set(wanted).isdisjoint(groups))

    def named_in(self, groups: Collection[str]) -> frozenset[str]:
        """Return those of these values that give any role."""
        return frozenset(each for wanted in self.roles.values() for each in wanted if each in groups)

    @field_validator("issuer")
    @classmethod
    def _safe(cls, issuer: str) -> str:
        parts = urlsplit(issuer)
        local = parts.scheme == "http" and is_loopback(parts.hostname or "")
        if not parts.hostname or not (parts.scheme == "https" or local):
            raise ValueError("must be https://...: without TLS anybody on the way signs in as anybody")
        return issuer

    @model_validator(mode="after")
    def _usable(self) -> OidcSection:
        if "openid" not in self.scopes:
            raise ValueError("scopes must hold openid: without it the provider says nothing of who signed in")
        if not any(self.roles.values()):
            raise ValueError("roles is empty: nobody could do anything")
        return self
