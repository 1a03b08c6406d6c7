"""`storage.kernel`: what the kernel says of disks, arrays, file systems and storage servers.

The lines and their meaning are in checks/storage_lines.py. What they say of a server is over when the kernel says that
it answers again; what they say of a disk when the host was rebooted, or after a silence where nothing is to be mended.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from checks.check import LatchedCheck, Outcome, Recovery
from checks.finding import Finding
from checks.kernel_log import excerpt, soon_after
from checks.latched import ADVICE, QUIET_S, repaired, silent
from checks.readings import KernelRecord
from checks.storage_lines import LINES, MAY_MATTER, STORM_COUNT, STORM_S, StorageLine

ID = "storage.kernel"

LOOKBACK = 512
"""Records among which the resets of a storm are sought; each comes with some lines of failed reads and writes."""


def judge(records: Sequence[KernelRecord]) -> tuple[Finding, ...]:
    """Return what the newest record says about storage."""
    text = records[-1].text
    for line in LINES if MAY_MATTER.match(text) else ():
        match = line.pattern.match(text)
        if match is not None and (line.least == 1 or _count(line, match, records) >= line.least):
            return (_finding(line, match),)
    return ()


def released(finding: Finding, recovery: Recovery) -> str:
    """Return why the fault is over: rebooted since, or quiet where nothing has to be repaired."""
    return repaired(finding, recovery) or silent(finding, recovery)


def _count(line: StorageLine, match: re.Match[str], records: Sequence[KernelRecord]) -> int:
    """Return how many such lines about the same device came within the hour before the newest, itself included."""
    newest = records[-1]
    alike = (line.pattern.match(each.text) for each in records if soon_after(each, newest, within_s=STORM_S))
    return sum(other is not None and other["device"] == match["device"] for other in alike)


def _finding(line: StorageLine, match: re.Match[str]) -> Finding:
    said = excerpt(match.string)
    advice = "" if line.ends else f"; {ADVICE[line.action]}"
    return Finding(
        check=ID,
        device=match.groupdict().get("device") or "host",
        code=line.code,
        verdict=line.verdict,
        action=line.action,
        because=f"{line.reason}; the kernel says: {said}{advice}",
        evidence={"message": said},
    )


CHECK = LatchedCheck(
    id=ID,
    summary="What the kernel says of disks, arrays, file systems and storage servers.",
    judge=judge,
    released=released,
    outcomes=tuple(dict.fromkeys(Outcome(line.code, line.verdict, line.action) for line in LINES)),
    lookback=LOOKBACK,
    heals=True,
    thresholds={
        "quiet": f"{QUIET_S:.0f} s without the line end what needs no reboot (our choice)",
        "storm": f"{STORM_COUNT} resets of one controller within {STORM_S / 60:.0f} min (our choice)",
    },
)
