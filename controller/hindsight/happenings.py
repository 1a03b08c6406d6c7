"""What the world said, in the words of a candidate: its incidents and steps have names of their own.

What history's policy decided is no news of the world. What happened to a step of history is news to the candidate only
where it has the same step under way.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import msgspec

from controller import bench_events, events
from controller.notice_events import NoticeClosed, NoticeFailed, NoticeFiled, NoticeHeard, NoticeTold
from controller.policy.approvals import asked
from controller.policy.belief import Belief
from controller.policy.incident import Incident
from controller.policy.playbook import ADMISSION, BENCH_CHECKS
from controller.policy.replaying.kinds import DECIDED

POLICYS_OWN: Final = frozenset(
    {"agent.presence", "node.presence", "node.lemon", "part.condemned", ADMISSION.check, *BENCH_CHECKS}
)
"""Checks whose findings the policy makes of what it knows: the candidate makes its own."""

RULES: Final = (events.RulesLoaded, events.PlaybooksTrusted, events.RolloutBegan, events.RolloutSettled)
"""By what history decided: the candidate has its own."""

OF_STEPS: Final = (events.StepEnded, events.StepProgressed)
NOTICES: Final = (NoticeFiled, NoticeTold, NoticeClosed, NoticeHeard, NoticeFailed)
EVIDENCE: Final = (events.EvidenceEnded, events.EvidenceStored, events.EvidenceRemoved)
BENCHES: Final = (bench_events.BaselineLearnt, bench_events.BenchAsked, bench_events.BenchStopped)
ITSELF: Final = "fleetmend"


@dataclass(slots=True)
class Pairs:
    """Which step of the candidate is which step of history, by their keys, in both directions."""

    ours: dict[str, str] = field(default_factory=dict)
    theirs: dict[str, str] = field(default_factory=dict)

    def bind(self, theirs: str, ours: str) -> None:
        """Take two steps for the same."""
        self.ours[theirs], self.theirs[ours] = ours, theirs


def counterpart(incident: Incident, other: Belief) -> Incident | None:
    """Return the open incident that is about the same, as the other side has it, `None` where it has none."""
    alike = [each for each in other.open_on(incident.node) if _is_alike(incident, each)]
    return min(alike, key=lambda each: _distance(each, incident), default=None)


def _distance(one: Incident, other: Incident) -> tuple[bool, float, bool]:
    """A person may take a node out twice: of several that are alike, the one of the same moment is meant."""
    return one.fault_class != other.fault_class, abs(one.opened_at - other.opened_at), one.id != other.id


def _is_alike(one: Incident, other: Incident) -> bool:
    if one.condemned_by.keys() & other.condemned_by.keys():
        return True
    return one.fault_class == other.fault_class and one.device == other.device


def is_said_by_the_world(event: events.Event) -> bool:
    """Whether an entry is one that no policy decided, and no step is about."""
    if type(event) in DECIDED or isinstance(event, (*RULES, *OF_STEPS)):
        return False
    if isinstance(event, events.FindingRaised):
        return event.finding.check not in POLICYS_OWN
    if isinstance(event, events.FindingCleared):
        return event.key.check not in POLICYS_OWN
    return not (isinstance(event, BENCHES) and event.by == ITSELF)


def told_to(candidate: Belief, event: events.Event, history: Belief, pairs: Pairs) -> events.Event | None:
    """Return what the world said as the candidate hears it, `None` when it is about nothing that it knows."""
    match event:
        case events.OrderEnded() if event.order_id in history.orders:
            ours = pairs.ours.get(event.order_id)
            return msgspec.structs.replace(event, order_id=ours) if ours is not None else None
        case events.ScheduleObserved():
            return _schedule(candidate, event)
        case events.OperatorActed(verb="approve" | "abort" | "acknowledge"):
            return _act(candidate, event, history, pairs)
        case events.OperatorActed(verb="promote" | "withdraw"):
            return None
        case _ if isinstance(event, (*NOTICES, *EVIDENCE)):
            known = history.incidents.get(event.incident_id)
            ours_of_it = counterpart(known, candidate) if known is not None else None
            return msgspec.structs.replace(event, incident_id=ours_of_it.id) if ours_of_it is not None else None
    return event


def _schedule(candidate: Belief, event: events.ScheduleObserved) -> events.ScheduleObserved:
    """What somebody else holds, both see; what fleetmend holds is as the candidate has it."""
    node = candidate.nodes.get(event.node)
    held_by = node.hold_id if node is not None and node.held_since else ""
    is_free = not held_by and (event.schedulable or bool(event.held_by)) and not event.foreign_reason
    return msgspec.structs.replace(event, held_by=held_by, schedulable=is_free)


def _act(candidate: Belief, event: events.OperatorActed, history: Belief, pairs: Pairs) -> events.OperatorActed | None:
    """A yes to a plan is one to the same plan alone."""
    known = history.open_incidents.get(event.subject)
    ours = counterpart(known, candidate) if known is not None else None
    if known is None or ours is None:
        return None
    what = event.what or asked(known)
    return msgspec.structs.replace(event, subject=ours.id, what=pairs.ours.get(what, what))


def step_told(event: events.StepEnded | events.StepProgressed, candidate: Belief, pairs: Pairs) -> events.Event | None:
    """Return what happened to a step of history as one of the candidate's that is under way, `None` without one."""
    key = pairs.ours.get(event.key)
    if key is None:
        return None
    for incident in candidate.open_incidents.values():
        intent = incident.intent
        if intent is not None and intent.key == key:
            said = {"incident_id": incident.id, "step": intent.step, "attempt": intent.attempt, "key": key}
            return msgspec.structs.replace(event, **said)
    return None
