"""`storage.smart`: disks that say of themselves that they fail, wear out, lose data or are too hot.

What the vendor itself calls a failure counts as one: its flags, its limit for spare blocks, its overall verdict. What
grows (unread data, replaced places) announces one: the disk is watched and its replacement planned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from checks.check import LevelCheck, Outcome
from checks.counters import growth, since_reset
from checks.finding import Action, Finding, Verdict
from checks.readings import DiskSmart, SmartReading

ID = "storage.smart"
WINDOW_S = 86_400.0
"""Source: our choice: whoever has to plan the replacement works within a day."""

SPARE, TEMPERATURE, RELIABILITY, READ_ONLY, BACKUP, MEMORY_REGION = (1 << place for place in range(6))
"""Flags of the critical warning. Source: NVM Express Base Specification 2.0, SMART / Health Information log."""

KNOWN_FLAGS = SPARE | TEMPERATURE | RELIABILITY | READ_ONLY | BACKUP | MEMORY_REGION

WEARING_PERCENT = 90
WORN_OUT_PERCENT = 100
"""Source: our choice; Meta gcm warns above 80 % and is critical above 100 %. At 100 % the vendor's estimate of the
disk's life, and mostly its warranty, are used up."""

FAILED = (Verdict.FAILED, Action.CONTACT_SUPPORT)
TICKET = (Verdict.DEGRADED, Action.CONTACT_SUPPORT)
WATCH = (Verdict.DEGRADED, Action.NONE)
UNKNOWN = (Verdict.UNKNOWN, Action.NONE)

Judged = tuple[str, tuple[Verdict, Action], str]
"""Code, judgement, and the sentence after the disk's name."""


def judge(readings: Sequence[SmartReading]) -> tuple[Finding, ...]:
    """Return everything that the disks of the host say against themselves."""
    reading = readings[-1]
    found = [_finding(disk, *judged) for disk in reading.disks for judged in _judge(disk, readings)]
    return (*_judge_rights(reading), *found)


def _judge_rights(reading: SmartReading) -> Iterator[Finding]:
    """Yield one unknown for all disks: that the agent lacks a right is one fault of the host's set-up."""
    if reading.denied:
        named = ", ".join(reading.denied)
        because = f"the agent may not ask {named} of their health: `nvme` and `smartctl` need more rights than it has"
        yield Finding(ID, "host", "denied", *UNKNOWN, because)


def _judge(disk: DiskSmart, readings: Sequence[SmartReading]) -> Iterator[Judged]:
    if disk.unreadable:
        yield "unreadable", UNKNOWN, f"it could not be asked: {disk.unreadable}"
        return
    seen = [each for reading in readings for each in reading.disks if _is_same(each, disk)]
    yield from _judge_flags(disk)
    yield from _judge_wear(disk)
    yield from _judge_errors(disk, seen)
    yield from _judge_heat(disk, seen[-2:])


def _is_same(one: DiskSmart, other: DiskSmart) -> bool:
    return one.serial == other.serial if one.serial and other.serial else one.name == other.name


def _judge_flags(disk: DiskSmart) -> Iterator[Judged]:
    """Judge what the vendor itself calls a fault."""
    flags = disk.critical_warning or 0
    if disk.passed is False:
        yield "failing", FAILED, "its own overall verdict is FAILED: copy what is needed and replace it"
    if flags & READ_ONLY:
        yield "read_only", FAILED, "it has made itself read-only: replace it"
    if flags & RELIABILITY and not _is_merely_worn(disk):
        yield "reliability", FAILED, "it calls itself unreliable: replace it"
    if flags & SPARE or _lacks_spare(disk):
        left = f"{disk.spare_percent} % of its spare blocks are left, its limit is {disk.spare_threshold_percent} %"
        yield "spare", FAILED, f"{left}: replace it"
    if flags & BACKUP:
        because = "its backup power has failed: a power cut loses what it has not yet written; replace it"
        yield "backup", TICKET, because
    if flags & ~KNOWN_FLAGS:
        yield "warning", TICKET, f"it raises a warning that no specification names ({flags:#x})"


def _is_merely_worn(disk: DiskSmart) -> bool:
    """Return whether the flag says no more than that the disk's life by the vendor's estimate is over.

    Source: Samsung's word about its disks in smartmontools issue 537; operators report 0 media errors on all of them.
    """
    return (disk.used_percent or 0) >= WORN_OUT_PERCENT and disk.media_errors == 0 and not _lacks_spare(disk)


def _lacks_spare(disk: DiskSmart) -> bool:
    spare, threshold = disk.spare_percent, disk.spare_threshold_percent
    return spare is not None and threshold is not None and spare < threshold


def _judge_wear(disk: DiskSmart) -> Iterator[Judged]:
    used = disk.used_percent or 0
    is_flagged = bool((disk.critical_warning or 0) & RELIABILITY) and _is_merely_worn(disk)
    if used > WORN_OUT_PERCENT or is_flagged:
        yield "worn_out", TICKET, f"{used} % of its estimated life are used: plan its replacement"
    elif used > WEARING_PERCENT:
        yield "wearing", WATCH, f"{used} % of its estimated life are used"


def _judge_errors(disk: DiskSmart, seen: Sequence[DiskSmart]) -> Iterator[Judged]:
    counters: tuple[tuple[str, str, Callable[[DiskSmart], int | None]], ...] = (
        ("media_errors", "times it could not read or write data", lambda each: each.media_errors),
        ("uncorrectable", "places could not be read back", lambda each: each.uncorrectable),
        ("reallocated", "bad places were replaced by spare ones", lambda each: each.reallocated),
        ("pending", "bad places wait to be replaced", lambda each: each.pending),
    )
    for code, what, counter in counters:
        if new := growth(since_reset(map(counter, seen))):
            yield code, TICKET, f"{new} new within {WINDOW_S / 3600:.0f} h ({counter(disk)} in all): {what}"


def _judge_heat(disk: DiskSmart, last_two: Sequence[DiskSmart]) -> Iterator[Judged]:
    minutes = [growth(_minutes(each) for each in last_two)]
    celsius, limit = disk.temperature_celsius, disk.limit_celsius
    is_hot = celsius is not None and limit is not None and celsius >= limit
    if (disk.critical_warning or 0) & TEMPERATURE or is_hot or any(minutes):
        at = "" if celsius is None else f" ({celsius} °C)"
        yield "hot", TICKET, f"it is or was just now beyond its own limit for heat{at}: look at its cooling"


def _minutes(disk: DiskSmart) -> int | None:
    known = [minutes for minutes in (disk.warning_minutes, disk.critical_minutes) if minutes is not None]
    return sum(known) if known else None


def _finding(disk: DiskSmart, code: str, judgement: tuple[Verdict, Action], because: str) -> Finding:
    named = " ".join(word for word in (disk.name, disk.model and f"({disk.model})") if word)
    values = {
        "model": disk.model or None,
        "critical_warning": None if disk.critical_warning is None else f"{disk.critical_warning:#04x}",
        "used_percent": disk.used_percent,
        "spare_percent": disk.spare_percent,
        "media_errors": disk.media_errors,
        "reallocated": disk.reallocated,
        "pending": disk.pending,
        "uncorrectable": disk.uncorrectable,
    }
    evidence = {name: str(value) for name, value in values.items() if value is not None}
    return Finding(ID, disk.name, code, *judgement, f"{named}: {because}", disk.pci, disk.serial, evidence)


CHECK = LevelCheck(
    id=ID,
    summary="Disks that say of themselves that they fail, wear out, lose data or are too hot (SMART).",
    reading=SmartReading,
    judge=judge,
    outcomes=(
        Outcome("failing", *FAILED),
        Outcome("read_only", *FAILED),
        Outcome("reliability", *FAILED),
        Outcome("spare", *FAILED),
        Outcome("backup", *TICKET),
        Outcome("warning", *TICKET),
        Outcome("worn_out", *TICKET),
        Outcome("media_errors", *TICKET),
        Outcome("uncorrectable", *TICKET),
        Outcome("reallocated", *TICKET),
        Outcome("pending", *TICKET),
        Outcome("hot", *TICKET),
        Outcome("wearing", *WATCH),
        Outcome("unreadable", *UNKNOWN),
        Outcome("denied", *UNKNOWN),
    ),
    window_s=WINDOW_S,
    thresholds={
        "failing, read_only, reliability": "the vendor's own flags (NVM Express; ATA and SCSI overall health)",
        "spare": "fewer spare blocks than the vendor's limit",
        "worn_out": f"more than {WORN_OUT_PERCENT} % used (our choice; Meta gcm), or flagged for wear alone (Samsung)",
        "wearing": f"more than {WEARING_PERCENT} % used (our choice; Meta gcm warns above 80 %)",
        "media_errors, uncorrectable, reallocated, pending": f"any new one within {WINDOW_S / 3600:.0f} h (our choice)",
        "hot": "the vendor's flag or limit, or a minute above it since the reading before",
    },
)
