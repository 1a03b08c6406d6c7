"""`npu.link`: HCCS, the links between the NPUs of one host."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from checks.accelerator import UNREADABLE, about, history, judgeable, unreadable
from checks.check import LevelCheck, Outcome
from checks.counters import growth, since_reset
from checks.finding import Action, Finding, Verdict
from checks.policy import Policy
from checks.readings import AcceleratorDevice, AscendReading
from checks.readings.accelerator import Link

ID = "npu.link"
KIND = "HCCS"
WELL = "OK"
WINDOW_S = 3600.0
ERRORS = 100
"""Source: our choice; links of a healthy host show none for weeks, and a few are corrected by sending again."""


def judge(readings: Sequence[AscendReading]) -> tuple[Finding, ...]:
    """Return every NPU whose HCCS links are down, narrow, or full of errors."""
    return tuple(finding for device in judgeable(readings[-1]) for finding in _judge_device(device, readings))


def _judge_device(device: AcceleratorDevice, readings: Sequence[AscendReading]) -> Iterator[Finding]:
    yield from unreadable(ID, device, "links")
    links = [link for link in device.links if link.kind == KIND]
    unwell = [link for link in links if link.state and link.state != WELL]
    if unwell:
        because = f"HCCS is {unwell[0].state} where it should be {WELL}: drain and reboot the host"
        yield about(ID, device, "down", (Verdict.FAILED, Action.REBOOT), because, state=unwell[0].state)
    yield from _judge_lanes(device, links)
    for link in links:
        yield from _judge_errors(device, link, readings)


def _judge_lanes(device: AcceleratorDevice, links: Sequence[Link]) -> Iterator[Finding]:
    """A link without lanes is one that this board does not have; one with some lanes has lost the others."""
    widest = max((link.lanes or 0 for link in links), default=0)
    narrow = [f"{link.peer}: {link.lanes}" for link in links if link.lanes and link.lanes < widest]
    if narrow:
        because = f"HCCS links use fewer than {widest} lanes ({', '.join(narrow)}): reboot when the host is empty"
        yield about(ID, device, "narrow", (Verdict.DEGRADED, Action.REBOOT), because, lanes=", ".join(narrow))


def _judge_errors(device: AcceleratorDevice, link: Link, readings: Sequence[AscendReading]) -> Iterator[Finding]:
    totals = [
        each.errors
        for _, seen in history(readings, device)
        for each in seen.links
        if (each.kind, each.peer) == (link.kind, link.peer)
    ]
    new = growth(since_reset(totals))
    if new >= ERRORS:
        because = f"HCCS link {link.peer} had {new} errors within {WINDOW_S / 60:.0f} min, the limit is {ERRORS}"
        yield about(ID, device, f"errors_{link.peer}", (Verdict.DEGRADED, Action.NONE), because, errors=link.errors)


CHECK = LevelCheck(
    id=ID,
    summary="HCCS, the links between the NPUs of a host.",
    reading=AscendReading,
    judge=judge,
    outcomes=(
        Outcome("down", Verdict.FAILED, Action.REBOOT),
        Outcome("narrow", Verdict.DEGRADED, Action.REBOOT),
        Outcome("errors_*", Verdict.DEGRADED),
        Outcome(UNREADABLE, Verdict.UNKNOWN),
    ),
    window_s=WINDOW_S,
    policy=Policy(raise_after=2, because="links train for some seconds after a restart of a device"),
    thresholds={
        "state": "OK by `npu-smi info -t hccs`",
        "lanes": "as many as the widest link of the NPU",
        "errors": f"{ERRORS} within {WINDOW_S / 60:.0f} min (our choice)",
    },
)
