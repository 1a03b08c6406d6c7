"""One incident, heard entry by entry, told as spans. Pure: the same entries give the same spans, whoever hears them.

A span is told when it ends, by an entry that one controller alone commits. So none is told twice, and whoever takes
over only has to hear what was before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import singledispatchmethod

from controller import events
from controller.events import Logged, kind_of
from controller.tracing import words
from controller.tracing.arriving import Arrived, finding_arrived, order_ended, thought_spans
from controller.tracing.calls import Call, Peers, call_spans, step_key
from controller.tracing.moments import Heard, Thought
from controller.tracing.scene import Piece, Scene
from controller.tracing.span import Note, Span, Value

MOST_NOTES = 128
"""Moments that one span keeps. Source: OpenTelemetry, the usual limit of events per span (EventCountLimit)."""

BAD_ENDS = frozenset({"failed", "timed_out", "in_doubt"})
"""Outcomes of a step that are errors. A refusal is an answer."""


@dataclass(slots=True)
class _Open:
    """A step under way. `sent_by` and `sent_at`: the span that sent its order, and when."""

    entry: Logged
    intent: events.StepIntended
    notes: list[Note] = field(default_factory=list)
    sent_by: str = ""
    sent_at: float = 0.0


@dataclass(slots=True)
class Story:
    """What is known of an incident that is not over.

    Attributes:
        began_at: when the first of its findings was observed.
    """

    scene: Scene
    peers: Peers
    began_at: float = 0.0
    _attributes: dict[str, Value] = field(default_factory=dict)
    _notes: list[Note] = field(default_factory=list)
    _steps: dict[str, _Open] = field(default_factory=dict)
    _told: Thought = field(default_factory=Thought)
    _cause: tuple[Thought, str] = (Thought(), "")

    def hear(self, heard: Heard, findings: Sequence[Heard] = ()) -> list[Span]:
        """Return the spans that end with this entry.

        Args:
            findings: the entries by which the findings that it names were raised.
        """
        arrived = self._arrived(findings)
        spans = [span for way in arrived for span in way.spans]
        self.began_at = min([self.began_at or heard.entry.at, *(way.began for way in arrived)])
        spans += self._tell(heard.entry.event, heard)
        return spans + self._thought(heard)

    def called(self, call: Call) -> list[Span]:
        """Return the spans of a try of a step."""
        spans = call_spans(self.scene, call, self.peers)
        step = self._steps.get(call.intent.key)
        if step is not None and call.is_order and not call.error:
            step.sent_by, step.sent_at = spans[0].span_id, call.began
        return spans

    def begin(self, findings: Sequence[Heard]) -> None:
        """Take up what another controller told the beginning of."""
        times = [
            min(each.entry.event.observed_at, each.entry.at)
            for each in findings
            if isinstance(each.entry.event, events.FindingRaised)
        ]
        self.began_at = min([self.began_at, *times])

    def _arrived(self, findings: Sequence[Heard]) -> list[Arrived]:
        ways = []
        for found in findings:
            if isinstance(found.entry.event, events.FindingRaised):
                way = finding_arrived(self.scene, found, found.entry.event)
                if way is not None:
                    self._cause = found.thought, way.span_id
                    ways.append(way)
        return ways

    def _thought(self, heard: Heard) -> list[Span]:
        """Tell of a thought once, at the first decision of it."""
        reason = getattr(heard.entry.event, "reason", None)
        if not isinstance(reason, events.Reason) or heard.thought == self._told:
            return []
        self._told = heard.thought
        because_of, cause = self._cause
        parent = cause if because_of == heard.thought else self.scene.root
        key = f"thought/{heard.entry.event_id}"
        return thought_spans(self.scene, heard.thought, key, parent, reason.because)

    @singledispatchmethod
    def _tell(self, event: object, heard: Heard) -> list[Span]:
        """Most entries are moments of the incident."""
        because = getattr(getattr(event, "reason", event), "because", "")
        self._note(kind_of(heard.entry.event), heard.entry.at, {words.BECAUSE: because} if because else {})
        return []

    @_tell.register
    def _(self, event: events.IncidentOpened, heard: Heard) -> list[Span]:
        self._attributes = {
            **self.scene.node(event.node),
            words.HW_ID: event.device,
            words.FAULT_CLASS: event.fault_class,
            words.PLAYBOOK: event.playbook.name,
            words.MODE: event.mode or str(event.playbook.mode),
        }
        self._note(kind_of(event), heard.entry.at, {words.BECAUSE: event.reason.because})
        return []

    @_tell.register
    def _(self, event: events.StepIntended, heard: Heard) -> list[Span]:
        stored = Note("intent.committed", heard.thought.committed or heard.entry.at)
        self._steps[event.key] = _Open(heard.entry, event, [stored])
        return []

    @_tell.register
    def _(self, event: events.StepProgressed, heard: Heard) -> list[Span]:
        step = self._steps.get(event.key)
        if step is not None and len(step.notes) < MOST_NOTES:
            said: dict[str, Value] = {words.BECAUSE: event.because, words.FAILURES: event.failures}
            step.notes.append(Note(f"step.{event.state}", heard.entry.at, said))
        return []

    @_tell.register
    def _(self, event: events.OrderEnded, heard: Heard) -> list[Span]:
        step = self._steps.get(event.order_id)
        if step is None:
            return []
        parent = step.sent_by or self.scene.id_of(step_key(step.intent))
        asked_at = step.sent_at or step.entry.at
        way = order_ended(self.scene, heard, event, parent_id=parent, asked_at=asked_at)
        if way is None:
            return []
        self._cause = heard.thought, way.span_id
        return list(way.spans)

    @_tell.register
    def _(self, event: events.StepEnded, heard: Heard) -> list[Span]:
        step = self._steps.pop(event.key, None)
        return [self._step(step, heard.entry.at, event.outcome, event.because)] if step is not None else []

    @_tell.register
    def _(self, event: events.IncidentClosed, heard: Heard) -> list[Span]:
        self._note(kind_of(event), heard.entry.at, {words.BECAUSE: event.reason.because})
        abandoned = self._abandon(heard.entry.at)
        whole = self.scene.span(
            Piece(
                "incident",
                "incident",
                attributes={**self._attributes, words.OUTCOME: event.outcome, words.BECAUSE: event.reason.because},
                notes=tuple(self._notes),
            ),
            "",
            (self.began_at, heard.thought.committed or heard.entry.at),
        )
        return [*abandoned, whole]

    @_tell.register(events.IncidentHandedOver)
    @_tell.register(events.IncidentReturning)
    @_tell.register(events.IncidentReleasing)
    @_tell.register(events.IncidentReclassified)
    @_tell.register(events.IncidentAborted)
    def _(
        self,
        event: (
            events.IncidentHandedOver
            | events.IncidentReturning
            | events.IncidentReleasing
            | events.IncidentReclassified
            | events.IncidentAborted
        ),
        heard: Heard,
    ) -> list[Span]:
        """Another list of steps begins: one under way is left as it is."""
        self._note(kind_of(event), heard.entry.at, {words.BECAUSE: event.reason.because})
        return self._abandon(heard.entry.at)

    def _abandon(self, at: float) -> list[Span]:
        steps, self._steps = self._steps, {}
        return [self._step(step, at, "abandoned", "The plan ended before this step did.") for step in steps.values()]

    def _step(self, step: _Open, at: float, outcome: str, because: str) -> Span:
        intent, bad = step.intent, outcome in BAD_ENDS
        attributes: dict[str, Value] = {
            **self.scene.node(intent.node),
            words.HW_ID: intent.device,
            words.PHASE: intent.phase,
            words.STEP: intent.step,
            words.VERB: intent.verb,
            words.ATTEMPT: intent.attempt,
            words.OUTCOME: outcome,
            words.BECAUSE: because,
            **({words.ERROR_TYPE: outcome} if bad else {}),
        }
        return self.scene.span(
            Piece(
                f"step {intent.verb}",
                step_key(intent),
                attributes=attributes,
                notes=tuple(step.notes),
                problem=because if bad else "",
            ),
            self.scene.root,
            (step.entry.at, at),
        )

    def _note(self, name: str, at: float, attributes: dict[str, Value]) -> None:
        if len(self._notes) < MOST_NOTES:
            self._notes.append(Note(name, at, attributes))
