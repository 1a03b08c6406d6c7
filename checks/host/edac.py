"""`host.edac`: memory modules with errors, as the kernel's memory-error drivers count them since the boot.

One uncorrected error is enough: whatever was in that place is lost, and it comes again. Corrected ones are normal in
small numbers; a module that fails shows thousands an hour under one label.
"""

from __future__ import annotations

from collections.abc import Sequence

from checks.check import LevelCheck, Outcome
from checks.counters import growth
from checks.finding import Action, Finding, Verdict
from checks.policy import Policy
from checks.readings import PlatformReading
from checks.readings.platform import MemoryModule

ID = "host.edac"
WINDOW_S = 600.0
CORRECTED = 200
"""In the window: 1,200 an hour. Source: our choice, where failing modules show thousands an hour; rasdaemon gives up a
single page after 50 in a day."""


def judge(readings: Sequence[PlatformReading]) -> tuple[Finding, ...]:
    """Return every module with an uncorrected error, or with very many corrected ones."""
    return tuple(finding for module in readings[-1].modules for finding in _judge(module, readings))


def _judge(module: MemoryModule, readings: Sequence[PlatformReading]) -> tuple[Finding, ...]:
    if module.corrected is None or module.uncorrected is None:
        because = f"the errors of {_name(module)} cannot be read"
        return (_finding(module, "unreadable", Verdict.UNKNOWN, Action.NONE, because),)
    if module.uncorrected:
        because = f"{module.uncorrected} uncorrected errors of {_name(module)} since the boot: replace the module"
        return (_finding(module, "uncorrected", Verdict.FAILED, Action.CONTACT_SUPPORT, because),)
    grown = growth(each.corrected for reading in readings for each in reading.modules if each.name == module.name)
    if grown < CORRECTED:
        return ()
    minutes = WINDOW_S / 60
    because = f"{grown} corrected errors of {_name(module)} within {minutes:.0f} minutes: replace it when you can"
    return (_finding(module, "corrected", Verdict.DEGRADED, Action.CONTACT_SUPPORT, because),)


def _name(module: MemoryModule) -> str:
    return f"the module {module.label} ({module.name})" if module.label else module.name


def _finding(module: MemoryModule, code: str, verdict: Verdict, action: Action, because: str) -> Finding:
    """The label names the slot and is the same on every host of a model, so it is no serial number."""
    evidence = {"corrected": str(module.corrected), "uncorrected": str(module.uncorrected)}
    if module.label:
        evidence["slot"] = module.label
    return Finding(ID, module.name, code, verdict, action, because, evidence=evidence)


CHECK = LevelCheck(
    id=ID,
    summary="Memory modules with uncorrected errors, or with very many corrected ones.",
    reading=PlatformReading,
    judge=judge,
    outcomes=(
        Outcome("unreadable", Verdict.UNKNOWN),
        Outcome("uncorrected", Verdict.FAILED, Action.CONTACT_SUPPORT),
        Outcome("corrected", Verdict.DEGRADED, Action.CONTACT_SUPPORT),
    ),
    window_s=WINDOW_S,
    policy=Policy(clear_after=10, because="errors come in bursts, with the work that touches the bad place"),
    thresholds={
        "uncorrected": "any since the boot (our choice)",
        "corrected": f"{CORRECTED} of one module within {WINDOW_S:.0f} s (our choice)",
    },
)
