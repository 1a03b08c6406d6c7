"""What each line of the kernel means that is about the host as a whole; `host.kernel` judges records by these rules.

Lines of GPUs, switches, network adapters and network file systems are left to the checks of those parts. A cgroup that
runs out of memory is its job's limit, and one corrected error is no fault: neither has a rule.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from checks.finding import Action, Verdict
from checks.kernel_log import soon_after
from checks.latched import Judgement
from checks.readings import KernelRecord

UNCORRECTED_BIT = 61
"""Of a machine-check bank's status word. Source: Intel SDM vol. 3B, IA32_MCi_STATUS.UC; AMD APM vol. 2 likewise."""

FLOOD_COUNT = 10
FLOOD_S = 3600.0
"""Corrected errors that are a flood. Source: our choice; a sound host logs some a month, a failing part hundreds an
hour, and the kernel's own limit on these lines keeps the count low."""

LEAKED_COUNT = 3
LEAKED_S = 1200.0
"""How often a device must be waited for to be leaked. Source: node-problem-detector, `unregister_netdevice`: 3 in 20
minutes; the kernel says it every 10 s while it lasts."""

LOOKBACK = 256
"""Records that are looked at together: ten reports of the firmware of some twenty lines each."""

Judge = Callable[[re.Match[str], Sequence[KernelRecord]], Judgement | None]


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of line.

    Attributes:
        pattern: matched at the message's start; a group `device` names what it is about.
        judge: what a match means, `None` for nothing; it is given the last records too, the matched one last.
        says: every verdict with its action that `judge` can give.
        least: how many such lines within `within_s` count as one fault; one alone does by default.
    """

    code: str
    pattern: re.Pattern[str]
    judge: Judge
    says: tuple[tuple[Verdict, Action], ...]
    least: int = 1
    within_s: float = field(default=0.0)

    def is_reached(self, records: Sequence[KernelRecord]) -> bool:
        """Return whether there are enough such lines, the newest record among them."""
        if self.least == 1:
            return True
        newest = records[-1]
        alike = (each for each in records if soon_after(each, newest, within_s=self.within_s))
        return sum(self.pattern.match(each.text) is not None for each in alike) >= self.least


def _always(
    code: str, pattern: str, verdict: Verdict, action: Action, reason: str, *, least: int = 1, within_s: float = 0.0
) -> Rule:
    judgement = Judgement(verdict, action, reason)
    return Rule(code, re.compile(pattern), lambda *_: judgement, ((verdict, action),), least, within_s)


def _machine_check(match: re.Match[str], _: Sequence[KernelRecord]) -> Judgement | None:
    if not int(match["status"], 16) >> UNCORRECTED_BIT & 1:
        return None
    reason = "the processor reports an uncorrected hardware error"
    return Judgement(Verdict.FAILED, Action.CONTACT_SUPPORT, reason, {"bank": match["bank"], "status": match["status"]})


def _platform_error(match: re.Match[str], _: Sequence[KernelRecord]) -> Judgement:
    if match["severity"] == "fatal":
        return Judgement(Verdict.FAILED, Action.CONTACT_SUPPORT, "the firmware reports a fatal hardware error")
    return Judgement(Verdict.DEGRADED, Action.NONE, "the firmware reports an uncorrected error that was recovered from")


_REPORT = r"(?:\{(?P<report>\d{1,10})\})?\[Hardware Error\]: {1,4}"
_SECTION_TYPE = re.compile(_REPORT + r"Error \d{1,5}, type: (?P<type>\w{1,20})")


def _memory_section(match: re.Match[str], records: Sequence[KernelRecord]) -> Judgement | None:
    """The line before, of the same report, tells how bad the section is."""
    types = (_SECTION_TYPE.match(record.text) for record in reversed(records[:-1]))
    of_report = next((said for said in types if said is not None and said["report"] == match["report"]), None)
    if of_report is None or of_report["type"] not in ("fatal", "recoverable"):
        return None
    reason = f"the firmware reports an uncorrected error ({of_report['type']}) in main memory: replace the DIMM"
    return Judgement(Verdict.FAILED, Action.CONTACT_SUPPORT, reason)


_LOCKUPS = (
    _always(
        "hung_task",
        r"INFO: task (?:nvidia|nv_)\S{0,64}:\d{1,10} blocked for more than \d{1,10} seconds",
        Verdict.FAILED,
        Action.REBOOT,
        "a task is stuck in the NVIDIA driver",
    ),
    _always(
        "hung_task_other",
        r"INFO: task .{1,64}:\d{1,10} blocked for more than \d{1,10} seconds",
        Verdict.DEGRADED,
        Action.NONE,
        "a task waits in the kernel for a device or a server",
    ),
    _always(
        "hard_lockup",
        r"(?:(?:NMI )?watchdog: )?(?:CPU\d{1,5}: )?Watchdog detected hard LOCKUP on cpu \d{1,5}",
        Verdict.FAILED,
        Action.REBOOT,
        "a processor was stuck with its interrupts off",
    ),
    _always(
        "soft_lockup",
        r"(?:(?:NMI )?watchdog: )?BUG: soft lockup - CPU#\d{1,5} stuck for \d{1,10}s!",
        Verdict.DEGRADED,
        Action.REBOOT,
        "a processor was stuck in the kernel",
    ),
    _always(
        "rcu_stall",
        r"(?:rcu: )?INFO: rcu_\w{1,32} (?:self-)?detected (?:expedited )?stalls? on CPU",
        Verdict.DEGRADED,
        Action.REBOOT,
        "a processor kept the whole kernel waiting",
    ),
    _always(
        "workqueue_lockup",
        r"BUG: workqueue lockup - pool\b",
        Verdict.DEGRADED,
        Action.NONE,
        "work of the kernel itself waits for a processor",
    ),
)


_KERNEL_FAULTS = (
    _always(
        "panic",
        r"Kernel panic - not syncing: ",
        Verdict.FAILED,
        Action.REBOOT,
        "the kernel gave up",
    ),
    _always(
        "bad_page",
        r"BUG: Bad (?:page state|page map|rss-counter state|page cache)\b",
        Verdict.DEGRADED,
        Action.REBOOT,
        "the kernel found its memory in a state that cannot be",
    ),
    _always(
        "oops",
        r"(?:BUG: unable to handle |BUG: kernel NULL pointer dereference|kernel BUG at |Unable to handle kernel "
        r"|Internal error: |Oops: |general protection fault\b.{0,100}\[#\d)",
        Verdict.DEGRADED,
        Action.REBOOT,
        "the kernel made a fault of its own and goes on with whatever that left",
    ),
    _always(
        "unregister_netdevice",
        r"unregister_netdevice: waiting for (?P<device>\S{1,15}) to become free",
        Verdict.DEGRADED,
        Action.REBOOT,
        "a network device cannot be taken away, and with it no container that had it",
        least=LEAKED_COUNT,
        within_s=LEAKED_S,
    ),
)


_HARDWARE = (
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
        "memory_uncorrected",
        re.compile(_REPORT + "section_type: memory error"),
        _memory_section,
        ((Verdict.FAILED, Action.CONTACT_SUPPORT),),
    ),
    _always(
        "memory_failure",
        r"(?:Memory failure: 0x[0-9a-f]{1,16}: (?:Killing |recovery action for )"
        r"|mce: Uncorrected hardware memory error in user-access at )",
        Verdict.FAILED,
        Action.CONTACT_SUPPORT,
        "a page of main memory was lost to an uncorrected error: replace the DIMM",
    ),
    Rule(
        "platform_error",
        re.compile(r"(?:\{\d{1,10}\})?\[Hardware Error\]: event severity: (?P<severity>fatal|recoverable)\b"),
        _platform_error,
        ((Verdict.FAILED, Action.CONTACT_SUPPORT), (Verdict.DEGRADED, Action.NONE)),
    ),
    _always(
        "corrected_storm",
        r"(?:mce: )?(?:CPU ?\d{1,5}:? (?:BANK ?\d{1,3} )?)?CMCI storm detected",
        Verdict.DEGRADED,
        Action.CONTACT_SUPPORT,
        "corrected hardware errors come so fast that the kernel stopped taking their interrupts",
    ),
    _always(
        "corrected_flood",
        r"(?:(?:mce: )?\[Hardware Error\]: (?:Machine check events logged|CPU \d{1,5}: Machine Check: )"
        r"|(?:\{\d{1,10}\})?\[Hardware Error\]: event severity: corrected)",
        Verdict.DEGRADED,
        Action.CONTACT_SUPPORT,
        f"{FLOOD_COUNT} corrected hardware errors within an hour",
        least=FLOOD_COUNT,
        within_s=FLOOD_S,
    ),
    _always(
        "system_error",
        r"NMI: (?:PCI system error \(SERR\)|IOCK error)",
        Verdict.FAILED,
        Action.CONTACT_SUPPORT,
        "a part on the bus reports a system error",
    ),
    _always(
        "thermal_shutdown",
        r"thermal (?P<device>thermal_zone\d{1,4}): (?:\S{1,32}: )?critical temperature reached",
        Verdict.FAILED,
        Action.CONTACT_SUPPORT,
        "the host is so hot that the kernel switches it off",
    ),
)


_SHORTAGES = (
    _always(
        "out_of_memory",
        r"Out of memory(?: \([\w ]{1,40}\))?: Kill(?:ed)? process \d{1,10}\b",
        Verdict.DEGRADED,
        Action.NONE,
        "the whole host ran out of memory, not just one job",
    ),
    _always(
        "connections_full",
        r"(?:nf_conntrack: ){1,2}table full, dropping packet",
        Verdict.DEGRADED,
        Action.NONE,
        "the table of network connections is full and packets are dropped (net.netfilter.nf_conntrack_max)",
    ),
    _always(
        "files_full",
        r"VFS: file-max limit \d{1,20} reached",
        Verdict.DEGRADED,
        Action.NONE,
        "no more files can be opened on the host (fs.file-max)",
    ),
)


RULES: tuple[Rule, ...] = (*_LOCKUPS, *_KERNEL_FAULTS, *_HARDWARE, *_SHORTAGES)
"""Every rule; the first that matches and means something counts.

Source of the lines: the kernel's own formats (kernel/hung_task.c, kernel/watchdog.c, kernel/workqueue.c,
kernel/panic.c, kernel/rcu/tree_stall.h, arch/x86/kernel/cpu/mce, arch/x86/kernel/nmi.c, arch/x86/mm/fault.c,
arch/arm64/mm/fault.c, drivers/edac, drivers/firmware/efi/cper.c, drivers/thermal, fs/file_table.c,
mm/oom_kill.c, mm/memory-failure.c, mm/page_alloc.c, net/core/dev.c,
net/netfilter/nf_conntrack_core.c)."""
