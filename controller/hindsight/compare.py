"""Puts a recorded log before a candidate policy, moment by moment, and tells what differs.

History is the oracle: what nodes, people, schedulers and adapters said is believed by both. Where an action that only
one of them took decides what comes next, nobody knows, and the node is set aside (asides.py).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

from controller import events
from controller.events import Logged, node_of
from controller.hindsight.asides import Asides
from controller.hindsight.candidate import PATIENCE_S, Candidate
from controller.hindsight.differences import figures, matched, moved, rows, unknown_rows
from controller.hindsight.forward import Forward
from controller.hindsight.happenings import OF_STEPS, counterpart, is_said_by_the_world, step_told, told_to
from controller.hindsight.ledger import HOUR_S, Hold, Ledger
from controller.hindsight.result import Comparison
from controller.hindsight.stances import Stances
from controller.hindsight.truths import NOBODY_KNOWS, Judged, Truths
from controller.policy.belief import Belief
from controller.policy.incident import Incident, Phase
from controller.policy.playbook import QUICK_EFFECTS, REPAIRS, Verb
from controller.policy.replaying.again import believe
from controller.policy.rules import Rules
from controller.simulation.model import Model

BY_TIME: Final = frozenset({Verb.WAIT, Verb.PROBATION, Verb.APPROVE})
"""Steps that end by the candidate's own clock and rules."""


@dataclass(slots=True)
class Compare:
    """One comparison; a log is taken in once, from its beginning.

    Attributes:
        model: what is unknown is drawn from it, by the seed; `None` leaves it unknown.
    """

    rules: Rules
    history: Belief = field(default_factory=Belief)
    model: Model | None = None
    seed: int = 1
    entries: int = 0
    first_at: float = 0.0
    candidate: Candidate = field(init=False)
    forward: Forward | None = field(init=False)
    asides: Asides = field(init=False)
    theirs: Ledger = field(init=False)
    ours: Ledger = field(init=False)
    truths: Truths = field(init=False)
    their_stances: Stances = field(init=False)
    our_stances: Stances = field(init=False)
    _noted: list[int] = field(default_factory=lambda: [0, 0])

    def __post_init__(self) -> None:
        """Begin both from the same belief."""
        self.candidate = Candidate(self.rules, copy.deepcopy(self.history), self.history)
        self.forward = Forward(self.candidate, self.model, self.seed) if self.model is not None else None
        self.asides = Asides(self.candidate, self.forward)
        self.theirs, self.ours = Ledger(self.history), Ledger(self.candidate.belief)
        self.truths = Truths(self.history)
        self.their_stances, self.our_stances = Stances(self.history), Stances(self.candidate.belief)
        self.candidate.hear += [self.ours.hear, self.our_stances.hear]

    def take_all(self, log: Iterable[Logged]) -> None:
        """Take a log in.

        Raises:
            CannotReplay: entries are missing, or what they say contradicts what was before.
        """
        for at, moment in groupby(log, key=lambda entry: entry.at):
            if not self.entries:
                self.first_at = at
                self.candidate.begin(at)
            self._until(at)
            self._take_moment(at, list(moment))

    def _until(self, at: float) -> None:
        """Have the candidate think on its own between two entries."""
        while (due := self._next_at()) < at:
            if self.forward is not None:
                self.forward.run(due)
            self.candidate.think(due)
            self._part_from(due)
            self._note()

    def _next_at(self) -> float:
        drawn_at = self.forward.next_at() if self.forward is not None else math.inf
        return min(self.candidate.next_thought_at(), drawn_at)

    def _take_moment(self, at: float, entries: list[Logged]) -> None:
        if self.forward is not None:
            self.forward.run(at)
        self._take_up(at)
        late = list(self._told(at, entries))
        self.candidate.think(at)
        for event in late:
            said = step_told(event, self.candidate.belief, self.candidate.pairs)
            if said is not None:
                self.candidate.happen(said, at)
        if late:
            self.candidate.think(at)
        self._note()
        self._part_where_history_acts(at, entries)
        self._part_from(at)

    def _note(self) -> None:
        """Ask each side what it makes of what the other one just took out."""
        sides = ((self.theirs, self.our_stances), (self.ours, self.their_stances))
        for place, (ledger, stances) in enumerate(sides):
            for hold in ledger.holds[self._noted[place] :]:
                hold.other_because = stances.of(hold.node, hold.keys)
            self._noted[place] = len(ledger.holds)

    def _told(self, at: float, entries: list[Logged]) -> Iterator[events.StepEnded]:
        """Believe each entry as history, and tell the candidate what the world said; yield what it may know by then."""
        for entry in entries:
            event, is_aside = entry.event, node_of(entry.event) in self.asides.open
            said: events.Event | None = None
            if isinstance(event, OF_STEPS):
                said = self._step_told(event)
                if said is None and isinstance(event, events.StepEnded) and self._may_end(event):
                    yield event
            elif is_said_by_the_world(event) and not is_aside:
                said = told_to(self.candidate.belief, event, self.history, self.candidate.pairs)
            believe(self.history, entry)
            self.entries += 1
            for hear in (self.theirs.hear, self.truths.hear, self.their_stances.hear):
                hear(entry)
            if isinstance(event, events.StepIntended):
                self.candidate.bind_late(event)
            if said is not None:
                self.candidate.happen(said, at)

    def _step_told(self, event: events.StepEnded | events.StepProgressed) -> events.Event | None:
        verb = self._verb(event.incident_id)
        quick = verb in QUICK_EFFECTS or verb is Verb.DRAIN or isinstance(event, events.StepProgressed)
        return step_told(event, self.candidate.belief, self.candidate.pairs) if quick else None

    def _may_end(self, event: events.StepEnded) -> bool:
        verb = self._verb(event.incident_id)
        return verb is not None and verb not in BY_TIME and event.outcome != "timed_out"

    def _verb(self, incident_id: str) -> Verb | None:
        incident = self.history.incidents.get(incident_id)
        return Verb(incident.intent.verb) if incident is not None and incident.intent is not None else None

    def _take_up(self, at: float) -> None:
        for node in self.asides.take_up(at):
            self._turn(node, at, aside=False)

    def _turn(self, node: str, at: float, *, aside: bool) -> None:
        self.theirs.turn(node, at, aside=aside)
        self.ours.turn(node, at, aside=aside)

    def _part(self, node: str, at: float, why: str, now: float) -> None:
        if node and node not in self.asides.open:
            self._turn(node, at, aside=True)
            self.asides.part(node, at, why, now=now)

    def _part_where_history_acts(self, at: float, entries: list[Logged]) -> None:
        for entry in entries:
            match entry.event:
                case events.StepIntended() as intent if intent.verb in REPAIRS:
                    if intent.key not in self.candidate.pairs.ours:
                        self._part(
                            intent.node, at, f"history began a {_words(intent.verb)} here, the candidate did not", at
                        )
                case events.IncidentHandedOver(incident_id=incident_id):
                    incident = self.history.incidents[incident_id]
                    ours = counterpart(incident, self.candidate.belief)
                    if ours is None or ours.phase is not Phase.HAND_OVER:
                        self._part(incident.node, at, "history handed it to people, the candidate did not", at)

    def _part_from(self, now: float) -> None:
        """Set aside where the candidate did what history did not do within its patience."""
        for incident_id, (since, what) in list(self.candidate.pending.items()):
            incident = self.candidate.belief.open_incidents.get(incident_id)
            if incident is None or self._is_shared(incident):
                del self.candidate.pending[incident_id]
            elif now > since + PATIENCE_S:
                self._give_up(incident, since, what, now)

    def _give_up(self, incident: Incident, since: float, what: str, now: float) -> None:
        self.candidate.pending.pop(incident.id, None)
        self._part(incident.node, since, f"the candidate came to this, history did not: {what}", now)

    def _is_shared(self, incident: Incident) -> bool:
        """Whether history came to the same: people have it, or are asked."""
        other = counterpart(incident, self.history)
        if other is None or incident.intent is not None:
            return False
        if incident.phase is Phase.HAND_OVER:
            return other.phase is Phase.HAND_OVER
        return other.waiting_for == "approval" == incident.waiting_for

    def result(self) -> Comparison:
        """Return what differs; nothing can be taken in afterwards."""
        now = self.history.last_at
        for incident_id, (since, what) in list(self.candidate.pending.items()):
            incident = self.candidate.belief.open_incidents.get(incident_id)
            if incident is not None and not self._is_shared(incident):
                self._give_up(incident, since, what, now)
        self.theirs.end(now)
        self.ours.end(now)
        return self._result(now)

    def _result(self, now: float) -> Comparison:
        found = matched(self.theirs, self.ours, self.asides.partings)
        shared = {ours: theirs for theirs, ours in found.both}

        def judged(hold: Hold) -> Judged:
            other = shared.get(hold)
            return self.truths.of_history(other) if other else self.truths.of_candidate(hold, self.theirs.holds, now)

        theirs = [hold for hold in self.theirs.holds if hold not in found.not_compared]
        ours = [hold for hold in self.ours.holds if hold not in found.drawn]
        left = [each for each in self.asides.partings if not each.drawn]
        spans = [(each.node, min(each.until, now) - each.at) for each in left]
        changed = moved(found.both, self.truths.of_history, self.asides.partings)
        return Comparison(
            entries=self.entries,
            first_at=self.first_at,
            last_at=now,
            rules=self.rules.digest(),
            history_rules=self.history.rules_digest,
            history=figures(self.theirs.known, [self.truths.of_history(hold) for hold in theirs]),
            candidate=figures(self.ours.known, [judged(hold) for hold in ours]),
            not_compared=figures(self.theirs.aside, [self.truths.of_history(each) for each in found.not_compared]),
            drawn=figures(self.ours.aside, [NOBODY_KNOWS for _ in found.drawn]) if self.model is not None else None,
            seed=self.seed if self.model is not None else None,
            unknown_node_hours=sum(spent_s for _, spent_s in spans) / HOUR_S,
            unknown_gpu_hours=sum(spent_s * self.theirs.gpus(node) for node, spent_s in spans) / HOUR_S,
            same_cordons=len(found.both) - len(changed),
            added=rows(found.added, judged),
            avoided=rows(found.avoided, self.truths.of_history),
            moved=changed,
            unknown=unknown_rows(self.asides.partings),
        )


def _words(verb: str) -> str:
    return verb.replace("_", " ")
