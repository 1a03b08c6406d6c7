"""`host.time`: a clock that nobody keeps, or that is wrong.

A wrong clock breaks certificates, signed orders, Kerberos and the joining of logs, on this host and for everybody who
believes its time stamps. It breaks no computation, so it is told and no job is stopped for it.
"""

from __future__ import annotations

from collections.abc import Sequence

from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.policy import Policy
from checks.readings import TimeReading

ID = "host.time"
OFFSET_S = 1.0
"""Source: our choice. Half a minute ahead is what a node takes of an order's time (wire/orders.py), and Kerberos takes
5 min; logs of two hosts can no longer be joined long before that."""

BOOT_GRACE_S = 900.0
"""Source: our choice; chrony takes some minutes to choose its sources after a boot."""


def judge(readings: Sequence[TimeReading]) -> tuple[Finding, ...]:
    """Return what is wrong with the clock."""
    reading = readings[-1]
    if not reading.daemon:
        return ()
    if reading.failure:
        because = f"{reading.daemon} does not say how the clock is: {reading.failure}"
        return (_finding("unreadable", Verdict.UNKNOWN, because),)
    if not reading.synchronised:
        return (_finding("unsynchronised", Verdict.DEGRADED, f"{reading.daemon} lets the clock follow no source"),)
    if reading.offset_s is None or abs(reading.offset_s) < OFFSET_S:
        return ()
    because = f"the clock is {abs(reading.offset_s):.1f} s off the time that {reading.daemon} follows"
    return (_finding("offset", Verdict.DEGRADED, because),)


def _finding(code: str, verdict: Verdict, because: str) -> Finding:
    return Finding(ID, "host", code, verdict, Action.NONE, because)


CHECK = LevelCheck(
    id=ID,
    summary="A clock that follows no source, or that is wrong.",
    reading=TimeReading,
    judge=judge,
    outcomes=(
        Outcome("unsynchronised", Verdict.DEGRADED),
        Outcome("offset", Verdict.DEGRADED),
        Outcome("unreadable", Verdict.UNKNOWN),
    ),
    policy=Policy(
        raise_after=2,
        boot_grace_s=BOOT_GRACE_S,
        because="a daemon that was just started has not chosen a source yet",
    ),
    thresholds={"offset": f"{OFFSET_S:g} s (our choice)", "boot": f"{BOOT_GRACE_S / 60:.0f} min (our choice)"},
)
