"""Carries one letter to one destination: fenced, a few at a time, and with what became of it as an event.

One destination that hangs keeps nobody else's letters: each has a gate of its own. What is decided about a letter (a
notice of its own, or none because another takes it) is decided without a pause between the look and the sending, so
that of five hundred that come at once no two open what is to be one.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace

import structlog

from controller.adapters import Acknowledging, Filed, Following, Notice, Notifier
from controller.cell import Cell
from controller.errors import InDoubt, Permanent, Refused, Retryable
from controller.events import Event, StepIntended
from controller.notice_events import NoticeClosed, NoticeFailed, NoticeFiled, NoticeTold
from controller.notices.choosing import Destinations
from controller.notices.letters import first_letter, news_letter
from controller.notices.wording import one_line
from controller.policy.incident import Incident
from controller.policy.noticing.book import Thread, about, thread_id
from controller.policy.noticing.due import Act, Due, has_ended
from controller.policy.noticing.filing import Addressed, Filing, filing_of
from controller.policy.verb_effects import MOST_DOUBTS, USUAL_RETRY, delay_s
from controller.tracing.calls import Errand
from controller.tracing.traces import NoTraces, Traces

log = structlog.get_logger()

AT_ONCE = 4
"""So many letters are on their way to one destination. Source: our choice; ticket systems limit their callers."""

TRY_LIMIT_S = 60.0
"""No adapter may take longer for one letter. Source: our choice, above every time-out of theirs."""

MAX_SAID = 1_000
"""Characters of why a destination did not take a letter. Others wrote them: what the log cannot hold would end the
controller with each try. Source: our choice; an address and a sentence fit."""

MAX_REFERENCE = 80
"""Characters of a reference in a sentence. Source: our choice."""

HOURLY_S = 3_600.0
MOST_HOURS = 24
"""What a destination says no to is tried once an hour for a day: a token is renewed, a project is made. Source: our
choice."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A notice that is to be filed.

    Attributes:
        intent: of the step that files it, or one like it.
        again: it may have been sent before.
    """

    intent: StepIntended
    destination: str
    key: str
    escalates: str = ""
    failures: int = 0
    again: bool = False

    @property
    def kind(self) -> str:
        """`ticket` or `page`."""
        return self.intent.verb

    @property
    def incident_id(self) -> str:
        """Whose it is."""
        return self.intent.incident_id

    @property
    def about(self) -> str:
        """What nobody else may send meanwhile."""
        return about(self.kind, self.destination, self.incident_id)


@dataclass(frozen=True, slots=True)
class Tried:
    """How one try ended: `done`, `retry`, `permanent`, `refused`, `in_doubt`, or `withheld` by a lost leadership."""

    destination: str
    outcome: str
    because: str
    retry_at: float = 0.0


@dataclass(slots=True)
class Courier:
    """Sends, tells and closes.

    Attributes:
        term: names this controller's life: a letter that an earlier one may have sent gets another key where the
            destination cannot tell a repeat.
    """

    cell: Cell
    destinations: Destinations
    clock: Callable[[], float]
    page_url: str
    leads: Callable[[], bool] = lambda: True
    term: Callable[[], int] = lambda: 0
    traces: Traces = field(default_factory=NoTraces)
    _gates: dict[str, asyncio.Semaphore] = field(default_factory=dict)
    _slots: dict[str, asyncio.Event] = field(default_factory=dict)
    _noting: dict[str, str] = field(default_factory=dict)
    _closing: dict[str, asyncio.Event] = field(default_factory=dict)
    _joining: Counter[str] = field(default_factory=Counter)
    _sending: dict[str, dict[str, None]] = field(default_factory=dict)

    def adapter(self, kind: str, destination: str) -> Notifier | None:
        """Return a destination's adapter, `None` when the settings have none of that name any more."""
        return self.destinations.adapters(kind).get(destination)

    def key_again(self, due: Due) -> str:
        """Return the key of what may have been sent before: the same one where a repeat is told apart."""
        adapter, stem = self.adapter(due.kind, due.destination), due.key.partition("@")[0]
        if adapter is None or adapter.repeatable:
            return stem
        return f"{stem}@{self.term()}.{due.failures}"

    async def file(self, letter: Letter) -> Tried:
        """Have a destination take a notice, and record what became of it."""
        adapter = self.adapter(letter.kind, letter.destination)
        if adapter is None:
            return Tried(letter.destination, "permanent", f"No destination is called {letter.destination}.")
        async with self._turn(letter) as filing:
            if filing.joins is not None:
                await self._join(letter, filing, filing.joins.id)
                return Tried(letter.destination, "done", f"{filing.joins.reference} in {letter.destination} takes it.")
            return await self._send(adapter, letter, filing)

    async def _join(self, letter: Letter, filing: Filing, thread: str) -> None:
        """Record that an open notice takes an incident; until the log has it, nobody closes that notice."""
        self._joining[thread] += 1
        try:
            await self.note(_joined(self.cell, letter, filing))
        finally:
            self._joining[thread] -= 1
            self._joining += Counter()

    @asynccontextmanager
    async def _turn(self, letter: Letter) -> AsyncIterator[Filing]:
        """Decide what is sent, and keep what would be the same from being sent meanwhile."""
        filing, slot = self._filing(letter)
        while (under_way := self._under_way(filing, slot)) is not None:
            await under_way.wait()
            filing, slot = self._filing(letter)
        if filing.joins is not None:
            yield filing
            return
        here = self._sending.setdefault(f"{letter.kind} {letter.destination}", {})
        self._slots[slot], here[letter.incident_id] = asyncio.Event(), None
        try:
            yield filing
        finally:
            here.pop(letter.incident_id, None)
            self._slots.pop(slot).set()

    def _under_way(self, filing: Filing, slot: str) -> asyncio.Event | None:
        """Return what a letter waits for: one like it, or the closing of the notice that would take its incident."""
        return self._slots.get(slot) if filing.joins is None else self._closing.get(filing.joins.id)

    def _filing(self, letter: Letter) -> tuple[Filing, str]:
        belief, place = self.cell.belief, f"{letter.kind} {letter.destination}"
        incident, team = belief.incidents[letter.incident_id], letter.intent.parameters.get("team", "")
        addressed = Addressed(incident, letter.kind, letter.destination, team)
        others = [each for each in self._sending.get(place, {}) if each != letter.incident_id]
        storm = self.destinations.rules.storm
        filing = filing_of(belief, storm, addressed, under_way=others, now=self.clock())
        return filing, f"{place} {filing.group or filing.subject}"

    async def _send(self, adapter: Notifier, letter: Letter, filing: Filing) -> Tried:
        belief = self.cell.belief
        notice = first_letter(belief, filing, letter.intent, key=letter.key, at=self.clock(), page_url=self.page_url)
        tried, filed = await self._try(adapter, letter, lambda: adapter.send(notice))
        if filed is None:
            if tried.outcome != "withheld":
                await self.note(not_filed(letter, tried))
            return tried
        other = self._subject_behind(letter, filed.reference, filing.subject)
        if other:
            tried = _mistaken(letter, filed.reference, other)
            await self.note(not_filed(letter, tried))
            return tried
        with self._notes(letter, filed.reference, filing.subject):
            await self._note_filed(letter, filing, notice, filed)
        return Tried(letter.destination, "done", f"Sent by {adapter.name}: {filed.reference}.")

    def _subject_behind(self, letter: Letter, reference: str, subject: str) -> str:
        """Return what else a reference stands for at its destination, empty for a reference that is free or ours."""
        name = thread_id(letter.kind, letter.destination, reference)
        thread = self.cell.belief.notices.threads.get(name)
        known = thread.subject if thread is not None else self._noting.get(name, subject)
        return known if known != subject else ""

    @contextmanager
    def _notes(self, letter: Letter, reference: str, subject: str) -> Iterator[None]:
        """Keep a reference for a subject until the log has it: two answers may come before either is believed."""
        name = thread_id(letter.kind, letter.destination, reference)
        self._noting[name] = subject
        try:
            yield
        finally:
            self._noting.pop(name, None)

    async def _note_filed(self, letter: Letter, filing: Filing, notice: Notice, filed: Filed) -> None:
        belief = self.cell.belief
        is_first = not letter.again and not letter.failures
        await self.note(
            NoticeFiled(
                letter.incident_id,
                letter.kind,
                letter.destination,
                filed.reference,
                filed.url,
                filing.subject,
                letter.key,
                _why_filed(belief.incidents[letter.incident_id], is_another=filed.found and is_first),
                notice.title,
                notice.team,
                notice.severity,
                found=filed.found,
                joined=filed.found and is_first,
                group=filing.group,
                follows=filing.follows,
                escalates=letter.escalates,
            )
        )

    async def bring(self, due: Due) -> Tried | None:
        """Tell a destination what is new, or close its notice, and record what became of it.

        Returns:
            How it ended, `None` where nothing can be told.
        """
        adapter = self.adapter(due.kind, due.destination)
        thread = self.cell.belief.notices.threads[thread_id(due.kind, due.destination, due.reference)]
        if adapter is None or not isinstance(adapter, Following):
            why = "is among the settings no more" if adapter is None else "cannot change what it was sent"
            await self.note(_brought(due, f"{due.destination} {why}."))
            return None
        if due.act is Act.CLOSE and not self._may_close(thread):
            return None
        key = self.key_again(due)
        notice = news_letter(self.cell.belief, thread, due, at=self.clock(), page_url=self.page_url)
        change = _change(adapter, due)
        letter = replace(notice, key=key)
        with self._closes(due):
            tried, done = await self._try(adapter, due, lambda: _done(change(due.reference, letter)))
            if tried.outcome != "withheld":
                await self.note(_brought(due) if done is not None else _not_brought(due, tried))
        return tried

    def _may_close(self, thread: Thread) -> bool:
        """Whether a notice is over still: an incident may have joined it since its closing was due."""
        is_over = has_ended(self.cell.belief, self.destinations.rules, thread, self.clock())
        return is_over and thread.id not in self._joining

    @contextmanager
    def _closes(self, due: Due) -> Iterator[None]:
        """Keep further incidents off a notice while it is closed: they would be closed with it, and heard of by
        nobody."""
        if due.act is not Act.CLOSE:
            yield
            return
        self._closing[due.about] = asyncio.Event()
        try:
            yield
        finally:
            self._closing.pop(due.about).set()

    async def _try(
        self, adapter: Notifier, which: Letter | Due, send: Callable[[], Awaitable[Filed]]
    ) -> tuple[Tried, Filed | None]:
        name = which.destination
        gate = self._gates.setdefault(f"{which.kind} {name}", asyncio.Semaphore(AT_ONCE))
        async with gate:
            if not self.leads():
                log.error("notice.withheld", destination=name, because="This controller leads no more.")
                return Tried(name, "withheld", "This controller leads no more."), None
            try:
                async with asyncio.timeout(TRY_LIMIT_S):
                    return Tried(name, "done", ""), await self.traces.errand(_errand(which), send)()
            except TimeoutError:
                return self._late(adapter, which), None
            except Exception as error:
                return self._not_taken(which, error), None

    def _late(self, adapter: Notifier, which: Letter | Due) -> Tried:
        because = f"{which.destination} has not answered within {TRY_LIMIT_S:g} s."
        error = Retryable(because) if adapter.repeatable else InDoubt(because)
        return self._not_taken(which, error)

    def _not_taken(self, which: Letter | Due, error: Exception) -> Tried:
        name, failures, said = which.destination, which.failures, one_line(str(error), MAX_SAID)
        match error:
            case Refused():
                return Tried(name, "refused", said)
            case InDoubt():
                again = failures < MOST_DOUBTS
                return Tried(name, "in_doubt", said, self._later(name, failures) if again else 0.0)
            case Retryable():
                return Tried(name, "retry", said, self._later(name, failures, error.after_s))
            case Permanent():
                return Tried(name, "permanent", said, self._hourly(failures))
        log.error("notice.crashed", destination=name, because=repr(error), exc_info=error)
        because = f"The adapter of {name} crashed: {type(error).__name__}: {said}"
        return Tried(name, "permanent", because, self._hourly(failures))

    def _later(self, destination: str, failures: int, least_s: float = 0.0) -> float:
        return self.clock() + delay_s(USUAL_RETRY, failures=failures + 1, key=destination, least_s=least_s)

    def _hourly(self, failures: int) -> float:
        return self.clock() + HOURLY_S if failures < MOST_HOURS else 0.0

    async def note(self, event: Event) -> None:
        """Put an event into the log."""
        await self.cell.submit([event])


def _mistaken(letter: Letter, reference: str, other: str) -> Tried:
    """Return that a destination answered with a reference that it gave to something else; sending again would double
    the notice there, so it is given up."""
    name = letter.destination
    because = (
        f"{name} answered with the reference {one_line(reference, MAX_REFERENCE)}, which it gave to {other} before. "
        f"Two under one reference cannot be told apart: {name} must answer each with one of its own, or with none."
    )
    return Tried(name, "permanent", because)


def _errand(which: Letter | Due) -> Errand:
    act = which.act if isinstance(which, Due) else Act.FILE
    return Errand(which.incident_id, f"{act} {which.kind}", which.destination, which.key)


def _change(adapter: Following, due: Due) -> Callable[[str, Notice], Awaitable[None]]:
    if due.act is Act.CLOSE:
        return adapter.close
    if due.act is Act.ACKNOWLEDGE and isinstance(adapter, Acknowledging):
        return adapter.acknowledge
    return adapter.update


async def _done(change: Awaitable[None]) -> Filed:
    await change
    return Filed("")


def _why_filed(incident: Incident, *, is_another: bool) -> str:
    """Return why a notice was filed, or what one that was there already hears."""
    return f"{incident.id} too: {incident.because}" if is_another else incident.because


def _joined(cell: Cell, letter: Letter, filing: Filing) -> NoticeFiled:
    thread, incident = filing.joins, cell.belief.incidents[letter.incident_id]
    assert thread is not None
    return NoticeFiled(
        incident.id,
        letter.kind,
        letter.destination,
        thread.reference,
        thread.url,
        thread.subject,
        letter.key,
        _why_filed(incident, is_another=True),
        thread.title,
        thread.team,
        thread.severity,
        joined=True,
        group=thread.group,
        escalates=letter.escalates,
    )


def not_filed(letter: Letter, tried: Tried) -> NoticeFailed:
    """Return that a destination did not take a notice."""
    return NoticeFailed(
        letter.incident_id,
        letter.kind,
        letter.destination,
        "",
        letter.key,
        "filed",
        tried.outcome,
        tried.because,
        letter.failures + 1,
        tried.retry_at,
        step=Act.ESCALATE if letter.escalates else letter.intent.step,
    )


def _brought(due: Due, because: str = "") -> NoticeTold | NoticeClosed:
    which = (due.incident_id, due.kind, due.destination, due.reference, due.key, due.news)
    if due.act is Act.CLOSE:
        return NoticeClosed(*which, because=because)
    return NoticeTold(*which, due.through, due.members, because, acknowledged=due.act is Act.ACKNOWLEDGE)


def _not_brought(due: Due, tried: Tried) -> NoticeFailed:
    what = "closed" if due.act is Act.CLOSE else "told"
    hopeless = what == "told" and tried.outcome in {"permanent", "refused"}
    return NoticeFailed(
        due.incident_id,
        due.kind,
        due.destination,
        due.reference,
        due.key,
        what,
        tried.outcome,
        tried.because,
        due.failures + 1,
        0.0 if hopeless else tried.retry_at,
        through=due.through,
    )
