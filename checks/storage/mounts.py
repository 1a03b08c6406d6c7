"""`storage.mounts`: file systems that should be mounted here and are not.

A job that writes where nothing is mounted fills the disk below, or does not find its data. What /etc/fstab wants and
this host once had is a fault; what something else once mounted from a server is worth a look.
"""

from __future__ import annotations

from collections.abc import Sequence

from checks.check import LevelCheck, Outcome
from checks.filesystems import NETWORK_KINDS
from checks.finding import Action, Finding, Verdict
from checks.policy import Policy
from checks.readings import ExpectedMount, MountsReading

ID = "storage.mounts"
GRACE_S = 300.0
"""Source: our choice; systemd gives each mount 90 s (DefaultTimeoutStartSec), and those from servers wait before that
for the network."""


def judge(readings: Sequence[MountsReading]) -> tuple[Finding, ...]:
    """Return every expected mount that is not there."""
    mounted = {each.mount for each in readings[-1].filesystems}
    return tuple(_missing(each) for each in readings[-1].expected if each.mount not in mounted)


def _missing(expected: ExpectedMount) -> Finding:
    what = f"{expected.mount} ({expected.kind or 'of unknown kind'}) is not mounted"
    if not expected.in_fstab:
        because = f"{what}, and it should be; /etc/fstab does not name it: what mounts it?"
        return _finding(expected, Verdict.DEGRADED, Action.NONE, because)
    if expected.kind in NETWORK_KINDS:
        because = f"{what}, though /etc/fstab wants it: look at the server and the way to it, then mount it"
        return _finding(expected, Verdict.FAILED, Action.NONE, because)
    because = f"{what}, though /etc/fstab wants it: drain and reboot the host, and look at the disk if it stays away"
    return _finding(expected, Verdict.FAILED, Action.REBOOT, because)


def _finding(expected: ExpectedMount, verdict: Verdict, action: Action, because: str) -> Finding:
    return Finding(ID, expected.mount, "missing", verdict, action, because, evidence={"kind": expected.kind})


CHECK = LevelCheck(
    id=ID,
    summary="File systems that should be mounted and are not.",
    reading=MountsReading,
    judge=judge,
    outcomes=(
        Outcome("missing", Verdict.FAILED, Action.NONE),
        Outcome("missing", Verdict.FAILED, Action.REBOOT),
        Outcome("missing", Verdict.DEGRADED),
    ),
    policy=Policy(
        raise_after=2,
        boot_grace_s=GRACE_S,
        because="who mounts anew takes a moment, and at the start of a host mounts wait for network and disks",
    ),
    thresholds={
        "expected": "approved; else once mounted here and still in /etc/fstab without noauto, or 10 min from a server",
    },
)
