"""The candidate: a belief of its own, and what its rules decide of what happened.

What changes nothing in a machine is taken as done at once: a cordon, an uncordon, a ticket, a page, a collection of
evidence. A verification sees what the recorded findings say. Everything else ends as history says, or nobody knows how.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Final

import msgspec

from checks.finding import Verdict
from controller import events
from controller.events import Event, Logged, incident_of
from controller.hindsight.happenings import Pairs, counterpart
from controller.policy import folding
from controller.policy.belief import Belief
from controller.policy.decide import decide
from controller.policy.incident import Incident
from controller.policy.playbook import QUICK_EFFECTS, REPAIRS, Verb
from controller.policy.rules import Rules

PATIENCE_S: Final = 300.0
"""So long an action of the candidate waits for the same one in history. Source: our choice; a controller decides five
times a second, a simulated cell at least every 300 s."""

FIRST_TICK_S: Final = 1.0
SHARE_OF_QUIET: Final = 0.1
LONGEST_TICK_S: Final = 300.0
"""When the candidate thinks where history has no entry: the longer nothing came of it, the more seldom. A limit of time
is noticed late by a tenth at most."""

Hear = Callable[[Logged], None]


@dataclass(slots=True)
class Candidate:
    """One policy at work on what was recorded.

    Attributes:
        history: belief of what was recorded, which says what came of a step.
        pending: incident → since when it waits for what history may not have done, and what that is.
        hear: told of every entry of its log.
        elsewhere: nodes for which somebody else says what comes of a step.
    """

    rules: Rules
    belief: Belief
    history: Belief
    pairs: Pairs = field(default_factory=Pairs)
    pending: dict[str, tuple[float, str]] = field(default_factory=dict)
    hear: list[Hear] = field(default_factory=list)
    elsewhere: Collection[str] = ()
    _said: list[Event] = field(default_factory=list)
    _moved_at: float = 0.0
    _thought_at: float = 0.0

    def begin(self, at: float) -> None:
        """Have the candidate's playbooks answer everything from here on, without a trial."""
        because = "A candidate answers all from the first entry on."
        self.believe(events.RulesLoaded(self.rules.digest(), because), at)
        self.believe(events.PlaybooksTrusted(list(self.rules.playbooks), because), at)

    def believe(self, event: Event, at: float) -> None:
        """Take something in."""
        entry = Logged(self.belief.last_event_id + 1, at, event)
        folding.apply(self.belief, entry)
        for hear in self.hear:
            hear(entry)

    def happen(self, event: Event, at: float) -> None:
        """Take in what the world said; it is decided about at the end of the moment."""
        self.believe(event, at)
        self._moved_at = at

    def think(self, at: float) -> None:
        """Decide until nothing is left to decide."""
        self._thought_at = at
        while self._pass(at):
            self._moved_at = at

    def _pass(self, at: float) -> bool:
        some = False
        for event in decide(self.belief, self.rules, at):
            some = True
            self._decided(event, at)
        for said in self._said:
            self.believe(said, at)
        self._said.clear()
        return some

    def _decided(self, event: Event, at: float) -> None:
        incident = self.belief.incidents.get(incident_of(event))
        if incident is not None and incident.node in self.elsewhere:
            self.believe(event, at)
            return
        match event:
            case events.StepIntended():
                self._intended(event, at)
                return
            case events.IncidentHandedOver():
                self.pending[event.incident_id] = at, "people take it over"
            case events.IncidentWaiting(for_what="approval"):
                self.pending[event.incident_id] = at, "people are asked"
            case events.IncidentClosed() | events.IncidentReturning() | events.IncidentReleasing():
                self.pending.pop(event.incident_id, None)
        self.believe(event, at)

    def _intended(self, intent: events.StepIntended, at: float) -> None:
        self.pending.pop(intent.incident_id, None)
        theirs = self._same_step(intent)
        if theirs is not None:
            self.pairs.bind(theirs, intent.key)
            self.believe(intent, at)
            return
        verb = Verb(intent.verb)
        if verb in REPAIRS or (verb is Verb.DRAIN and not self._is_idle(intent)) or verb is Verb.APPROVE:
            self.pending[intent.incident_id] = at, _what(intent)
            intent = msgspec.structs.replace(intent, expires_at=intent.expires_at + 2 * PATIENCE_S)
        self.believe(intent, at)
        self._said += self._known_end(intent, verb, at)

    def _same_step(self, intent: events.StepIntended) -> str | None:
        """Return the key of the step that history has under way for the same, `None` when it has none."""
        incident = self.belief.open_incidents[intent.incident_id]
        other = counterpart(incident, self.history)
        same = other.intent if other is not None else None
        is_free = same is not None and same.verb == intent.verb and same.key not in self.pairs.ours
        return same.key if same is not None and is_free else None

    def _is_idle(self, intent: events.StepIntended) -> bool:
        """Whether nothing has to leave the node: no job is known there, or history drained it for the same."""
        other = counterpart(self.belief.open_incidents[intent.incident_id], self.history)
        if other is not None and other.drained:
            return True
        node = self.history.nodes.get(intent.node)
        return node is not None and node.schedule_observed_at > 0.0 and not node.jobs and not node.jobs_unknown

    def _known_end(self, intent: events.StepIntended, verb: Verb, at: float) -> Iterator[Event]:
        if verb in QUICK_EFFECTS or (verb is Verb.DRAIN and intent.incident_id not in self.pending):
            because = "Taken as done: it changes nothing in the machine."
            yield events.StepEnded(intent.incident_id, intent.step, intent.attempt, "done", because, intent.key)
        elif verb in {Verb.COLLECT, Verb.VERIFY}:
            yield events.OrderEnded(
                intent.node, intent.key, "done", "By what was recorded.", at, at, self._readings(intent)
            )

    def _readings(self, intent: events.StepIntended) -> dict[str, str]:
        """Return what a look at the node would have found, by the findings that stood."""
        node = self.history.nodes.get(intent.node)
        standing = {key.check for key in node.findings} if node is not None else set()
        checks = {key.check for key in self.belief.incidents[intent.incident_id].condemned_by}
        return {check: Verdict.FAILED if check in standing else Verdict.OK for check in sorted(checks)}

    def bind_late(self, intent: events.StepIntended) -> None:
        """History begins a step that the candidate may have begun a little before."""
        if intent.key in self.pairs.ours:
            return
        other = self.history.open_incidents.get(intent.incident_id)
        ours = counterpart(other, self.belief) if other is not None else None
        same = ours.intent if ours is not None else None
        if ours is not None and same is not None and same.verb == intent.verb and same.key not in self.pairs.theirs:
            self.pairs.bind(intent.key, same.key)
            self.pending.pop(ours.id, None)

    def next_thought_at(self) -> float:
        """Return when the candidate thinks by itself, infinity while it stands where history does."""
        if not self._differs():
            return float("inf")
        wait_s = SHARE_OF_QUIET * (self._thought_at - self._moved_at)
        return self._thought_at + min(max(FIRST_TICK_S, wait_s), LONGEST_TICK_S)

    def _differs(self) -> bool:
        if self.belief.unanswered.keys() - self.history.unanswered.keys():
            return True
        return any(not self._stands_alike(incident) for incident in self.belief.open_incidents.values())

    def _stands_alike(self, incident: Incident) -> bool:
        other = counterpart(incident, self.history)
        return other is not None and _place(other) == _place(incident)


def _place(incident: Incident) -> tuple[object, ...]:
    step = incident.step()
    return incident.phase, step.name if step is not None else "", incident.intent is None, incident.plan


def _what(intent: events.StepIntended) -> str:
    return f"{intent.verb.replace('_', ' ')} of {intent.node}"
