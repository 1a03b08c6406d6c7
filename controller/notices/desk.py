"""The desk of tickets and pages: files what steps ask for, carries out what is due, and hears how notices stand.

It works beside the steps. A step waits a moment for its notices and goes on when a destination is slow: what is owed is
in the log, and the desk sends it later. So a ticket system that is down delays no page, and neither delays an uncordon.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import structlog

from controller.adapters import Answer, Heard, Listening
from controller.errors import InDoubt, Permanent, Refused, Retryable
from controller.events import StepIntended
from controller.notice_events import NoticeHeard
from controller.notices.courier import MAX_SAID, TRY_LIMIT_S, Courier, Letter, Tried, not_filed
from controller.notices.letters import intent_like
from controller.notices.wording import one_line
from controller.policy.noticing.book import PAGE, TICKET, Thread, Trouble, about
from controller.policy.noticing.due import Act, Due, due, escalation_key
from controller.policy.noticing.subjects import team_of

log = structlog.get_logger()

PATIENCE_S = 5.0
"""A step waits so long for its notices. Source: our choice; the page that follows a ticket must not wait for longer."""

LOOK_S = 0.1
"""How often a step that waits looks whether somebody ended its incident meanwhile."""

TICK_S = 1.0

GONE_S = 600.0
"""For so long must a destination say that a notice is gone before that is believed, which ends it for good. Source: our
choice; an index that is built anew, or an account that lost its right to read for a moment, shows nothing meanwhile."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of the notices of a step, as `StepEnded` says it."""

    outcome: str
    because: str
    permanent: bool = False


@dataclass(slots=True)
class NoticeDesk:
    """Implements what a step needs, and runs beside all steps.

    Attributes:
        listen_every_s: how often each destination is asked how its notices stand.
        deaf: destination, by kind and name → why it does not say how they stand.
        missed: thread → since when its destination says that it is gone.
        _touched: destination that is being asked → what was under way meanwhile: an answer about it may be older than
            what we told. Sequence and no clock, which may be set back.
    """

    courier: Courier
    listen_every_s: float = 30.0
    tick_s: float = TICK_S
    patience_s: float = PATIENCE_S
    deaf: dict[str, str] = field(default_factory=dict)
    missed: dict[str, float] = field(default_factory=dict)
    _jobs: dict[str, asyncio.Task[Any]] = field(default_factory=dict)
    _touched: dict[str, set[str]] = field(default_factory=dict)

    async def file(self, intent: StepIntended, *, resumed: bool) -> Sent | None:
        """File the notice of a step wherever it goes and is not yet; return how that ended, or that it goes on.

        Returns:
            `None` when this controller leads no more.
        """
        belief, rules = self.courier.cell.belief, self.courier.destinations.rules
        incident = belief.incidents[intent.incident_id]
        team = team_of(incident, intent.parameters)
        severity = intent.parameters.get("severity", incident.playbook.severity)
        named = msgspec.structs.replace(intent, parameters={**intent.parameters, "team": team})
        routed = [rule.name for rule in rules.routed(intent.verb, team, severity)]
        if not routed:
            return _nobody(intent, team, severity)
        missing = [each for each in routed if belief.notices.filed(incident.id, intent.verb, each) is None]
        doubted = [each for each in missing if resumed and self._is_doubted(intent, each)]
        letters = [self._letter(named, each, resumed=resumed) for each in missing if each not in doubted]
        tried = await self._wait_for(named, letters)
        tried += await self._wait_for(named, list(self._instead(named, tried)))
        if any(each.outcome == "withheld" for each in tried):
            return None
        if doubted:
            who = ", ".join(doubted)
            return Sent("in_doubt", f"The controller stopped while sending; {who} cannot say whether it arrived.")
        return _sum_up(tried, [t for t in belief.notices.of(incident.id) if t.kind == intent.verb])

    def _is_doubted(self, intent: StepIntended, destination: str) -> bool:
        """Whether a destination may have got it from an earlier life and cannot tell a repeat."""
        adapter, trouble = self.courier.adapter(intent.verb, destination), self._owed(intent, destination)
        is_put_off = trouble is not None and trouble.retry_at > self.courier.clock()
        return adapter is not None and not adapter.repeatable and not is_put_off

    def _letter(self, intent: StepIntended, destination: str, *, resumed: bool) -> Letter:
        """Return the letter to one destination; one that can tell a repeat gets the key that it may have seen."""
        adapter = self.courier.adapter(intent.verb, destination)
        tried = self.courier.cell.belief.notices.owed.get(about(intent.verb, destination, intent.incident_id))
        again = tried is not None and adapter is not None and adapter.repeatable
        key = tried.key.partition("@")[0] if again and tried is not None else intent.key
        return Letter(intent, destination, key, again=resumed or again)

    def _owed(self, intent: StepIntended, destination: str) -> Trouble | None:
        """Return why a try of this very step was not taken, `None` while none was."""
        found = self.courier.cell.belief.notices.owed.get(about(intent.verb, destination, intent.incident_id))
        return found if found is not None and found.key == intent.key else None

    def _instead(self, intent: StepIntended, tried: list[Tried]) -> Iterator[Letter]:
        """Yield the pages of those who are next where a destination says no."""
        rules, book = self.courier.destinations.rules, self.courier.cell.belief.notices
        known = {each.destination for each in tried}
        for each in tried if intent.verb == PAGE else ():
            rule = rules.named(PAGE, each.destination)
            to = rule.escalate_to if rule is not None and each.outcome in NO else ""
            if to and to not in known and book.filed(intent.incident_id, PAGE, to) is None:
                known.add(to)
                key = escalation_key(intent.incident_id, each.destination, to)
                yield Letter(intent, to, key, escalates=each.destination)

    async def _wait_for(self, intent: StepIntended, letters: list[Letter]) -> list[Tried]:
        """Wait a moment for letters; what takes longer goes on, and is owed in the log."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self.patience_s
        tries = [self._begin(letter.about, self._patiently(letter, until)) for letter in letters]
        pending = set(tries)
        while pending and loop.time() < until and not self._is_stopped(intent):
            _, pending = await asyncio.wait(pending, timeout=LOOK_S)
        both = zip(letters, tries, strict=True)
        return [task.result() if task.done() else await self._leave(letter) for letter, task in both]

    def _is_stopped(self, intent: StepIntended) -> bool:
        """Whether a person ended the incident, for which no notice may be waited (I3)."""
        incident = self.courier.cell.belief.open_incidents.get(intent.incident_id)
        return incident is None or bool(incident.stop_asked)

    async def _patiently(self, letter: Letter, until: float) -> Tried:
        """Try until it is taken or would last too long. Runs on alone when nobody waits any more."""
        clock, loop = self.courier.clock, asyncio.get_running_loop()
        owed = self._owed(letter.intent, letter.destination)
        if owed is not None:
            letter = replace(letter, failures=owed.failures)
            await asyncio.sleep(min(max(0.0, owed.retry_at - clock()), self.patience_s))
        while True:
            tried = await self.courier.file(letter)
            wait_s = tried.retry_at - clock()
            if tried.outcome != "retry" or loop.time() + wait_s >= until:
                return tried
            letter = replace(letter, failures=letter.failures + 1)
            await asyncio.sleep(max(0.0, wait_s))

    async def _leave(self, letter: Letter) -> Tried:
        """Record that a letter is still on its way, so that another controller knows of it."""
        because = f"{letter.destination} has not answered within {self.patience_s:g} s."
        tried = Tried(letter.destination, "retry", because, self.courier.clock() + TRY_LIMIT_S)
        await self.courier.note(not_filed(letter, tried))
        return tried

    def _begin(self, name: str, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Return the task that does it; one that is under way already does it for both."""
        running = self._jobs.get(name)
        if running is not None:
            work.close()
            return running
        task = asyncio.create_task(work, name=name)
        self._jobs[name] = task
        for touched in self._touched.values():
            touched.add(name)
        task.add_done_callback(lambda done: self._ended(name, done))
        return task

    def _ended(self, name: str, task: asyncio.Task[Any]) -> None:
        self._jobs.pop(name, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("notice.crashed", notice=name, because=f"{type(error).__name__}: {error}")

    async def run(self) -> None:
        """Carry out what is due, and listen, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for kind in (TICKET, PAGE):
                for name, adapter in self.courier.destinations.adapters(kind).items():
                    if isinstance(adapter, Listening):
                        group.create_task(self._listen(kind, name, adapter), name=f"listen to {kind} {name}")
            while True:
                self._begin_due_safely()
                await asyncio.sleep(self.tick_s)

    def _begin_due_safely(self) -> None:
        """A notice that nothing can be said about must not end the controller: nodes are out, and come back."""
        try:
            if self.courier.leads():
                self.begin_due()
        except Exception:
            log.exception("notices.crashed")

    def begin_due(self) -> None:
        """Begin what is due and not under way."""
        belief, rules = self.courier.cell.belief, self.courier.destinations.rules
        for each in due(belief, rules, self.courier.clock()):
            if each.about not in self._jobs and not self._is_probed(each):
                self._begin(each.about, self._carry_out(each))

    def _is_probed(self, each: Due) -> bool:
        """Whether a destination that takes nothing is being tried already: one letter tells whether it does again."""
        if self.courier.cell.belief.notices.waits(each.kind, each.destination) is None:
            return False
        return any(name.startswith(f"{each.kind} {each.destination} ") for name in self._jobs)

    async def _carry_out(self, each: Due) -> Tried | None:
        if each.reference:
            return await self.courier.bring(each)
        incident = self.courier.cell.belief.incidents[each.incident_id]
        steps = {step.name: step for step in (*incident.playbook.steps, *incident.playbook.hand_over)}
        parameters = steps[each.step].parameters if each.step in steps else {}
        key = self.courier.key_again(each)
        intent = intent_like(
            incident,
            each.kind,
            key=each.key,
            team=team_of(incident, parameters),
            severity=parameters.get("severity", incident.playbook.severity),
        )
        named = msgspec.structs.replace(intent, step=each.step or each.kind)
        letter = Letter(named, each.destination, key, each.escalates, each.failures, again=each.act is Act.FILE)
        return await self.courier.file(letter)

    async def _listen(self, kind: str, name: str, adapter: Listening) -> None:
        while True:
            await asyncio.sleep(self.listen_every_s)
            if self.courier.leads():
                await self.look(kind, name, adapter)

    async def look(self, kind: str, name: str, adapter: Listening) -> None:
        """Ask one destination how its open notices stand, and record what changed."""
        book, place = self.courier.cell.belief.notices, f"{kind} {name}"
        threads = [t for t in map(book.threads.get, book.open_threads) if t and (t.kind, t.destination) == (kind, name)]
        if not threads:
            self.deaf.pop(place, None)
            return
        touched = self._touched[place] = set(self._jobs)
        try:
            async with asyncio.timeout(TRY_LIMIT_S):
                answers = await adapter.look([thread.reference for thread in threads])
        except Exception as error:
            self._note_deaf(place, error)
            return
        finally:
            del self._touched[place]
        self.deaf.pop(place, None)
        now = self.courier.clock()
        here = [t for t in threads if not self._is_missed_briefly(t, answers.get(t.reference), now)]
        heard = [_heard(t, answers[t.reference]) for t in here if _is_news(t, answers.get(t.reference), touched)]
        if heard:
            await self.courier.cell.submit(list(heard))

    def _is_missed_briefly(self, thread: Thread, answer: Answer | None, now: float) -> bool:
        """Whether a notice is said to be gone, and not for long enough to be believed."""
        if answer is None or answer.state is not Heard.GONE:
            self.missed.pop(thread.id, None)
            return False
        since = self.missed.setdefault(thread.id, now)
        if 0.0 <= now - since < GONE_S:
            return True
        del self.missed[thread.id]
        return False

    def _note_deaf(self, name: str, error: Exception) -> None:
        """Keep why a destination does not say how its notices stand. Nothing follows from that: unknown never acts."""
        known = isinstance(error, Retryable | Permanent | Refused | InDoubt)
        said = one_line(str(error), MAX_SAID)
        because = said or type(error).__name__ if known else f"{type(error).__name__}: {said}"
        if name not in self.deaf:
            log.warning("notices.unheard", destination=name, because=because)
        self.deaf[name] = because

    def errors(self) -> dict[str, str]:
        """Return which destinations of the settings do not take notices, or do not say how they stand: by kind and
        name."""
        silent = self.courier.cell.belief.notices.silent
        here = {f"{kind} {name}" for kind in (TICKET, PAGE) for name in self.courier.destinations.adapters(kind)}
        return {**self.deaf, **{name: trouble.because for name, trouble in silent.items() if name in here}}

    async def close(self) -> None:
        """Let go of what is under way; the next start takes it up."""
        jobs = list(self._jobs.values())
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)


NO = frozenset({"permanent", "refused"})


def _heard(thread: Thread, answer: Answer) -> NoticeHeard:
    which = (thread.current, thread.kind, thread.destination, thread.reference)
    said = (one_line(answer.by, MAX_SAID), one_line(answer.because, MAX_SAID))
    return NoticeHeard(*which, answer.state, *said)


def _is_news(thread: Thread, answer: Answer | None, touched: set[str]) -> bool:
    """Whether an answer says something new, and is no older than what we told."""
    if answer is None or answer.state == thread.heard or thread.ended_at:
        return False
    return thread.id not in touched


def _nobody(intent: StepIntended, team: str, severity: str) -> Sent:
    """A page that nobody takes was not wanted, by severity; a ticket that nobody takes is one too few."""
    if intent.verb == PAGE:
        whose = f" for {team}" if team else ""
        return Sent("done", f"No destination takes pages of severity {severity}{whose}: nobody is paged.")
    return Sent("failed", f"No destination takes tickets for {team or 'no team'}: add one to [[tickets]].", True)


def _sum_up(tried: list[Tried], filed: list[Thread]) -> Sent:
    """Return how a step ends: what is tried on counts as done, as it is in the log; what nobody takes has failed."""
    doubts = [each for each in tried if each.outcome == "in_doubt"]
    if doubts:
        return Sent("in_doubt", doubts[0].because)
    said = [each.because for each in tried if each.outcome == "done"]
    later = [
        f"Not taken yet: {each.because.rstrip('.')}. It is tried again." for each in tried if each.outcome == "retry"
    ]
    hopeless = [each.because for each in tried if each.outcome in NO]
    sentences = " ".join([*said, *later, *hopeless])
    if said or later or not hopeless:
        return Sent("done", sentences or f"Sent before: {', '.join(thread.reference for thread in filed)}.")
    if filed:
        return Sent("done", f"Sent before: {', '.join(thread.reference for thread in filed)}. {sentences}")
    outcome = "refused" if all(each.outcome == "refused" for each in tried) else "failed"
    return Sent(outcome, sentences, permanent=True)
