"""`host.hugepages`: pools of huge pages that are smaller than they should be.

Pages are set aside at the start, while memory is whole. Later the kernel may find fewer of them together, and a job
that counts on them (a DPDK or database process, a large memory window) does not start.
"""

from __future__ import annotations

from collections.abc import Sequence

from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.policy import Policy
from checks.readings import HostReading
from checks.readings.host import HugePagePool

ID = "host.hugepages"
MIB = 1 << 20


def judge(readings: Sequence[HostReading]) -> tuple[Finding, ...]:
    """Return every pool that is too small."""
    return tuple(finding for pool in readings[-1].huge_pages for finding in _judge(pool))


def _judge(pool: HugePagePool) -> tuple[Finding, ...]:
    device = f"{pool.size_bytes / MIB:g} MiB"
    if pool.total is None:
        because = f"how many huge pages of {device} there are cannot be read"
        return (Finding(ID, device, "unreadable", Verdict.UNKNOWN, Action.NONE, because),)
    if pool.expected is None or pool.total >= pool.expected:
        return ()
    because = (
        f"{pool.total} huge pages of {device} in place of {pool.expected}: "
        "memory is in pieces, or somebody lowered vm.nr_hugepages"
    )
    evidence = {"free": str(pool.free), "reserved": str(pool.reserved)}
    return (Finding(ID, device, "missing", Verdict.DEGRADED, Action.NONE, because, evidence=evidence),)


CHECK = LevelCheck(
    id=ID,
    summary="Pools of huge pages that are smaller than they should be.",
    reading=HostReading,
    judge=judge,
    outcomes=(Outcome("unreadable", Verdict.UNKNOWN), Outcome("missing", Verdict.DEGRADED)),
    policy=Policy(raise_after=2, because="a pool that is being resized is between two sizes for a moment"),
    thresholds={
        "missing": "fewer pages than `hugepages=` asked of the kernel, else than there were earlier in this boot "
        "(our choice)",
    },
)
