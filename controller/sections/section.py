"""What every table of the configuration has in common: it is frozen, and refuses a key that it does not know.

It also refuses numbers that are infinite or none. What is set finds its way into the log, whose JSON has no such
numbers: a controller could not read again what it wrote.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """One table."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
