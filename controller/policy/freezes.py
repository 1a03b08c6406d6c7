"""Freeze windows: times in which nothing disruptive is begun, because people said so beforehand."""

from __future__ import annotations

import re
from datetime import datetime

from controller.events import Reason
from controller.policy.belief import Belief
from controller.policy.incident import Incident
from controller.policy.rules import Freeze, Rules
from controller.policy.scopes import Scope
from controller.policy.week import MINUTES_A_DAY, MINUTES_A_WEEK, minute_now, zone_of

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_WEEKLY = re.compile(rf"(?P<day>{'|'.join(_DAYS)}) (?P<hour>[01][0-9]|2[0-3]):(?P<minute>[0-5][0-9])", re.IGNORECASE)


def frozen_window(belief: Belief, rules: Rules, incident: Incident, now: float) -> tuple[Scope, Reason] | None:
    """Return the freeze that holds this incident back now, `None` when none does."""
    for freeze in rules.freezes:
        if not in_force(freeze, now):
            continue
        for scope in belief.scopes_of(incident.node, [incident]):
            if freeze.scope.covers(scope):
                because = f"Frozen: {freeze.because} ({scope.words}, {describe(freeze)})."
                return scope, Reason(because, {"scope": str(scope)}, "the freeze were over")
    return None


def in_force(freeze: Freeze, now: float) -> bool:
    """Return whether a freeze holds at this moment; its beginning is in it, its end is not."""
    if freeze.ends:
        return freeze.begins <= now < freeze.ends
    minute = minute_now(now, freeze.zone)
    if freeze.weekly_begins <= freeze.weekly_ends:
        return freeze.weekly_begins <= minute < freeze.weekly_ends
    return minute >= freeze.weekly_begins or minute < freeze.weekly_ends


def describe(freeze: Freeze) -> str:
    """Return when it holds, as people read it."""
    if freeze.ends:
        until = datetime.fromtimestamp(freeze.ends, zone_of(freeze.zone)).strftime("%Y-%m-%d %H:%M")
        return f"until {until} {freeze.zone}"
    return f"each week {_weekly(freeze.weekly_begins)} to {_weekly(freeze.weekly_ends)} {freeze.zone}"


def minute_of_week(text: str) -> int:
    """Return minutes since Monday 0:00 of a text such as `Fri 18:00`.

    Raises:
        ValueError: it is no such text.
    """
    found = _WEEKLY.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no time of the week, such as `Fri 18:00` ({', '.join(_DAYS)})")
    return _DAYS.index(found["day"].title()) * MINUTES_A_DAY + int(found["hour"]) * 60 + int(found["minute"])


def moment_in(time: datetime, zone: str) -> datetime:
    """Return a time with its zone; one that has none of its own is meant in this one."""
    return time if time.tzinfo is not None else time.replace(tzinfo=zone_of(zone))


def _weekly(minute: int) -> str:
    day, rest = divmod(minute % MINUTES_A_WEEK, MINUTES_A_DAY)
    return f"{_DAYS[day]} {rest // 60:02d}:{rest % 60:02d}"
