"""Hears what the cell commits and the engine does, and has it told as spans, behind both of them.

What happens is noted and nothing more; the spans are made a moment later, an entry at a time, so that the step that an
entry asks for is begun first. Only what this controller commits is told: a standby hears nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Final

import structlog

from checks.finding import FindingKey
from controller import events
from controller.cell import Cell
from controller.events import Logged, StepIntended, incident_of
from controller.store.log import StoreError
from controller.tracing import current
from controller.tracing.calls import Call, Ended, Errand, Peers, errand_span
from controller.tracing.ids import is_sampled, span_id_of, trace_id_of, traceparent
from controller.tracing.moments import Arrival, Heard, Thought
from controller.tracing.scene import Scene
from controller.tracing.sending import CLOSE_LIMIT_S, Sender
from controller.tracing.story import Story
from controller.tracing.traces import Effect, T

log = structlog.get_logger()

MOST_HEARD: Final = 20_000
"""So many entries wait to be told at most. Source: our choice; the cell commits some 2,000 a second at its most."""

MOST_FINDINGS: Final = 10_000
"""Of so many findings it is known how they came; of older ones the log says when they were observed."""

RECALLED: Final = 2_000
"""So many entries of an incident are read when another controller told its beginning."""

SETTLE_S: Final = 1.0
"""How long after an entry its spans are made: what it and those that came with it ask for is done by then, even where a
hundred nodes fail at once on a busy machine. Source: our measurement, benchmarks/trace_cost.py."""


@dataclass(slots=True)
class Teller:
    """The traces of a cell; see `controller.tracing.traces.Traces`.

    Attributes:
        share: of incidents that are traced, from 0 to 1.
        ui_url: where people see a trace, with `{trace_id}` in it; empty for nowhere.
    """

    cell: Cell
    sender: Sender
    cell_name: str
    peers: Peers
    clock: Callable[[], float]
    share: float = 1.0
    ui_url: str = ""
    on_kubernetes: bool = False
    settle_s: float = SETTLE_S
    most_heard: int = MOST_HEARD
    _heard: deque[Heard | Call] = field(default_factory=deque)
    _arrivals: dict[int, Arrival] = field(default_factory=dict)
    _findings: dict[tuple[str, FindingKey], Heard] = field(default_factory=dict)
    _stories: dict[str, Story] = field(default_factory=dict)
    _came: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _acted: int = 0
    """The last entry that was heard: what is in the log after it comes to be heard, too."""

    def arrived(self, entry: Logged, arrival: Arrival) -> None:
        """Note how the event of an entry came from its node; said before the entry itself is."""
        if isinstance(entry.event, events.FindingRaised | events.OrderEnded):
            self._arrivals[entry.event_id] = arrival

    def act(self, entry: Logged) -> None:
        """Hear a committed entry."""
        self._acted = entry.event_id
        arrival = self._arrivals.pop(entry.event_id, None) if self._arrivals else None
        if isinstance(entry.event, events.FindingRaised) or self.trace_id(_incident(entry)):
            self._note(Heard(entry, self.cell.thought, arrival))

    def watch(self, intent: StepIntended, effect: Effect[T]) -> Effect[T]:
        """Return the effect, each try of which is seen."""
        trace_id = self.trace_id(intent.incident_id)
        return (lambda: self._tried(trace_id, intent, effect)) if trace_id else effect

    def errand(self, errand: Errand, effect: Effect[T]) -> Effect[T]:
        """Return the effect, each try of which is seen."""
        trace_id = self.trace_id(errand.incident_id)
        return (lambda: self._run_errand(trace_id, errand, effect)) if trace_id else effect

    def trace_id(self, incident_id: str) -> str:
        """Return the trace of an incident, empty when it has none."""
        incident = self.cell.belief.incidents.get(incident_id)
        if incident is None:
            return ""
        found = trace_id_of(self.cell_name, incident.id, incident.opened_at)
        return found if is_sampled(found, self.share) else ""

    def url(self, trace_id: str) -> str:
        """Return where people see a trace, empty when nobody said where."""
        return self.ui_url.replace("{trace_id}", trace_id) if trace_id else ""

    def use(self) -> dict[str, object]:
        """Return how sending goes."""
        sender = self.sender
        return {
            "receiver": sender.receiver.name,
            "sent": sender.sent,
            "dropped": sender.dropped,
            "waiting": sender.waiting,
            "error": sender.problem,
        }

    def begin(self) -> None:
        """Begin to tell."""
        self._acted = self.cell.belief.last_event_id
        work = {"traces-told": self._run(), "traces-sent": self.sender.run()}
        self._tasks = [asyncio.create_task(each, name=name) for name, each in work.items()]
        for task in self._tasks:
            task.add_done_callback(_say_crash)

    async def close(self) -> None:
        """Tell what is known so far, in a short while."""
        if not self._tasks:
            return
        telling, sending = self._tasks
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)
        try:
            async with asyncio.timeout(CLOSE_LIMIT_S):
                await self._tell_all()
                self.sender.close()
                await asyncio.wait({sending})
        except TimeoutError:
            self.sender.drop(self.sender.waiting, "closed", "the controller ends before they were taken")
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)

    def _note(self, what: Heard | Call) -> None:
        if len(self._heard) >= self.most_heard:
            self.sender.drop(1, "unheard", "more happens than can be told")
            return
        self._heard.append(what)
        self._came.set()

    async def _tried(self, trace_id: str, intent: StepIntended, effect: Effect[T]) -> T:
        call = Call(intent, self.clock())
        ended = Ended(call.began)
        try:
            return await self._seen(traceparent(trace_id, span_id_of(trace_id, call.key)), effect, ended)
        finally:
            seen = replace(call, ended=ended.ended, because=ended.because, error=ended.error, after=self._acted)
            self._note(seen)

    async def _run_errand(self, trace_id: str, errand: Errand, effect: Effect[T]) -> T:
        ended, above = Ended(self.clock()), current.span_in(trace_id)
        key = f"errand/{errand.name}/{errand.key}/{round(ended.began * 1_000_000)}"
        try:
            return await self._seen(traceparent(trace_id, span_id_of(trace_id, key)), effect, ended)
        finally:
            scene = Scene(trace_id, errand.incident_id, self.cell_name)
            self.sender.offer([errand_span(scene, errand, key, above or scene.root, ended)])

    async def _seen(self, parent: str, effect: Effect[T], ended: Ended) -> T:
        """Let the effect be done on account of a span, and note how it ended."""
        with current.within(parent):
            try:
                outcome = await effect()
            except asyncio.CancelledError:
                ended.because, ended.error = "The controller let go of it.", "cancelled"
                raise
            except Exception as failure:
                ended.because, ended.error = str(failure), type(failure).__name__
                raise
            finally:
                ended.ended = self.clock()
        ended.because = str(getattr(outcome, "because", ""))
        return outcome

    async def _run(self) -> None:
        while True:
            await self._came.wait()
            self._came.clear()
            await asyncio.sleep(self.settle_s)
            await self._tell_all()

    async def _tell_all(self) -> None:
        """Tell what was heard. Who is cancelled in the middle leaves what it was about to tell to the next."""
        while self._heard:
            what = self._heard[0]
            try:
                await (self._tell_call(what) if isinstance(what, Call) else self._tell(what))
            except StoreError as error:
                self.sender.drop(1, "unread", f"what was before cannot be read: {error}")
            except Exception as error:
                log.exception("traces.crashed")
                self.sender.drop(1, "crashed", f"an entry could not be told: {type(error).__name__}: {error}")
            self._heard.popleft()
            await asyncio.sleep(0)

    async def _tell(self, heard: Heard) -> None:
        event = heard.entry.event
        if isinstance(event, events.FindingRaised):
            self._remember(heard, event)
            return
        incident_id = _incident(heard.entry)
        begins = isinstance(event, events.IncidentOpened)
        story = await self._story(incident_id, heard.entry.event_id - 1, begins=begins)
        if story is None:
            return
        self.sender.offer(story.hear(heard, await self._raised(event)))
        if isinstance(event, events.IncidentClosed):
            self._stories.pop(incident_id, None)

    async def _tell_call(self, call: Call) -> None:
        story = await self._story(call.intent.incident_id, call.after)
        if story is not None:
            self.sender.offer(story.called(call))

    def _remember(self, heard: Heard, event: events.FindingRaised) -> None:
        while len(self._findings) >= MOST_FINDINGS:
            self._findings.pop(next(iter(self._findings)))
        self._findings[event.node, event.finding.key] = heard

    async def _story(self, incident_id: str, through: int, *, begins: bool = False) -> Story | None:
        """Return the story of an incident up to an entry, recalled from the log when another controller began it.

        It is `None` for one that is over: what comes after is no part of its trace.
        """
        known = self._stories.get(incident_id)
        trace_id = self.trace_id(incident_id)
        if known is not None or not trace_id:
            return known
        story = Story(Scene(trace_id, incident_id, self.cell_name, self.on_kubernetes), self.peers)
        if not begins:
            found = await self.cell.log.timeline(incident_id=incident_id, limit=RECALLED)
            before = [entry for entry in found if entry.event_id <= through]
            if any(isinstance(entry.event, events.IncidentClosed) for entry in before):
                return None
            await self._recall(story, before)
        self._stories[incident_id] = story
        return story

    async def _recall(self, story: Story, before: Iterable[Logged]) -> None:
        for each in before:
            story.hear(Heard(each, Thought(each.at, each.at, each.at)))
            story.begin(await self._raised(each.event))

    async def _raised(self, event: events.Event) -> list[Heard]:
        """Return the entries by which the findings that an incident takes up were raised."""
        match event:
            case events.IncidentOpened():
                keys = [(event.node, finding.key) for finding in event.findings]
            case events.IncidentJoined():
                incident = self.cell.belief.incidents.get(event.incident_id)
                keys = [(event.node or (incident.node if incident else ""), event.finding.key)]
            case _:
                return []
        return [found for node, key in keys if node and (found := await self._finding(node, key)) is not None]

    async def _finding(self, node: str, key: FindingKey) -> Heard | None:
        known = self._findings.get((node, key))
        if known is not None:
            return known
        for entry in reversed(await self.cell.log.timeline(node=node)):
            if isinstance(entry.event, events.FindingRaised) and entry.event.finding.key == key:
                return Heard(entry, Thought(entry.at, entry.at, entry.at))
        return None


def _incident(entry: Logged) -> str:
    """Return the incident that an entry is about; an order is named after the step that it carries out."""
    if isinstance(entry.event, events.OrderEnded):
        return entry.event.order_id.split("/", maxsplit=1)[0]
    return incident_of(entry.event)


def _say_crash(task: asyncio.Task[None]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        log.error("traces.crashed", because=repr(error), exc_info=error)
