"""What is raised on this node, and which edges a new judgement makes.

Pure: a book and a judgement go in, a new book and the edges (bodies of events) come out. Level findings come and go
with the readings, after the hysteresis of their check's policy; latched findings stay until their check releases them,
over restarts of the agent and reboots of the host. `unknown` never clears and never replaces a fault: it stands beside
it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec

from checks.finding import Finding, FindingKey, Verdict
from checks.policy import Policy
from wire.messages import FindingCleared, FindingRaised

Edge = FindingRaised | FindingCleared

REASON_INTERVAL_S: Final = 60.0
"""A raised finding whose reason alone changes (a number in it moved) is told again at most this often."""

WHOLE_CHECK: Final = "host"
"""An unknown about this device says that the check saw nothing at all: every fault of the check is kept."""

BESIDE: Final = "?"
"""Ends the code of an unknown that stands beside a raised fault of the same key."""


@dataclass(frozen=True, slots=True)
class Moment:
    """When and in which boot a judgement was made; `at` is Unix time."""

    at: float
    boot_id: str


@dataclass(frozen=True, slots=True)
class Raised:
    """One raised finding.

    Attributes:
        finding: as last judged.
        latched: stays until its check releases it; else the next readings decide.
        boot_id: the boot in which it was last seen.
        raised_at, last_seen, told_at: Unix time; `told_at` is when its last edge was made.
        told_because: the reason which that edge gave.
        absent: consecutive readings that did not show it.
        device_reset: its device was reset since it was last seen.
    """

    finding: Finding
    latched: bool
    boot_id: str
    raised_at: float
    last_seen: float
    told_at: float
    told_because: str
    absent: int = 0
    device_reset: bool = False


@dataclass(frozen=True, slots=True)
class Book:
    """Everything raised, and in which of the last readings a fault not raised yet was seen.

    Attributes:
        seen: a bit a reading, the newest lowest.
    """

    raised: Mapping[FindingKey, Raised] = field(default_factory=dict)
    seen: Mapping[FindingKey, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Turned:
    """The book after a judgement, and what has to be told."""

    book: Book
    edges: tuple[Edge, ...] = ()


def judge_level(book: Book, check: str, findings: Iterable[Finding], *, policy: Policy, moment: Moment) -> Turned:
    """Return the book after one reading, of which `findings` is all that the level check `check` said.

    An unknown is raised at once, whatever the hysteresis, and holds the faults of its device (of the whole check when
    it is about `host`) where they are.
    """
    found = tuple(findings)
    present = _by_key(book, found)
    raised, seen, edges = dict(book.raised), _aged(book.seen, check, present.keys(), policy), list[Edge]()
    for key, finding in present.items():
        history = seen.pop(key, 0) | 1
        if _is_ripe(raised.get(key), finding, policy.is_ripe(history)):
            raised[key], told = _stand(raised.get(key), finding, latched=False, moment=moment)
            edges += told
        else:
            seen[key] = history
    for key, entry in book.raised.items():
        if key.check != check or entry.latched or key in present:
            continue
        absent = 0 if _is_hidden(entry.finding, found) else entry.absent + 1
        raised[key] = replace(entry, absent=absent)
        if absent >= policy.clear_after:
            del raised[key]
            edges.append(FindingCleared(key, _why_cleared(key, found, absent), moment.at))
    return Turned(Book(raised, seen), tuple(edges))


def latch(book: Book, findings: Iterable[Finding], *, moment: Moment, heals: bool = False) -> Turned:
    """Return the book after a kernel-log record, about which a latched check said `findings`.

    Args:
        heals: what is `ok` ends what is raised under the same key.
    """
    raised, edges, found = dict(book.raised), list[Edge](), tuple(findings)
    for finding in found:
        if heals and finding.verdict is Verdict.OK and raised.pop(finding.key, None) is not None:
            edges.append(FindingCleared(finding.key, finding.because, moment.at))
    for key, finding in _by_key(book, found).items():
        raised[key], told = _stand(raised.get(key), finding, latched=True, moment=moment)
        edges += told
    return Turned(replace(book, raised=raised), tuple(edges))


def latched(book: Book, check: str) -> tuple[Raised, ...]:
    """Return what a latched check has raised, for the check to say whether it is over."""
    return tuple(entry for key, entry in book.raised.items() if entry.latched and key.check == check)


def clear(book: Book, finding: Finding, because: str, *, moment: Moment) -> Turned:
    """Return the book without this finding."""
    raised = {key: entry for key, entry in book.raised.items() if key != finding.key}
    return Turned(replace(book, raised=raised), (FindingCleared(finding.key, because, moment.at),))


def as_judged(finding: Finding) -> Finding:
    """Return the finding with the code its check gave it, also when it was put beside a fault."""
    return replace(finding, code=finding.code.removesuffix(BESIDE))


def complete(book: Book, known: Callable[[Finding], Finding], *, moment: Moment) -> Turned:
    """Return the book in which faults bear the serial number that became known only after they were raised.

    Args:
        known: gives the finding with all that is known of its part, under the same key.
    """
    raised, edges = dict(book.raised), list[Edge]()
    for key, entry in book.raised.items():
        finding = entry.finding
        if finding.serial or not _is_fault(finding) or not (serial := known(finding).serial):
            continue
        raised[key] = replace(entry, finding=replace(finding, serial=serial), told_at=moment.at)
        edges.append(FindingRaised(raised[key].finding, moment.at))
    return Turned(replace(book, raised=raised), tuple(edges))


def mark_reset(book: Book, devices: Collection[str]) -> Book:
    """Return the book that knows that these devices (UUIDs or PCI addresses of latched findings) were reset."""
    raised = {
        key: replace(entry, device_reset=True) if entry.latched and _is_about(entry.finding, devices) else entry
        for key, entry in book.raised.items()
    }
    return replace(book, raised=raised)


def retire(book: Book, checks: Collection[str], *, moment: Moment) -> Turned:
    """Return the book with only findings of `checks`: a check that this version no longer has can clear nothing."""
    gone = [entry.finding for key, entry in book.raised.items() if key.check not in checks]
    edges: list[Edge] = []
    for finding in gone:
        turned = clear(book, finding, f"this version of the agent has no check {finding.check}", moment=moment)
        book, edges = turned.book, [*edges, *turned.edges]
    return Turned(book, tuple(edges))


def is_unsettled(book: Book, check: str) -> bool:
    """Return whether another reading is needed before hysteresis lets the check's level follow what it sees."""
    waiting = any(key.check == check for key in book.seen)
    return waiting or any(key.check == check and entry.absent > 0 for key, entry in book.raised.items())


def dump(book: Book) -> dict[str, Any]:
    """Return what must outlive the process, as plain JSON values."""
    return {"raised": [msgspec.to_builtins(book.raised[key]) for key in sorted(book.raised)]}


def load(state: Mapping[str, Any]) -> tuple[Book, tuple[str, ...]]:
    """Return the book that `dump` wrote, empty when nothing was, and what of it this version cannot read.

    One entry that a newer version wrote, or the disk damaged, takes no other with it.
    """
    kept, problems = dict[FindingKey, Raised](), list[str]()
    written = state.get("raised", [])
    for number, each in enumerate(written if isinstance(written, list) else [written]):
        try:
            entry = msgspec.convert(each, type=Raised)
        except msgspec.ValidationError as error:
            problems.append(f"stored finding {number}: {error}")
        else:
            kept[entry.finding.key] = entry
    return Book(kept), tuple(problems)


def _by_key(book: Book, findings: Sequence[Finding]) -> dict[FindingKey, Finding]:
    """Return the newest of each key, faults first, unknowns beside them; `ok` says nothing that is to be raised."""
    present: dict[FindingKey, Finding] = {}
    for finding in findings:
        if finding.verdict not in (Verdict.OK, Verdict.UNKNOWN):
            present[finding.key] = finding
    for finding in findings:
        if finding.verdict is Verdict.UNKNOWN:
            taken = _is_fault(present.get(finding.key)) or _is_fault(_finding_of(book, finding.key))
            aside = replace(finding, code=finding.code + BESIDE) if taken else finding
            present[aside.key] = aside
    return present


def _finding_of(book: Book, key: FindingKey) -> Finding | None:
    entry = book.raised.get(key)
    return entry.finding if entry else None


def _is_fault(finding: Finding | None) -> bool:
    return finding is not None and finding.verdict is not Verdict.UNKNOWN


def _is_ripe(before: Raised | None, finding: Finding, seen_enough: bool) -> bool:
    if finding.verdict is Verdict.UNKNOWN or seen_enough:
        return True
    return before is not None and _is_fault(before.finding)


def _is_hidden(fault: Finding, found: Sequence[Finding]) -> bool:
    """Return whether an unknown of this reading hides the fault, and nothing says that the fault itself is ok."""
    if not _is_fault(fault) or any(other.key == fault.key and other.verdict is Verdict.OK for other in found):
        return False
    return any(
        other.verdict is Verdict.UNKNOWN
        and (other.device in (fault.device, WHOLE_CHECK) or (bool(fault.pci) and other.pci == fault.pci))
        for other in found
    )


def _is_about(finding: Finding, devices: Collection[str]) -> bool:
    return finding.device in devices or (bool(finding.pci) and finding.pci in devices)


def _aged(
    seen: Mapping[FindingKey, int], check: str, present: Collection[FindingKey], policy: Policy
) -> dict[FindingKey, int]:
    """Return the histories with room for the newest reading of this check.

    Where the readings must follow each other, one without the fault ends its history at once.
    """
    reach, has_gaps = (1 << policy.window) - 1, policy.raise_within > policy.raise_after
    aged = {key: history << 1 & reach if key.check == check else history for key, history in seen.items()}
    return {
        key: history
        for key, history in aged.items()
        if key.check != check or (history and (has_gaps or key in present))
    }


def _stand(
    before: Raised | None, finding: Finding, *, latched: bool, moment: Moment
) -> tuple[Raised, tuple[Edge, ...]]:
    """Return the entry as it stands now, and the edge if there is one to tell."""
    told = (FindingRaised(finding, moment.at),)
    if before is None:
        entry = Raised(finding, latched, moment.boot_id, *(moment.at,) * 3, told_because=finding.because)
        return entry, told
    entry = replace(before, finding=finding, boot_id=moment.boot_id, last_seen=moment.at, absent=0, device_reset=False)
    if not _is_news(before, finding, moment.at):
        return entry, ()
    return replace(entry, told_at=moment.at, told_because=finding.because), told


def _is_news(before: Raised, finding: Finding, at: float) -> bool:
    if (finding.verdict, finding.action) != (before.finding.verdict, before.finding.action):
        return True
    if finding.because == before.told_because:
        return False
    return not 0 <= at - before.told_at < REASON_INTERVAL_S


def _why_cleared(key: FindingKey, found: Sequence[Finding], absent: int) -> str:
    for finding in found:
        if finding.key == key:
            return finding.because
    return "no longer found" if absent == 1 else f"no longer found in {absent} consecutive readings"
