"""`host.pressure`: a host on which all work stands still, waiting for memory or for disks.

The kernel's pressure figures tell lost time, where use in percent tells only that something is busy. Waiting for a
processor is no fault of the host: a job may well want more of them than there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.policy import Policy
from checks.readings import HostReading

ID = "host.pressure"
MEMORY_FULL_PERCENT = 10.0
"""Of a minute in which every task waited for memory. Source: our choice, as in systemd-oomd's practice of tens of
percent; a host that swaps or reclaims without end loses more than half."""

IO_FULL_PERCENT = 80.0
"""Of five minutes in which every task waited for disks. Source: our choice; the saving of a checkpoint stays below, as
somebody computes meanwhile."""


def judge(readings: Sequence[HostReading]) -> tuple[Finding, ...]:
    """Return what all work waits for."""
    return tuple(_judge(readings[-1]))


def _judge(reading: HostReading) -> Iterator[Finding]:
    full = {each.resource: each for each in reading.pressure}
    memory = full["memory"].full_60s if "memory" in full else None
    if memory is not None and memory > MEMORY_FULL_PERCENT:
        because = f"all work stood still for {memory:.0f} % of the last minute, waiting for memory"
        yield Finding(ID, "host", "memory", Verdict.DEGRADED, Action.NONE, because)
    disks = full["io"].full_300s if "io" in full else None
    if disks is not None and disks > IO_FULL_PERCENT:
        because = f"all work stood still for {disks:.0f} % of the last five minutes, waiting for disks or file servers"
        yield Finding(ID, "host", "io", Verdict.DEGRADED, Action.NONE, because)


CHECK = LevelCheck(
    id=ID,
    summary="A host on which all work stands still, waiting for memory or disks.",
    reading=HostReading,
    judge=judge,
    outcomes=(Outcome("memory", Verdict.DEGRADED), Outcome("io", Verdict.DEGRADED)),
    policy=Policy(raise_after=3, clear_after=2, because="the end of a job reclaims its memory in one go"),
    thresholds={
        "memory": f"more than {MEMORY_FULL_PERCENT:.0f} % of a minute in which all tasks waited (our choice)",
        "io": f"more than {IO_FULL_PERCENT:.0f} % of five minutes in which all tasks waited (our choice)",
    },
)
