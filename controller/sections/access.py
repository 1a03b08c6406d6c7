"""Who may use the API and the page."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from controller.sections.section import Section

TOKENS = "access-tokens.json"


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

    def tokens_in(self, state: Path) -> Path:
        """Return where tokens are."""
        return self.tokens_file or state / TOKENS
