"""What every table of the configuration has in common: it is frozen, and refuses a key that it does not know."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """One table."""

    model_config = ConfigDict(frozen=True, extra="forbid")
