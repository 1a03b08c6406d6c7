"""`host.kernel`: what the kernel itself says is broken on the host: lock-ups, processors, memory.

The lines and their meaning are in checks/kernel_rules.py; those of disks and file systems are `storage.kernel`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from checks.check import LatchedCheck, Outcome, Recovery
from checks.finding import Finding
from checks.kernel_log import excerpt
from checks.kernel_rules import FLOOD_COUNT, FLOOD_S, LEAKED_COUNT, LEAKED_S, LOOKBACK, RULES, UNCORRECTED_BIT
from checks.latched import ADVICE, QUIET_S, Judgement, repaired, silent
from checks.readings import KernelRecord

ID = "host.kernel"


def judge(records: Sequence[KernelRecord]) -> tuple[Finding, ...]:
    """Return what the newest record says about the host."""
    text = records[-1].text
    for rule in RULES:
        match = rule.pattern.match(text)
        judgement = rule.judge(match, records) if match is not None else None
        if match is not None and judgement is not None:
            return (_finding(rule.code, match, judgement),) if rule.is_reached(records) else ()
    return ()


def released(finding: Finding, recovery: Recovery) -> str:
    """Return why the fault is over: rebooted since, or quiet where nothing has to be repaired."""
    return repaired(finding, recovery) or silent(finding, recovery)


def _finding(code: str, match: re.Match[str], judgement: Judgement) -> Finding:
    said = excerpt(match.string)
    return Finding(
        check=ID,
        device=match.groupdict().get("device") or "host",
        code=code,
        verdict=judgement.verdict,
        action=judgement.action,
        because=f"{judgement.reason}; the kernel says: {said}; {ADVICE[judgement.action]}",
        evidence={"message": said, **judgement.evidence},
    )


CHECK = LatchedCheck(
    id=ID,
    summary="What the kernel says is broken: lock-ups, uncorrected errors of processor and memory.",
    judge=judge,
    released=released,
    outcomes=tuple(dict.fromkeys(Outcome(rule.code, *said) for rule in RULES for said in rule.says)),
    lookback=LOOKBACK,
    thresholds={
        "quiet": f"{QUIET_S:.0f} s without the line end what needs no reboot (our choice)",
        "machine_check": f"bit {UNCORRECTED_BIT} of the bank's status (Intel SDM, AMD APM)",
        "corrected_flood": f"{FLOOD_COUNT} corrected errors within {FLOOD_S:.0f} s (our choice)",
        "unregister_netdevice": f"{LEAKED_COUNT} lines within {LEAKED_S:.0f} s (node-problem-detector)",
    },
)
