"""The fold that makes belief of the event log: which function takes which kind of event in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from controller import bench_events, enrolment_events, events, notice_events, sweep_events
from controller.policy.belief import Belief
from controller.policy.folds import (
    benching,
    clock,
    enrolling,
    evidence,
    findings,
    incidents,
    nodes,
    noticing,
    operators,
    proposals,
    rules,
    steps,
    sweeping,
)
from controller.policy.incident import Incident
from controller.policy.transitions import hold_to, leads_to, place_of

Fold = Callable[[Belief, Any, float], None]

FOLDS: Mapping[type, Fold] = {
    events.NodeSeen: nodes.seen,
    events.NodePlaced: nodes.placed,
    events.AgentStarted: nodes.agent_started,
    events.AgentToldUnknown: nodes.told_unknown,
    events.PresenceChanged: nodes.presence_changed,
    events.CheckLevelsChanged: nodes.levels_changed,
    events.ScheduleObserved: nodes.schedule_observed,
    events.BmcObserved: nodes.bmc_observed,
    events.PeersObserved: nodes.peers_observed,
    events.DrillStarted: nodes.drill_started,
    events.FindingRaised: findings.raised,
    events.FindingCleared: findings.cleared,
    events.FindingLeft: findings.left,
    events.RulesLoaded: rules.loaded,
    events.PlaybooksTrusted: rules.trusted,
    events.RolloutBegan: rules.rollout_began,
    events.RolloutSettled: rules.rollout_settled,
    events.LogRestored: rules.restored,
    events.ClockSet: clock.set_by,
    events.OperatorActed: operators.acted,
    events.ActProposed: proposals.proposed,
    events.ActAgreed: proposals.agreed,
    events.ActWithdrawn: proposals.withdrawn,
    events.ActCarried: proposals.carried,
    events.ActLapsed: proposals.lapsed,
    events.IncidentOpened: incidents.opened,
    events.IncidentJoined: incidents.joined,
    events.IncidentSuperseded: incidents.superseded,
    events.IncidentReclassified: incidents.reclassified,
    events.IncidentWaiting: incidents.waiting,
    events.IncidentHandedOver: incidents.handed_over,
    events.IncidentReturning: incidents.returning,
    events.IncidentReleasing: incidents.releasing,
    events.IncidentAborted: incidents.aborted,
    events.IncidentClosed: incidents.closed,
    events.StepIntended: steps.intended,
    events.StepProgressed: steps.progressed,
    events.StepEnded: steps.ended,
    events.StepSkipped: steps.skipped,
    events.OrderEnded: benching.order_ended,
    events.EvidenceEnded: evidence.ended,
    events.EvidenceStored: evidence.stored,
    events.EvidenceRemoved: evidence.removed,
    bench_events.BenchAsked: benching.asked,
    bench_events.BenchWaiting: benching.waiting,
    bench_events.BenchStopped: benching.stopped,
    bench_events.LeaseGranted: benching.granted,
    bench_events.LeaseEnded: benching.lease_ended,
    bench_events.BenchEnded: benching.ended,
    bench_events.BenchJudged: benching.judged,
    bench_events.BenchRunEnded: benching.run_ended,
    bench_events.BaselineLearnt: benching.learnt,
    bench_events.BaselineForgotten: benching.forgotten,
    bench_events.FleetShifted: benching.shifted,
    bench_events.FleetSettled: benching.settled,
    bench_events.GoldenAgreed: benching.agreed,
    sweep_events.SweepAsked: sweeping.asked,
    sweep_events.SweepBegan: sweeping.began,
    sweep_events.SweepRoundBegan: sweeping.round_began,
    sweep_events.SweepGroupBegan: sweeping.group_began,
    sweep_events.SweepGroupMet: sweeping.group_met,
    sweep_events.SweepGroupEnded: sweeping.group_ended,
    sweep_events.SweepNodeLeft: sweeping.node_left,
    sweep_events.SweepRoundJudged: sweeping.round_judged,
    sweep_events.SweepStopAsked: sweeping.stop_asked,
    sweep_events.SweepEnded: sweeping.ended,
    enrolment_events.EnrolmentGranted: enrolling.granted,
    enrolment_events.CertificateIssued: enrolling.issued,
    enrolment_events.EnrolmentRefused: enrolling.refused,
    notice_events.NoticeFiled: noticing.filed,
    notice_events.NoticeTold: noticing.told,
    notice_events.NoticeClosed: noticing.closed,
    notice_events.NoticeHeard: noticing.heard,
    notice_events.NoticeFailed: noticing.failed,
}
"""Kind of event → what takes it in; the test of this module holds it against `events.Event`."""


def apply(belief: Belief, logged: events.Logged) -> None:
    """Take one log entry in. Entries must come in order.

    Raises:
        OutOfPlace: the event cannot happen to its incident where that stands.
    """
    belief.last_event_id, belief.last_at = logged.event_id, logged.at
    belief.began_at = belief.began_at or logged.at
    incident = belief.incidents.get(events.incident_of(logged.event))
    allowed = leads_to(place_of(incident), logged.event) if incident is not None else frozenset()
    FOLDS[type(logged.event)](belief, logged.event, logged.at)
    if incident is not None:
        hold_to(allowed, logged.event, place_of(incident))
    noticing.note(belief, logged, incident)
    _count_hold(belief, _node_of(belief, logged.event))


def incident_in(entries: Iterable[events.Logged], incident_id: str) -> Incident | None:
    """Return an incident as the entries about it tell, for one that closed too long ago to be in belief.

    Returns:
        `None` when the entries do not have its beginning.
    """
    recalled = Belief()
    for entry in entries:
        if incident_id in recalled.incidents or isinstance(entry.event, events.IncidentOpened):
            apply(recalled, entry)
    return recalled.incidents.get(incident_id)


def _node_of(belief: Belief, event: events.Event) -> str:
    incident = belief.incidents.get(events.incident_of(event))
    return incident.node if incident is not None else events.node_of(event)


def _count_hold(belief: Belief, name: str) -> None:
    """Holds begin and end in many events; they are counted in this one place."""
    if not name:
        return
    holders = [incident for incident in belief.open_on(name) if incident.holding]
    if holders or name in belief.held:
        belief.ledger.hold(name, belief.scopes_of(name, holders) if holders else ())
