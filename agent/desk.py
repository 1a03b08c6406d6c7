"""Where readings and kernel records are judged, and the book of what is raised is kept.

It has no timing of its own (agent/runner.py has): every call judges what it is given at once. Checks are pure, so what
can go wrong around them is dealt with here: a check that crashes is itself `unknown`, and counted. Every edge is in the
outbox before the call returns, and the book beside it, so that a restart forgets nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final, Protocol

import structlog

from agent import book as books
from agent.book import Book, Edge, Moment, Raised
from agent.clock import Clock
from agent.names import learn, load_names
from agent.plain_text import plain_finding
from agent.recorder import NOBODY, Observer
from agent.status import build_levels
from checks import evaluator
from checks.check import Check, LatchedCheck, LevelCheck, Recovery
from checks.errors import CannotJudge
from checks.finding import Action, Finding, FindingKey, Verdict
from checks.judge import LatchedJudge
from checks.policy import AT_ONCE
from checks.readings import GpuReading, KernelLogState, KernelRecord, NvmlReading, Reading
from checks.recording import Reset, Unobserved
from wire.messages import CheckLevel, EventBody, FindingRaised

log = structlog.get_logger()

BOOK: Final = "book"
"""Key under which the outbox keeps what is raised and how far the kernel log was read."""

SMOULDER_S: Final = 300.0
"""For so long after a fault came or went its source is read faster. Source: our choice; a flapping link or a GPU that
is about to be lost shows again within minutes, and a fault that stands for weeks must not cost readings for weeks."""


class Journal(Protocol):
    """What the desk needs of the outbox."""

    def put(self, body: EventBody, observed_at: float) -> int:
        """Keep an event until the controller has stored it; return its number."""
        ...

    def load(self, key: str) -> dict[str, Any]:
        """Return what was saved under the key, empty when nothing was."""
        ...

    def save(self, key: str, value: dict[str, Any]) -> None:
        """Keep the value under the key, durably."""
        ...


def load_book(journal: Journal) -> Book:
    """Return what was raised when the agent last ran.

    What of it cannot be read is logged and left behind: the readings to come raise again what still holds.
    """
    book, problems = books.load(journal.load(BOOK))
    for problem in problems:
        log.error("book.lost", because=problem)
    return book


def last_sequence(journal: Journal, boot_id: str) -> int:
    """Return the number of the last kernel record that was judged in this boot, -1 when none was."""
    if _boot_of(journal) != boot_id:
        return -1
    sequence = journal.load(BOOK)["kernel_log"].get("sequence", -1)
    return sequence if isinstance(sequence, int) else -1


def _boot_of(journal: Journal) -> object:
    """Return the boot in which the book was saved last."""
    kept = journal.load(BOOK).get("kernel_log", {})
    return kept.get("boot_id") if isinstance(kept, dict) else None


class Desk:
    """The checks and the book of one node.

    Attributes:
        book: what is raised.
        checks: every check, level and latched.
        crashes: check or source → how often it crashed.
        last_event_seq: number of the newest event that went into the outbox.
    """

    def __init__(
        self,
        checks: Sequence[Check],
        *,
        journal: Journal,
        boot_id: str,
        notify: Callable[[], None],
        clock: Clock,
        observer: Observer = NOBODY,
    ) -> None:
        """Take up the book where the last run left it.

        Args:
            notify: is called when the outbox holds something new.
            observer: is told everything that is judged.
        """
        self.checks = tuple(checks)
        self.level_checks = tuple(check for check in self.checks if isinstance(check, LevelCheck))
        self.latched_checks = tuple(check for check in checks if isinstance(check, LatchedCheck))
        self.crashes: Counter[str] = Counter()
        self.last_event_seq = 0
        self._journal, self._notify, self._clock, self._boot_id = journal, notify, clock, boot_id
        self._observer = observer
        self._windows: dict[str, evaluator.Window] = {}
        self._judges = {check.id: LatchedJudge((check,)) for check in self.latched_checks}
        self._healing = frozenset(check.id for check in self.latched_checks if check.heals)
        self._judged_at: dict[str, float] = {}
        self._crashed: dict[str, Finding] = {}
        self._moved_at: dict[str, float] = {}
        self._seen_at: dict[FindingKey, float] = {}
        self._gpus: NvmlReading | None = None
        self._gpus_began = -math.inf
        self._driver_gone = False
        self._names = load_names(journal.load(BOOK), same_boot=_boot_of(journal) == boot_id)
        self._sequence = self._saved_sequence = last_sequence(journal, boot_id)
        self.book = load_book(journal)
        self._turn(books.retire(self.book, {check.id for check in checks}, moment=self._moment()))

    @property
    def check_ids(self) -> tuple[str, ...]:
        """Every check of this node."""
        return tuple(check.id for check in self.checks)

    def add_check(self, check: LevelCheck) -> None:
        """Judge also this one, whose source has not been read yet."""
        self.checks = (*self.checks, check)
        self.level_checks = (*self.level_checks, check)

    def fed_by(self, source: str) -> tuple[LevelCheck, ...]:
        """Return the level checks that judge the readings of a source."""
        return self._window(source).checks

    def newest(self) -> dict[str, Any]:
        """Return the newest reading of each source that has one."""
        return {source: window.newest for source, window in self._windows.items() if window.newest is not None}

    def newest_first(self, source: str) -> Iterator[Any]:
        """Yield the readings of a source that are remembered."""
        return self._window(source).newest_first()

    def levels(self, checks: Iterable[str]) -> dict[str, CheckLevel]:
        """Return how these checks stand."""
        return build_levels(self.book, checks, self._judged_at)

    def is_unsettled(self, checks: Iterable[LevelCheck]) -> bool:
        """Return whether hysteresis still keeps the level of one of these checks from what was last read."""
        return any(books.is_unsettled(self.book, check.id) for check in checks)

    def smoulders(self, checks: Container[str]) -> bool:
        """Return whether a fault of these checks is about to count, or has just come, gone or changed its verdict."""
        since = self._clock.monotonic() - SMOULDER_S
        pending = any(key.check in checks for key in self.book.seen)
        return pending or any(at >= since for check, at in self._moved_at.items() if check in checks)

    def take(self, reading: Reading, *, began: float, began_at: float) -> None:
        """Judge one reading by its checks, each over its window, and clear what it shows to be over.

        Args:
            began, began_at: when the reading began, monotonic and Unix time.
        """
        self._observer(reading, source=type(reading).SOURCE, at=began_at)
        self._learn_names(reading)
        if isinstance(reading, NvmlReading):
            self._learn_gpus(reading, began=began)
        window = self._window(type(reading).SOURCE)
        window.add(reading)
        self._level((check, self._judged(check, seen, began_at)) for check, seen in window.views())
        if isinstance(reading, KernelLogState):
            self._judge_stream(reading, began_at=began_at)
        self._release()

    def take_failure(self, source: str, *, code: str, because: str) -> None:
        """Make the checks that a source feeds `unknown`, as it could not be read; what they have raised stays."""
        self._observer(Unobserved(because, code), source=source, at=self._clock.wall())
        self.blind(self.fed_by(source), code=code, because=because)

    def blind(self, checks: Iterable[LevelCheck], *, code: str, because: str) -> None:
        """Make the checks `unknown`; what they have raised stays."""
        self._level((check, (_unknown(check.id, code, because),)) for check in checks)

    def take_record(self, record: KernelRecord, *, is_believed: bool) -> bool:
        """Judge a kernel record by every latched check, and note that it was read; return whether it means anything."""
        found = False
        self._observer(record, source=KernelLogState.SOURCE, at=self._clock.wall())
        self._sequence = max(self._sequence, -1 if record.sequence is None else record.sequence)
        for check, judge in self._judges.items() if is_believed else ():
            try:
                findings = tuple(plain_finding(self._identified(finding)) for finding in judge.feed(record))
            except Exception as error:
                self._crash(check, error)
                continue
            if findings:
                now = self._clock.monotonic()
                self._seen_at |= {finding.key: now for finding in findings}
                heals = check in self._healing
                self._turn(books.latch(self.book, findings, moment=self._moment(), heals=heals))
                found = True
        return found

    def device_was_reset(self, device: str) -> None:
        """Let latched findings about the device (UUID or PCI address) be released by readings that begin from here."""
        self._observer(Reset(device), source="", at=self._clock.wall())
        gpus = self._gpus.gpus if self._gpus else ()
        names = {name for gpu in gpus if device in (gpu.uuid, gpu.pci) for name in (gpu.uuid, gpu.pci)}
        self.book = books.mark_reset(self.book, {device, *names})
        now = self._clock.monotonic()
        self._seen_at |= {key: now for key, entry in self.book.raised.items() if entry.device_reset}
        self._save()

    def note_event(self, seq: int) -> None:
        """Note an event that others put into the outbox: the level to come includes it."""
        self.last_event_seq = max(self.last_event_seq, seq)

    def note_crash(self, name: str, error: Exception) -> None:
        """Count a crash of a check or source and log where it happened."""
        self.crashes[name] += 1
        log.error("check.crashed", check=name, crashes=self.crashes[name], exc_info=error)

    def _judge_stream(self, state: KernelLogState, *, began_at: float) -> None:
        """Let latched checks stand as the kernel log is read: over a log that cannot be read they are `unknown`."""
        crashed, self._crashed = self._crashed, {}
        for check in self.latched_checks:
            blind = [crashed[check.id]] if check.id in crashed else []
            if not state.readable:
                blind.append(_unknown(check.id, "unobserved", f"the kernel log cannot be read: {state.because}"))
            self._turn(books.judge_level(self.book, check.id, blind, policy=AT_ONCE, moment=self._moment()))
            if not blind:
                self._judged_at[check.id] = began_at
        if self._sequence != self._saved_sequence:
            self._save()

    def _learn_gpus(self, reading: NvmlReading, *, began: float) -> None:
        """Keep the GPUs as a reading that began at `began` (monotonic) shows them, for names and for releases."""
        if reading.failure:
            self._driver_gone |= reading.failure == "driver_not_loaded"
            return
        self._gpus, self._gpus_began = reading, began
        for gpu in reading.gpus if self._driver_gone else ():
            self.book = books.mark_reset(self.book, {gpu.uuid, gpu.pci})
        self._driver_gone = False

    def _release(self) -> None:
        """Clear what latched checks say is over."""
        for check in self.latched_checks:
            for entry in books.latched(self.book, check.id):
                because = self._why_released(check, entry)
                if because:
                    self._seen_at.pop(entry.finding.key, None)
                    self._turn(books.clear(self.book, entry.finding, because, moment=self._moment()))

    def _window(self, source: str) -> evaluator.Window:
        if source not in self._windows:
            fed = tuple(check for check in self.level_checks if check.source == source)
            self._windows[source] = evaluator.Window(fed)
        return self._windows[source]

    def _level(self, judgements: Iterable[tuple[LevelCheck, tuple[Finding, ...]]]) -> None:
        book, edges, moment = self.book, list[Edge](), self._moment()
        for check, findings in judgements:
            said = map(plain_finding, findings)
            turned = books.judge_level(book, check.id, said, policy=check.policy, moment=moment)
            book, edges = turned.book, [*edges, *turned.edges]
        self._turn(books.Turned(book, tuple(edges)))

    def _judged(self, check: LevelCheck, window: Sequence[Any], began_at: float) -> tuple[Finding, ...]:
        try:
            findings = tuple(self._identified(finding) for finding in evaluator.judge(check, window))
        except CannotJudge as error:
            return (_unknown(check.id, "unjudged", str(error)),)
        except Exception as error:
            self.note_crash(check.id, error)
            return (_unknown(check.id, "crashed", f"the check crashed: {error!r}"),)
        self._judged_at[check.id] = began_at
        return findings

    def _crash(self, check: str, error: Exception) -> None:
        """Note the crash of a latched check; it is `unknown` when the stream is judged next, for one interval."""
        self.note_crash(check, error)
        self._crashed[check] = _unknown(check, "crashed", f"the check crashed: {error!r}")

    def _why_released(self, check: LatchedCheck, entry: Raised) -> str:
        recovery = Recovery(
            rebooted=entry.boot_id != self._boot_id,
            device_reset=entry.device_reset,
            quiet_s=max(0.0, self._clock.wall() - entry.last_seen),
            gpu=self._fresh_gpu(entry.finding),
        )
        try:
            return check.released(books.as_judged(entry.finding), recovery)
        except Exception as error:
            self._crash(check.id, error)
            return ""

    def _fresh_gpu(self, finding: Finding) -> GpuReading | None:
        """Return the finding's GPU as read after the finding was last seen."""
        if self._gpus is None or self._gpus_began < self._seen_at.get(finding.key, -math.inf):
            return None
        for gpu in self._gpus.gpus:
            if gpu.uuid == finding.device or gpu.pci in (finding.pci, finding.device):
                return gpu
        return None

    def _learn_names(self, reading: Reading) -> None:
        names = learn(self._names, reading)
        if names != self._names:
            self._names = names
            self._turn(books.complete(self.book, self._identified, moment=self._moment()))
            self._save()

    def _identified(self, finding: Finding) -> Finding:
        return self._names.identified(finding, keeps_name=finding.key in self.book.raised)

    def _moment(self) -> Moment:
        return Moment(self._clock.wall(), self._boot_id)

    def _turn(self, turned: books.Turned) -> None:
        """Make the book the new one: edges into the outbox first, then the state, so that a crash between them tells
        an edge twice rather than never."""
        before, self.book = self.book.raised, turned.book
        if not turned.edges:
            return
        self._note_moves(before, turned.edges)
        for edge in turned.edges:
            self.note_event(self._journal.put(edge, edge.observed_at))
        self._save()
        self._notify()
        for edge in turned.edges:
            _log_edge(edge)

    def _note_moves(self, before: Mapping[FindingKey, Raised], edges: Iterable[Edge]) -> None:
        """Note which checks have news of a fault; a reason alone that is told again is none, nor is an unknown."""
        for edge in edges:
            entry = before.get(edge.finding.key if isinstance(edge, FindingRaised) else edge.key)
            was = entry.finding.verdict if entry else Verdict.OK
            now = edge.finding.verdict if isinstance(edge, FindingRaised) else Verdict.OK
            if was is not now and {was, now} & {*evaluator.FAULTS}:
                check = edge.finding.check if isinstance(edge, FindingRaised) else edge.key.check
                self._moved_at[check] = self._clock.monotonic()

    def _save(self) -> None:
        self._saved_sequence = self._sequence
        kernel_log = {"boot_id": self._boot_id, "sequence": self._sequence}
        names = asdict(self._names)
        self._journal.save(BOOK, {**books.dump(self.book), "kernel_log": kernel_log, "names": names})


def _unknown(check: str, code: str, because: str) -> Finding:
    return Finding(check, books.WHOLE_CHECK, code, Verdict.UNKNOWN, Action.NONE, because)


def _log_edge(edge: Edge) -> None:
    if isinstance(edge, FindingRaised):
        key, finding = edge.finding.key, edge.finding
        levels = {"verdict": finding.verdict, "action": finding.action, "because": finding.because}
        log.warning("finding.raised", check=key.check, device=key.device, code=key.code, **levels)
    else:
        key = edge.key
        log.info("finding.cleared", check=key.check, device=key.device, code=key.code, because=edge.because)
