"""What a site's own program answered. Each program is a source of its own, and so has a type of reading of its own."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, Final

FAMILY: Final = "site"
ID: Final = re.compile(rf"{FAMILY}\.[a-z][a-z0-9_]{{0,62}}")
"""What a site calls its checks. One word serves as check, source, key of the settings and level of the topic."""


@dataclass(frozen=True, slots=True)
class SiteReading:
    """How one program ended.

    Attributes:
        exit_code: negative: the signal that ended it.
        output: what it printed.
        errors: what it printed as errors.
    """

    SOURCE: ClassVar[str] = FAMILY
    PARTS: ClassVar[str] = ""

    at_s: float
    exit_code: int
    output: str = ""
    errors: str = ""


@cache
def site_reading(check_id: str) -> type[SiteReading]:
    """Return the type of reading of one of the site's programs, whose source has the name of its check."""
    name = "".join(part.capitalize() for part in re.split(r"[._]", check_id)) + "Reading"
    return type(name, (SiteReading,), {"SOURCE": check_id, "__slots__": (), "__module__": __name__})
