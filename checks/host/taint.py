"""`host.taint`: what the kernel noted about itself since this boot was first seen.

A taint bit stays until the reboot, also when its cause is long gone, and every host with a GPU driver has some from the
start. So only a bit that was not there at first counts, and only of those that tell of a fault.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.readings import HostReading

ID = "host.taint"


@dataclass(frozen=True, slots=True)
class Bit:
    """One bit of /proc/sys/kernel/tainted, with the letter that the kernel prints for it."""

    number: int
    letter: str
    code: str
    action: Action
    reason: str


BITS = (
    Bit(4, "M", "machine_check", Action.CONTACT_SUPPORT, "a processor reported an uncorrected hardware error"),
    Bit(5, "B", "bad_page", Action.REBOOT, "the kernel found a page of memory in a state that cannot be"),
    Bit(7, "D", "oops", Action.REBOOT, "the kernel made a fault of its own and went on"),
    Bit(14, "L", "soft_lockup", Action.REBOOT, "a processor was stuck in the kernel"),
)
"""The bits that tell of a fault; P, O and E come with the GPU driver, W is set by warnings that harm nobody. Source:
kernel, Documentation/admin-guide/tainted-kernels.rst."""


def judge(readings: Sequence[HostReading]) -> tuple[Finding, ...]:
    """Return what the kernel noted since this boot was first seen."""
    taint, at_first = readings[-1].taint, readings[-1].taint_at_first
    if taint is None or at_first is None:
        because = "the kernel's taint bits cannot be read"
        return (Finding(ID, "host", "unreadable", Verdict.UNKNOWN, Action.NONE, because),)
    return tuple(_new(taint, at_first))


def _new(taint: int, at_first: int) -> Iterator[Finding]:
    for bit in BITS:
        if (taint & ~at_first) >> bit.number & 1:
            because = f"{bit.reason} since this boot was first seen: the kernel's taint bit {bit.letter} is new"
            evidence = {"taint": str(taint), "taint_at_first": str(at_first)}
            yield Finding(ID, "host", bit.code, Verdict.DEGRADED, bit.action, because, evidence=evidence)


CHECK = LevelCheck(
    id=ID,
    summary="Faults that the kernel noted about itself (taint) since this boot was first seen.",
    reading=HostReading,
    judge=judge,
    outcomes=(
        Outcome("unreadable", Verdict.UNKNOWN),
        *(Outcome(bit.code, Verdict.DEGRADED, bit.action) for bit in BITS),
    ),
    thresholds={bit.code: f"bit {bit.number} ({bit.letter}) is new (kernel, tainted-kernels.rst)" for bit in BITS},
)
