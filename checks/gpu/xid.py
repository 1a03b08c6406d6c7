"""`gpu.xid`: the driver's own fault reports in the kernel log, one code a fault.

The static catalogue decides, except where the driver says it better: Xid 154 carries its recovery action, Xid 144 to
150 carry register words. What the driver asks for (Xid 154, and NVML field 230 in `gpu.recovery_action`) outranks the
catalogue's action for any other code: both findings stand, no code ends while the driver asks for something, and the
playbook that acts goes at least as far as the driver asks. A code that nobody knows yet is kept. A GPU that fell off
the bus is also reported by lines without a code, which count as Xid 79.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from checks import nvlink5
from checks.check import LatchedCheck, Outcome, Recovery
from checks.data import XidEntry, xid_catalogue
from checks.finding import Action, Finding, Verdict
from checks.gpu_names import PCI, normalise_pci
from checks.kernel_log import excerpt, soon_after
from checks.latched import ADVICE, QUIET_S, Judgement, is_healthy, repaired, silent
from checks.readings import KernelRecord
from checks.recovery_action import MEANINGS, recovery_action

ID = "gpu.xid"
OFF_THE_BUS = 79
RECOVERY_ACTION_CHANGED = 154
UNPARSED = "unparsed"

LOOKBACK = 16
"""Records among which the lines of one report are sought; three belong together and others may come between."""

SAME_EVENT_S = 5.0
"""Source: our choice; the real report of one GPU falling off the bus takes 7 µs, a storm of them some seconds."""

VERDICT_OF_SEVERITY = {
    "info": Verdict.OK,
    "warning": Verdict.DEGRADED,
    "error": Verdict.DEGRADED,
    "critical": Verdict.FAILED,
    "fatal": Verdict.FAILED,
    "unknown": Verdict.DEGRADED,
}

ACTION_OF_CATALOGUE = {
    "none": Action.NONE,
    "restart_app": Action.RESTART_APP,
    "reset_gpu": Action.RESET_GPU,
    "reboot_node": Action.REBOOT,
    "restart_vm": Action.REBOOT,
    "check_power_cabling": Action.CHECK_CABLING,
    "update_software": Action.UPDATE_SOFTWARE,
    "contact_support": Action.CONTACT_SUPPORT,
    "workflow_45": Action.NONE,
    "workflow_48": Action.RESET_GPU,
    "workflow_nvlink74": Action.RESET_GPU,
    "workflow_nvlink5": Action.RESET_GPU,
    "reset_gpu_if_uvm_or_vgpu_else_none": Action.RESET_GPU,
}
"""The catalogue's names in our words. `workflow_48` and the NVLink workflows all end in a reset. A code for which the
catalogue names no action (`unspecified`) goes to support when it is a warning or worse."""

AT_NEXT_RESET = "it becomes active at the next reset; the GPU serves on until then"

OVERRIDES = {
    63: Judgement(Verdict.DEGRADED, Action.NONE, AT_NEXT_RESET),
    110: Judgement(Verdict.FAILED, Action.POWER_CYCLE, "a hot reset does not clear a security fault"),
    156: Judgement(Verdict.DEGRADED, Action.RESET_GPU, AT_NEXT_RESET),
    160: Judgement(Verdict.DEGRADED, Action.NONE, AT_NEXT_RESET),
    177: Judgement(Verdict.DEGRADED, Action.NONE, AT_NEXT_RESET),
}
"""Codes that the severity alone would misjudge, with the reason.

Source: NVIDIA memory error management guide for the remaps (63, 160, 177) and 156; the driver's own text for 110."""

WAITS_FOR_RESET = frozenset({"63", "160", "177"})
"""Codes that silence does not end: the repair they announce waits for a reset."""

_XID = re.compile(
    rf"NVRM: Xid \((?:PCI:)?(?P<pci>{PCI})(?:\.[0-7])?"
    r"(?: GPU-I:(?P<instance>\d{1,4}))?(?: GPU-CI:(?P<compute>\d{1,4}))?\): "
    r"(?P<code>\d{1,9})\b[,\s]*(?P<body>.*)",
    re.DOTALL | re.ASCII,
)
_PROCESS = re.compile(
    r"pid=(?P<pid>'?<unknown>'?|\d{1,10})(?:, name=(?P<name>[^,]{0,64}))?(?:,\s*|$)(?P<message>.*)", re.DOTALL
)
_OFF_THE_BUS = re.compile(rf"NVRM: GPU ({PCI})(?:\.[0-7])?: GPU has fallen off the bus")
_OFF_THE_BUS_TAIL = re.compile(r"NVRM:\s+fallen off the bus and is not responding to commands")
_OFF_THE_BUS_HEAD = re.compile(rf"NVRM: The NVIDIA GPU ({PCI})")
_ACTION_CHANGE = re.compile(
    r"GPU recovery action changed from 0x([0-9a-fA-F]{1,4})\b.{0,64}? to 0x([0-9a-fA-F]{1,4})\b"
)


@dataclass(frozen=True, slots=True)
class XidEvent:
    """One Xid line. `message` is what follows the process; `evidence` what else it tells."""

    pci: str
    code: int
    message: str
    evidence: dict[str, str]


def parse(text: str) -> XidEvent | None:
    """Return the event of an Xid line, `None` for any other."""
    match = _XID.match(text)
    if match is None:
        return None
    process = _PROCESS.match(match["body"])
    told = {"gpu_instance": match["instance"], "compute_instance": match["compute"]}
    if process and process["pid"].isdigit():
        told |= {"pid": process["pid"], "process": process["name"]}
    return XidEvent(
        pci=normalise_pci(match["pci"]),
        code=int(match["code"]),
        message=process["message"] if process else match["body"],
        evidence={name: value for name, value in told.items() if value},
    )


def judge(records: Sequence[KernelRecord]) -> tuple[Finding, ...]:
    """Return what the newest record says about a GPU."""
    text = records[-1].text
    if not text.startswith("NVRM:"):
        return ()
    event = parse(text)
    if event is not None:
        return (_finding(event),)
    if text.startswith("NVRM: Xid"):
        return (_unparsed(text),)
    return _fallen_off(records)


def released(finding: Finding, recovery: Recovery) -> str:
    """Return why the fault is over: repaired or quiet, and the GPU seen to be well where it can be seen."""
    if finding.code == UNPARSED:
        return silent(finding, recovery)
    gpu = recovery.gpu
    if gpu is not None and not is_healthy(gpu):
        return ""
    if done := repaired(finding, recovery):
        return f"{done} and the GPU reads healthy" if gpu is not None else ""
    if finding.code in WAITS_FOR_RESET:
        return _activated(recovery)
    if finding.action is Action.RESTART_SERVICE:
        return _imex_recovered(recovery)
    return silent(finding, recovery)


def _activated(recovery: Recovery) -> str:
    """Return why a repair no longer waits for a reset; without a reading of the GPU it may still do."""
    if recovery.gpu is None:
        return ""
    if recovery.rebooted or recovery.device_reset:
        return "the GPU was reset since, which activates the repair"
    return "no remap is pending any more" if recovery.gpu.remap_pending is False else ""


def _imex_recovered(recovery: Recovery) -> str:
    if recovery.gpu is None or recovery.gpu.recovery_action != 0:
        return ""
    return "the driver's recovery action is none again"


def _finding(event: XidEvent) -> Finding:
    judgement, name = _judge_event(event), _name(event.code)
    said = excerpt(event.message).rstrip(".")
    news = "" if said.casefold() == name.casefold() else said
    parts = [f"Xid {event.code} ({name})", news, judgement.reason, ADVICE[judgement.action]]
    return Finding(
        check=ID,
        device=event.pci,
        code=str(event.code),
        verdict=judgement.verdict,
        action=judgement.action,
        because="; ".join(part for part in parts if part),
        pci=event.pci,
        evidence={"message": said, **_catalogued(event.code), **event.evidence, **judgement.evidence},
    )


def _catalogued(code: int) -> dict[str, str]:
    """Return what the catalogue says beyond the verdict, for whoever looks into it."""
    entry = xid_catalogue().get(code)
    if entry is None:
        return {}
    told = {"investigate": entry.investigate, "recovery_action_since": entry.recovery_action_since}
    return {name: value for name, value in told.items() if value}


def _name(code: int) -> str:
    entry = xid_catalogue().get(code)
    return entry.name if entry else "not in the catalogue"


def _judge_event(event: XidEvent) -> Judgement:
    if event.code == RECOVERY_ACTION_CHANGED and (change := _ACTION_CHANGE.search(event.message)):
        return _judge_action_change(int(change[1], 16), int(change[2], 16))
    if event.code in nvlink5.XIDS and (link_event := nvlink5.parse(event.code, event.message)):
        return nvlink5.judge(link_event)
    entry = xid_catalogue().get(event.code)
    if entry is None:
        return Judgement(Verdict.DEGRADED, Action.CONTACT_SUPPORT, "a newer driver may have added it")
    return OVERRIDES.get(event.code) or _judge_entry(entry)


def _judge_action_change(old: int, new: int) -> Judgement:
    wanted = recovery_action(new)
    evidence = {"old_action": str(old), "new_action": str(new)}
    return Judgement(wanted.verdict, wanted.action, f"the driver asks for {wanted.meaning}", evidence)


def _judge_entry(entry: XidEntry) -> Judgement:
    """Judge by the catalogue. What a job did to itself leaves the GPU healthy."""
    action = ACTION_OF_CATALOGUE.get(entry.action, Action.CONTACT_SUPPORT)
    if entry.kind == "app":
        return Judgement(Verdict.OK, action, "usually the job's own fault; the GPU is healthy")
    if entry.severity == "info":
        return Judgement(Verdict.OK, Action.NONE)
    return Judgement(VERDICT_OF_SEVERITY.get(entry.severity, Verdict.DEGRADED), action)


def _unparsed(text: str) -> Finding:
    because = f"an Xid line of unknown form was seen and could not be judged: {excerpt(text)}"
    return Finding(ID, "host", UNPARSED, Verdict.UNKNOWN, Action.NONE, because)


def _fallen_off(records: Sequence[KernelRecord]) -> tuple[Finding, ...]:
    """Return Xid 79 for the lines that say so without a code, unless the coded line was just there."""
    text = records[-1].text
    earlier = [record for record in records[:-1] if soon_after(record, records[-1], within_s=SAME_EVENT_S)]
    if match := _OFF_THE_BUS.match(text):
        pci = normalise_pci(match[1])
    elif any(_OFF_THE_BUS_TAIL.match(line) for line in text.splitlines()):
        pci = _named_gpu([*earlier, records[-1]])
    else:
        return ()
    if any(_says_off_the_bus(record.text, pci) for record in earlier):
        return ()
    because = f"the driver says without an Xid that the GPU has fallen off the bus; {ADVICE[Action.REBOOT]}"
    evidence = {"message": excerpt(text)}
    code = str(OFF_THE_BUS)
    return (Finding(ID, pci or "host", code, Verdict.FAILED, Action.REBOOT, because, pci=pci, evidence=evidence),)


def _named_gpu(records: Sequence[KernelRecord]) -> str:
    """Return the GPU that the first of the three lines names, empty when that line is missing."""
    lines = [line for record in records for line in record.text.splitlines()]
    heads = [match for line in reversed(lines) if (match := _OFF_THE_BUS_HEAD.match(line))]
    return normalise_pci(heads[0][1]) if heads else ""


def _says_off_the_bus(text: str, pci: str) -> bool:
    event = parse(text)
    if event is not None:
        return event.code == OFF_THE_BUS and event.pci == pci
    match = _OFF_THE_BUS.match(text)
    return match is not None and normalise_pci(match[1]) == pci


def _outcomes() -> tuple[Outcome, ...]:
    """Return what can be said of each code: by the catalogue, and by the lines that say it better."""
    said = {str(code): {_pair(_judge_event(XidEvent("", code, "", {})))} for code in xid_catalogue()}
    for code in nvlink5.XIDS:
        said[str(code)] |= nvlink5.possible(code)
    asked = map(recovery_action, range(MEANINGS + 1))
    said[str(RECOVERY_ACTION_CHANGED)] |= {(wanted.verdict, wanted.action) for wanted in asked}
    known = [Outcome(code, *each) for code, pairs in said.items() for each in sorted(pairs)]
    unknown = Outcome("*", Verdict.DEGRADED, Action.CONTACT_SUPPORT)
    return (*known, unknown, Outcome(UNPARSED, Verdict.UNKNOWN))


def _pair(judgement: Judgement) -> tuple[Verdict, Action]:
    return judgement.verdict, judgement.action


CHECK = LatchedCheck(
    id=ID,
    summary="Faults that the NVIDIA driver reports in the kernel log as Xid codes, and GPUs that fell off the bus.",
    judge=judge,
    released=released,
    outcomes=_outcomes(),
    lookback=LOOKBACK,
    thresholds={
        "quiet": f"{QUIET_S:.0f} s without the line end what needs neither reset nor reboot (our choice)",
        "same_event": f"{SAME_EVENT_S:.0f} s join the lines of one report (our choice)",
    },
)
