"""Times of the day and of the week, in a time zone: what freezes and windows are written in. Pure."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

MINUTES_A_DAY = 24 * 60
MINUTES_A_WEEK = 7 * MINUTES_A_DAY


def minute_now(now: float, zone: str) -> int:
    """Return the minutes since Monday 0:00 in a time zone."""
    local = datetime.fromtimestamp(now, zone_of(zone))
    return local.weekday() * MINUTES_A_DAY + local.hour * 60 + local.minute


@lru_cache(maxsize=64)
def zone_of(name: str) -> ZoneInfo:
    """Return a time zone by its IANA name."""
    return ZoneInfo(name)
