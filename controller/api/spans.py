"""Spans of time as people ask for them: `7d` is the last seven days, else a moment in ISO 8601."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

_AGO = re.compile(r"(\d{1,6})\s*([smhdw])", re.ASCII)
_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}

RIGHT = "7d, 12h, 30m, or ISO 8601, e.g. 2026-01-31 or 2026-01-31T10:00:00Z"


def moment_of(text: str, now: float) -> float:
    """Return the moment that a text names, Unix seconds; one without a zone is UTC.

    Raises:
        ValueError: it names none.
    """
    ago = _AGO.fullmatch(text.strip())
    if ago:
        return now - int(ago[1]) * _UNITS_S[ago[2]]
    try:
        named = datetime.fromisoformat(text.strip())
        at = named.replace(tzinfo=named.tzinfo or UTC).timestamp()
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text[:40]!r} is no moment; right is {RIGHT}") from error
    if not math.isfinite(at) or at < 0.0:
        raise ValueError(f"{text[:40]!r} is no moment after 1970; right is {RIGHT}")
    return at
