"""Unix seconds as the API and the page write them, always in UTC."""

from __future__ import annotations

from datetime import UTC, datetime


def iso(at: float) -> str:
    """Return e.g. `2026-01-31T10:20:30.123Z`."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def iso_or_none(at: float) -> str | None:
    """Return the moment, `None` for 0: not yet."""
    return iso(at) if at else None


def duration(seconds: float) -> str:
    """Return a duration as people say it: `4 s`, `3 min`, `2 h 5 min`, `3 d 4 h`."""
    whole = max(0, round(seconds))
    if whole < 90:
        return f"{whole} s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86_400
    if minutes < 90:
        return f"{minutes} min"
    if hours < 48:
        rest = minutes - hours * 60
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    rest = hours - days * 24
    return f"{days} d {rest} h" if rest else f"{days} d"
