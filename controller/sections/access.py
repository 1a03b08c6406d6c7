"""Who may use the API and the page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from controller.sections.oidc import OidcSection
from controller.sections.section import Section

TOKENS = "access-tokens.json"
SESSION_KEY = "session-key"


class AccessSection(Section):
    """Who may use the API and the page. With this table, even an empty one, everybody has to say who they are.

    Without it whoever reaches the port may do all, so that it has to stay on loopback.
    """

    tokens_file: Path | None = Field(
        default=None,
        description="what `fleetmend access token` writes, and nobody else; default: `access-tokens.json` in the state "
        "directory",
    )
    metrics: Literal["viewer", "anyone"] = Field(
        default="viewer", description="who may read /metrics; `viewer` is whoever has a token"
    )

    session_key_file: Path | None = Field(
        default=None,
        description="64 hexadecimal digits that sign the cookies of browsers; default: `session-key` in the state "
        "directory, which is made if absent. Controllers that share it know each other's sessions",
    )
    session_s: Annotated[float, Field(ge=60, le=2_592_000)] = Field(
        default=28_800.0, description="a browser that signed in has to do so again after this"
    )

    two_people: bool = Field(
        default=True,
        description="what reaches the whole fleet (`resume fleet`, `promote`, closing a breaker) waits until two "
        "approvers have said yes; who asks is one of them if they are an approver",
    )
    requests_per_s: Annotated[float, Field(gt=0)] = Field(
        default=50.0, description="of one person, or of one address of people who are unknown; more are answered 429"
    )
    burst: Annotated[int, Field(ge=50)] = Field(
        default=500, description="so many at once after a while of fewer; to open a page takes some twenty"
    )

    oidc: OidcSection | None = None

    def session_key_in(self, state: Path) -> Path:
        """Return where the key is that signs sessions."""
        return self.session_key_file or state / SESSION_KEY

    def tokens_in(self, state: Path) -> Path:
        """Return where tokens are."""
        return self.tokens_file or state / TOKENS
