"""`fabric.sxid`: faults that NVSwitches report in the kernel log (Hopper and older; Blackwell's have no SXid).

One event is printed on two or three lines: a headline with a level word, its severity, its data. It counts once. The
line's own word decides first, then the Fabric Manager guide's group.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from checks.check import LatchedCheck, Outcome, Recovery
from checks.data import SxidEntry, sxid_catalogue
from checks.finding import Action, Finding, Verdict
from checks.gpu_names import PCI, normalise_pci
from checks.kernel_log import excerpt, soon_after
from checks.latched import ADVICE, QUIET_S, Judgement, repaired, silent
from checks.readings import KernelRecord

ID = "fabric.sxid"
LOOKBACK = 32
"""Records among which the earlier lines of an event are sought: several switches may report at once."""

SAME_EVENT_S = 5.0
"""Source: our choice; the lines of one event are printed within one interrupt."""

ACTION_OF_CATALOGUE = {
    "drain_node_reset_fabric_or_reboot": Action.REBOOT,
    "drain_affected_partition_reset_gpus": Action.RESET_GPU,
}
"""The Fabric Manager guide's advice in our words; every other advice is to log it."""

OVERRIDES = {
    10005: Judgement(Verdict.OK, Action.NONE, "the thermal event is over"),
    10006: Judgement(Verdict.FAILED, Action.CONTACT_SUPPORT, "the switch shut down because of its temperature"),
    26006: Judgement(Verdict.FAILED, Action.REBOOT, "the switch's microcontroller halted"),
    26007: Judgement(Verdict.FAILED, Action.REBOOT, "the switch's microcontroller reported an error"),
    26008: Judgement(Verdict.FAILED, Action.REBOOT, "the switch's microcontroller ran into its watchdog"),
}
"""Codes printed without a level word and left out of the guide's groups. Source: open-gpu-kernel-modules 595.45.04,
`ctrl_dev_nvswitch.h`, names of the codes."""

LEVELS = ("", "fatal", "non-fatal", "correctable")
"""Words that a line may carry about itself."""

_SXID = re.compile(
    rf"nvidia-nvswitch(?P<instance>\d{{1,4}}): SXid \((?:PCI:)?(?P<pci>{PCI})(?:\.[0-7])?\): "
    r"(?P<code>\d{1,9})\b[,\s]*(?P<body>.*)",
    re.DOTALL | re.ASCII,
)
_SEVERITY = re.compile(r"Severity (\d{1,2})\b")
_LINK = re.compile(r"\bLink (\d{1,4})\b")


@dataclass(frozen=True, slots=True)
class SxidEvent:
    """One SXid line.

    Attributes:
        kind: 0 for a headline, 1 for the line with the severity, 2 for the one with the data: their order in the log.
        level: `fatal`, `non-fatal`, `correctable`, or empty when the line does not say.
    """

    pci: str
    code: int
    kind: int
    level: str
    message: str
    evidence: dict[str, str]


def parse(text: str) -> SxidEvent | None:
    """Return the event of an SXid line, `None` for any other."""
    match = _SXID.match(text)
    if match is None:
        return None
    body = match["body"]
    link = _LINK.search(body)
    return SxidEvent(
        pci=normalise_pci(match["pci"]),
        code=int(match["code"]),
        kind=1 if _SEVERITY.match(body) else 2 if body.startswith("Data {") else 0,
        level=_level(body),
        message=excerpt(body),
        evidence={"switch": match["instance"], "message": excerpt(body), **({"link": link[1]} if link else {})},
    )


def judge(records: Sequence[KernelRecord]) -> tuple[Finding, ...]:
    """Return what the newest record says about a switch, unless an earlier line of the same event said it."""
    event = parse(records[-1].text)
    if event is None:
        return ()
    for record in records[:-1] if event.kind else ():
        earlier = parse(record.text)
        if earlier is None or not soon_after(record, records[-1], within_s=SAME_EVENT_S):
            continue
        if (earlier.pci, earlier.code) == (event.pci, event.code) and earlier.kind < event.kind:
            return ()
    return (_finding(event),)


def released(finding: Finding, recovery: Recovery) -> str:
    """Return why the fault is over. A switch has no reading of its own, so the repair itself is the proof."""
    return repaired(finding, recovery) or silent(finding, recovery)


def _level(body: str) -> str:
    if severity := _SEVERITY.match(body):
        return "fatal" if int(severity[1]) else "non-fatal"
    word = body.partition(",")[0].lower()
    return word if word in LEVELS else ""


def _finding(event: SxidEvent) -> Finding:
    judgement = _judge_event(event)
    entry = sxid_catalogue().get(event.code)
    name = entry.name if entry else "not in the catalogue"
    parts = [f"SXid {event.code} ({name})", event.message, judgement.reason, ADVICE[judgement.action]]
    return Finding(
        check=ID,
        device=event.pci,
        code=str(event.code),
        verdict=judgement.verdict,
        action=judgement.action,
        because="; ".join(part for part in parts if part),
        pci=event.pci,
        evidence=event.evidence,
    )


def _judge_event(event: SxidEvent) -> Judgement:
    entry = sxid_catalogue().get(event.code)
    if entry is None:
        return _judge_unknown(event.level)
    if event.level == "fatal":
        return Judgement(Verdict.FAILED, ACTION_OF_CATALOGUE.get(entry.action, Action.RESET_GPU))
    if event.level:
        return _judge_mild(entry)
    return OVERRIDES.get(event.code) or _judge_by_group(entry)


def _judge_unknown(level: str) -> Judgement:
    """Keep a code that no table has: by its own word, and as a matter for support unless that word is mild."""
    verdict = Verdict.FAILED if level == "fatal" else Verdict.DEGRADED
    action = Action.NONE if level in ("non-fatal", "correctable") else Action.CONTACT_SUPPORT
    return Judgement(verdict, action, "a newer driver may have added it")


def _judge_mild(entry: SxidEntry) -> Judgement:
    if entry.group in ("always_fatal", "potentially_fatal"):
        reason = f"the driver calls it mild, the Fabric Manager guide {entry.group.replace('_', ' ')}"
        return Judgement(Verdict.DEGRADED, Action.NONE, reason)
    return Judgement(Verdict.OK, Action.NONE)


def _judge_by_group(entry: SxidEntry) -> Judgement:
    if entry.action in ACTION_OF_CATALOGUE:
        return Judgement(
            Verdict.FAILED, ACTION_OF_CATALOGUE[entry.action], f"{entry.group.replace('_', ' ')} by the guide"
        )
    if entry.group == "non_fatal":
        return Judgement(Verdict.OK, Action.NONE)
    return Judgement(Verdict.DEGRADED, Action.CONTACT_SUPPORT, "the line names no level and the guide no group")


def _outcomes() -> tuple[Outcome, ...]:
    """Return what can be said of each code with each word that a line may carry, and of a code without an entry."""
    unknown = {("*", *_pair(_judge_unknown(level))) for level in LEVELS}
    events = [SxidEvent("", code, 0, level, "", {}) for code in sxid_catalogue() for level in LEVELS]
    known = {(str(event.code), *_pair(_judge_event(event))) for event in events}
    return tuple(Outcome(*each) for each in (*sorted(known), *sorted(unknown)))


def _pair(judgement: Judgement) -> tuple[Verdict, Action]:
    return judgement.verdict, judgement.action


CHECK = LatchedCheck(
    id=ID,
    summary="Faults that NVSwitches report in the kernel log as SXid codes.",
    judge=judge,
    released=released,
    outcomes=_outcomes(),
    lookback=LOOKBACK,
    thresholds={
        "quiet": f"{QUIET_S:.0f} s without the line end what needs neither reset nor reboot (our choice)",
        "same_event": f"{SAME_EVENT_S:.0f} s join the lines of one event (our choice)",
    },
)
