"""`host.processes`: a host that runs out of process numbers or of open files, or whose dead nobody buries.

A zombie costs nothing but its number. Many of them under one parent tell of a program that no longer does its work,
and in the end nobody can start anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.policy import Policy
from checks.readings import HostReading

ID = "host.processes"
DEGRADED_PERCENT = 80.0
FAILED_PERCENT = 95.0
"""Used in percent of what there can be. Source: gpud, `os` component: 80 and 95."""

ZOMBIES_OF_PARENT = 1000
"""Source: gpud, `os` component, where the limit of open files is not known."""


def judge(readings: Sequence[HostReading]) -> tuple[Finding, ...]:
    """Return what the host runs out of."""
    reading = readings[-1]
    return (
        *_shortage("tasks", "processes and threads", reading.tasks, reading.tasks_max),
        *_shortage("files", "open files", reading.files_open, reading.files_max),
        *_zombies(reading),
    )


def _shortage(code: str, what: str, used: int | None, limit: int | None) -> Iterator[Finding]:
    if used is None or not limit:
        because = f"how many {what} there are cannot be read"
        yield Finding(ID, "host", f"{code}_unreadable", Verdict.UNKNOWN, Action.NONE, because)
        return
    percent = 100.0 * used / limit
    if percent < DEGRADED_PERCENT:
        return
    verdict = Verdict.FAILED if percent >= FAILED_PERCENT else Verdict.DEGRADED
    because = f"{percent:.0f} % of all {what} that there can be are in use, {used} of {limit}"
    yield Finding(ID, "host", code, verdict, Action.NONE, because)


def _zombies(reading: HostReading) -> Iterator[Finding]:
    if reading.zombies_of_parent >= ZOMBIES_OF_PARENT:
        because = (
            f"{reading.zombie_parent} does not wait for {reading.zombies_of_parent} of its children that ended: "
            "restart it"
        )
        yield Finding(ID, "host", "zombies", Verdict.DEGRADED, Action.NONE, because)


CHECK = LevelCheck(
    id=ID,
    summary="A host that runs out of process numbers or open files, or that is full of zombies.",
    reading=HostReading,
    judge=judge,
    outcomes=(
        Outcome("tasks_unreadable", Verdict.UNKNOWN),
        Outcome("files_unreadable", Verdict.UNKNOWN),
        *(Outcome(code, verdict) for code in ("tasks", "files") for verdict in (Verdict.DEGRADED, Verdict.FAILED)),
        Outcome("zombies", Verdict.DEGRADED),
    ),
    policy=Policy(raise_after=2, because="a job that just ends leaves zombies and open files for a moment"),
    thresholds={
        "degraded": f"{DEGRADED_PERCENT:.0f} % of pid_max, threads-max or file-max (gpud)",
        "failed": f"{FAILED_PERCENT:.0f} % of them (gpud)",
        "zombies": f"{ZOMBIES_OF_PARENT} under one parent (gpud)",
    },
)
