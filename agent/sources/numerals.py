"""Numbers in the text of foreign programs: what is none, too long, or not of this world is no number."""

from __future__ import annotations

import re
from typing import Final

MAX_WHOLE: Final = (1 << 63) - 1
"""More is no counter: it is what a tool prints for "none" in an unsigned number of 64 bits."""

MAX_DECIMAL: Final = 1e6
"""More is no temperature, no power and no light."""

_WHOLE = re.compile(r"\d{1,20}", re.ASCII)
_DECIMAL = re.compile(r"-?\d{1,9}(?:\.\d{1,9})?", re.ASCII)


def whole(text: object) -> int | None:
    """Return the whole number, not negative, that a text or a JSON value is."""
    if isinstance(text, bool):
        return None
    if isinstance(text, str) and _WHOLE.fullmatch(text.strip()):
        text = int(text)
    return text if isinstance(text, int) and 0 <= text <= MAX_WHOLE else None


def decimal(text: object) -> float | None:
    """Return the number that a text or a JSON value is."""
    if isinstance(text, str):
        text = float(text) if _DECIMAL.fullmatch(text.strip()) else None
    if isinstance(text, bool) or not isinstance(text, int | float):
        return None
    return float(text) if -MAX_DECIMAL <= text <= MAX_DECIMAL else None
