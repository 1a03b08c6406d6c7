"""`amd.bad_pages`: bad pages of an AMD GPU's memory: too many, not retired yet, or not to be retired at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from checks.accelerator import UNREADABLE, about, judgeable, unreadable
from checks.check import LevelCheck, Outcome
from checks.finding import Action, Finding, Verdict
from checks.readings import AcceleratorDevice, AmdReading

ID = "amd.bad_pages"
NEAR_SHARE = 0.9
"""Source: kernel, amdgpu_ras_eeprom.c, which warns at 90 % of the threshold."""


def judge(readings: Sequence[AmdReading]) -> tuple[Finding, ...]:
    """Return every GPU whose bad pages ask for something."""
    return tuple(finding for device in judgeable(readings[-1]) for finding in _judge_device(device))


def _judge_device(device: AcceleratorDevice) -> Iterator[Finding]:
    yield from unreadable(ID, device, "bad_pages")
    pages = device.bad_pages
    if pages is None:
        return
    if pages.pending:
        because = f"{pages.pending} bad pages will be retired at the next restart: reboot when the host is empty"
        yield about(ID, device, "pending", (Verdict.DEGRADED, Action.REBOOT), because, pending=pages.pending)
    if pages.unreservable:
        because = f"{pages.unreservable} bad pages could not be retired: ask the vendor"
        judgement = (Verdict.DEGRADED, Action.CONTACT_SUPPORT)
        yield about(ID, device, "unreservable", judgement, because, unreservable=pages.unreservable)
    if pages.retired is not None and pages.threshold:
        yield from _judge_retired(device, pages.retired, pages.threshold)


def _judge_retired(device: AcceleratorDevice, retired: int, threshold: int) -> Iterator[Finding]:
    because = f"{retired} pages are retired, the driver's threshold is {threshold}"
    if retired >= threshold:
        judgement = (Verdict.FAILED, Action.CONTACT_SUPPORT)
        yield about(ID, device, "threshold", judgement, f"{because}: have the GPU replaced", retired=retired)
    elif retired >= NEAR_SHARE * threshold:
        judgement = (Verdict.DEGRADED, Action.CONTACT_SUPPORT)
        yield about(ID, device, "near_threshold", judgement, f"{because}: plan its replacement", retired=retired)


CHECK = LevelCheck(
    id=ID,
    summary="Bad pages of the memory of AMD GPUs.",
    reading=AmdReading,
    judge=judge,
    outcomes=(
        Outcome("threshold", Verdict.FAILED, Action.CONTACT_SUPPORT),
        Outcome("near_threshold", Verdict.DEGRADED, Action.CONTACT_SUPPORT),
        Outcome("unreservable", Verdict.DEGRADED, Action.CONTACT_SUPPORT),
        Outcome("pending", Verdict.DEGRADED, Action.REBOOT),
        Outcome(UNREADABLE, Verdict.UNKNOWN),
    ),
    thresholds={
        "failed": "the driver's own threshold, which `amd-smi static` tells (AMD: replace the GPU)",
        "degraded": f"{NEAR_SHARE:.0%} of it, where the driver warns",
    },
)
