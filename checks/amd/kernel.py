"""`amd.kernel`: what the amdgpu driver says in the kernel log.

A page fault and a hang of a queue are mostly the job's own doing. A reset that succeeded has cost every job on the GPU
its work, and in a hive on all GPUs; one that failed leaves a GPU that only a reboot brings back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from checks.check import LatchedCheck, Outcome, Recovery
from checks.finding import Action, Finding, Verdict
from checks.gpu_names import PCI, normalise_pci
from checks.kernel_log import excerpt
from checks.latched import ADVICE, QUIET_S, Judgement, repaired, silent
from checks.readings import KernelRecord

ID = "amd.kernel"

ASLEEP = 1_048_560
"""Every error count that a driver made up for a GPU asleep was a multiple of this. Source: captured lines of a graphics
card, whose count rose by exactly so much each time it was asked."""

_LINE = re.compile(rf"amdgpu (?P<pci>{PCI})\.[0-7]: (?:amdgpu: )?(?P<body>.*)", re.DOTALL | re.ASCII)
_BLOCK = r"hardware errors detected in (?P<block>\w{1,24}) block"
_WHERE = r"(?:\{\d{1,20}\} ?)?(?:socket: \d{1,3},? (?:die: \d{1,3},? )?)?"


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of line.

    Attributes:
        pattern: matched at the beginning of what follows the driver's name and the GPU's address.
        judge: what a match means, `None` for nothing.
        says: every verdict with its action that `judge` can give.
    """

    code: str
    pattern: re.Pattern[str]
    judge: Callable[[re.Match[str]], Judgement | None]
    says: tuple[tuple[Verdict, Action], ...]


def _always(code: str, pattern: str, verdict: Verdict, action: Action, reason: str) -> Rule:
    return Rule(code, re.compile(pattern, re.ASCII), lambda _: Judgement(verdict, action, reason), ((verdict, action),))


def _uncorrectable(match: re.Match[str]) -> Judgement | None:
    count = int(match["count"])
    if not count:
        return None
    if count % ASLEEP == 0:
        reason = f"the driver counts {count} errors at once, as it does for a GPU that was asleep"
        return Judgement(Verdict.DEGRADED, Action.NONE, reason)
    reason = f"{count} uncorrectable errors in {match['block']}: a job may have read wrong data"
    return Judgement(Verdict.FAILED, Action.REBOOT, reason)


RULES = (
    _always(
        "lost",
        r"device lost from bus!",
        Verdict.FAILED,
        Action.REBOOT,
        "the GPU has left the PCI bus",
    ),
    _always(
        "reset_failed",
        r"GPU reset(?:\(\d{1,10}\) failed| end with ret = -\d{1,5})|GPU Recovery Failed: -\d{1,5}",
        Verdict.FAILED,
        Action.REBOOT,
        "the driver could not reset the GPU",
    ),
    _always(
        "reset",
        r"GPU reset begin!|GPU reset(?:\(\d{1,10}\))? succeeded",
        Verdict.DEGRADED,
        Action.RESTART_APP,
        "the driver resets the GPU, and every job on it, or on its hive, loses its work",
    ),
    Rule(
        "uncorrectable",
        re.compile(
            rf"{_WHERE}(?P<count>\d{{1,12}}) (?:new )?uncorrectable {_BLOCK}",
            re.ASCII,
        ),
        _uncorrectable,
        ((Verdict.FAILED, Action.REBOOT), (Verdict.DEGRADED, Action.NONE)),
    ),
    _always(
        "deferred",
        rf"{_WHERE}[1-9]\d{{0,11}} new deferred {_BLOCK}",
        Verdict.DEGRADED,
        Action.NONE,
        "memory is bad that nobody has read yet",
    ),
    _always(
        "bad_pages_near",
        r"RAS records: ?\d{1,9} exceeds 90% of threshold: ?\d{1,9}",
        Verdict.DEGRADED,
        Action.CONTACT_SUPPORT,
        "the memory has nearly as many bad pages as it may have",
    ),
    _always(
        "bad_pages",
        r"RAS records: ?\d{1,9} exceed threshold: ?\d{1,9}",
        Verdict.FAILED,
        Action.CONTACT_SUPPORT,
        "the memory has more bad pages than it may have: the GPU has to be replaced",
    ),
    _always(
        "ring_timeout",
        r"(?:\[drm\] ?)?(?:\*ERROR\* ?)?ring [\w.]{1,32} timeout, signaled seq=\d{1,20}, emitted seq=\d{1,20}",
        Verdict.DEGRADED,
        Action.RESTART_APP,
        "a queue of the GPU hangs",
    ),
    _always(
        "page_fault",
        r"\[\w{1,16}\] (?:no-)?(?:retry )?page fault \(src_id:\d{1,5}",
        Verdict.OK,
        Action.RESTART_APP,
        "a program used an address that it does not have",
    ),
)
"""Source of the lines: kernel, drivers/gpu/drm/amd: amdgpu_device.c, amdgpu_reset.c, amdgpu_job.c, amdgpu_ras.c,
amdgpu_ras_eeprom.c, gmc_v9_0.c; old and new forms as captured. "detected in total in" repeats what was told before."""


def judge(records: Sequence[KernelRecord]) -> tuple[Finding, ...]:
    """Return what the newest record says about an AMD GPU."""
    line = _LINE.match(records[-1].text)
    if line is None:
        return ()
    for rule in RULES:
        match = rule.pattern.match(line["body"])
        if match is not None:
            judgement = rule.judge(match)
            return () if judgement is None else (_finding(rule.code, line, judgement),)
    return ()


def released(finding: Finding, recovery: Recovery) -> str:
    """Return why the fault is over: rebooted since, or quiet where nothing has to be repaired."""
    return repaired(finding, recovery) or silent(finding, recovery)


def _finding(code: str, line: re.Match[str], judgement: Judgement) -> Finding:
    said, pci = excerpt(line["body"]), normalise_pci(line["pci"])
    return Finding(
        check=ID,
        device=pci,
        code=code,
        verdict=judgement.verdict,
        action=judgement.action,
        because=f"{judgement.reason}; the driver says: {said}; {ADVICE[judgement.action]}",
        pci=pci,
        evidence={"message": said},
    )


CHECK = LatchedCheck(
    id=ID,
    summary="What the amdgpu driver says of its GPUs: resets, errors, bad pages, hangs.",
    judge=judge,
    released=released,
    outcomes=tuple(Outcome(rule.code, *said) for rule in RULES for said in rule.says),
    thresholds={
        "quiet": f"{QUIET_S:.0f} s without the line end what needs no reboot (our choice)",
        "asleep": f"a count that is a multiple of {ASLEEP} is not believed (captured)",
    },
)
