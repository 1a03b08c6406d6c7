"""`host.kernel`: what the kernel itself says is broken on the host: lock-ups, memory, disks, file systems.

A cgroup that runs out of memory is its job's limit and no fault of the host; nor is a corrected error by itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from checks.check import LatchedCheck, Outcome, Recovery
from checks.finding import Action, Finding, Verdict
from checks.kernel_log import excerpt
from checks.latched import ADVICE, QUIET_S, Judgement, repaired, silent
from checks.readings import KernelRecord

ID = "host.kernel"
UNCORRECTED_BIT = 61
"""Of a machine-check bank's status word. Source: Intel SDM vol. 3B, IA32_MCi_STATUS.UC; AMD APM vol. 2 likewise."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of line.

    Attributes:
        pattern: matched at the message's start; a group `device` names what it is about.
        judge: what a match means, `None` for nothing.
        says: every verdict with its action that `judge` can give.
    """

    code: str
    pattern: re.Pattern[str]
    judge: Callable[[re.Match[str]], Judgement | None]
    says: tuple[tuple[Verdict, Action], ...]


def _always(code: str, pattern: str, verdict: Verdict, action: Action, reason: str) -> Rule:
    return Rule(code, re.compile(pattern), lambda _: Judgement(verdict, action, reason), ((verdict, action),))


def _machine_check(match: re.Match[str]) -> Judgement | None:
    if not int(match["status"], 16) >> UNCORRECTED_BIT & 1:
        return None
    reason = "the processor reports an uncorrected hardware error"
    return Judgement(Verdict.FAILED, Action.CONTACT_SUPPORT, reason, {"bank": match["bank"], "status": match["status"]})


def _platform_error(match: re.Match[str]) -> Judgement:
    if match["severity"] == "fatal":
        return Judgement(Verdict.FAILED, Action.CONTACT_SUPPORT, "the firmware reports a fatal hardware error")
    return Judgement(Verdict.DEGRADED, Action.NONE, "the firmware reports an uncorrected error that was recovered from")


RULES = (
    _always(
        "hung_task",
        r"INFO: task (?:nvidia|nv_)\S{0,64}:\d{1,10} blocked for more than \d{1,10} seconds",
        Verdict.FAILED,
        Action.REBOOT,
        "a task is stuck in the NVIDIA driver",
    ),
    _always(
        "soft_lockup",
        r"(?:watchdog: )?BUG: soft lockup - CPU#\d{1,5} stuck for \d{1,10}s!",
        Verdict.DEGRADED,
        Action.REBOOT,
        "a processor was stuck in the kernel",
    ),
    Rule(
        "machine_check",
        re.compile(
            r"(?:mce: )?\[Hardware Error\]: CPU \d{1,5}: Machine Check(?: Exception)?: [0-9a-f]{1,16} "
            r"Bank (?P<bank>\d{1,3}): (?P<status>[0-9a-f]{1,16})\b"
        ),
        _machine_check,
        ((Verdict.FAILED, Action.CONTACT_SUPPORT),),
    ),
    _always(
        "memory_uncorrected",
        r"EDAC (?P<device>MC\d{1,3}): \d{1,10} UE\b",
        Verdict.FAILED,
        Action.CONTACT_SUPPORT,
        "uncorrected error in main memory: replace the DIMM",
    ),
    Rule(
        "platform_error",
        re.compile(r"(?:\{\d{1,10}\})?\[Hardware Error\]: event severity: (?P<severity>fatal|recoverable)\b"),
        _platform_error,
        ((Verdict.FAILED, Action.CONTACT_SUPPORT), (Verdict.DEGRADED, Action.NONE)),
    ),
    _always(
        "read_only",
        r"EXT4-fs \((?P<device>[\w!:.-]{1,64})\): Remounting filesystem read-only",
        Verdict.FAILED,
        Action.REBOOT,
        "the file system was made read-only after an error",
    ),
    _always(
        "filesystem_shutdown",
        r"XFS \((?P<device>[\w!:.-]{1,64})\): [^\n]{0,200}?"
        r"(?:xfs_do_force_shutdown|[Ss]hutting down filesystem|Filesystem has been shut down)",
        Verdict.FAILED,
        Action.REBOOT,
        "the file system shut itself down after an error",
    ),
    _always(
        "nvme_disabled",
        r"nvme (?P<device>nvme\d{1,4}): Disabling device after reset failure",
        Verdict.FAILED,
        Action.REBOOT,
        "the disk's controller no longer answers",
    ),
    _always(
        "raid_failed",
        r"md/raid\d{0,2}:?(?P<device>md\w{1,32}): Disk failure on [\w!-]{1,64} detected, failing array",
        Verdict.FAILED,
        Action.CONTACT_SUPPORT,
        "the array lost more disks than it can",
    ),
    _always(
        "out_of_memory",
        r"Out of memory(?: \([\w ]{1,40}\))?: Kill(?:ed)? process \d{1,10}\b",
        Verdict.DEGRADED,
        Action.NONE,
        "the whole host ran out of memory, not just one job",
    ),
)
"""Source of the lines: the kernel's own formats (kernel/hung_task.c, kernel/watchdog.c, arch/x86/kernel/cpu/mce,
drivers/edac, drivers/firmware/efi/cper.c, fs/ext4, fs/xfs, drivers/nvme/host/pci.c, drivers/md, mm/oom_kill.c)."""


def judge(records: Sequence[KernelRecord]) -> tuple[Finding, ...]:
    """Return what the newest record says about the host."""
    text = records[-1].text
    for rule in RULES:
        match = rule.pattern.match(text)
        if match is not None:
            judgement = rule.judge(match)
            return () if judgement is None else (_finding(rule.code, match, judgement),)
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
    summary="What the kernel says is broken: lock-ups, uncorrected memory, dead disks, file systems gone read-only.",
    judge=judge,
    released=released,
    outcomes=tuple(Outcome(rule.code, *said) for rule in RULES for said in rule.says),
    thresholds={
        "quiet": f"{QUIET_S:.0f} s without the line end what needs no reboot (our choice)",
        "machine_check": f"bit {UNCORRECTED_BIT} of the bank's status (Intel SDM, AMD APM)",
    },
)
