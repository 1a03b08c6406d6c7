"""Incidents from their opening to their end."""

from __future__ import annotations

from checks.finding import Finding
from controller import events
from controller.policy.belief import Belief
from controller.policy.folds import holds, questions
from controller.policy.folds.noticing import forget_incident
from controller.policy.history import DRILL_S
from controller.policy.incident import Incident, Phase
from controller.policy.lemon import Failure, counts_as_failure, weight_of
from controller.policy.playbook import BREAKER_CLASS
from controller.policy.scopes import parse


def opened(belief: Belief, event: events.IncidentOpened, at: float) -> None:
    """Take in a new incident."""
    incident = Incident(
        event.incident_id,
        event.node,
        event.device,
        event.fault_class,
        event.playbook,
        opened_at=at,
        because=event.reason.because,
        set_mode=event.mode,
        part=event.part,
        recurrence=event.recurrence,
        drill=_is_drill(belief, event),
    )
    belief.incidents[incident.id] = belief.open_incidents[incident.id] = incident
    belief.open_by_node.setdefault(incident.node, {})[incident.id] = incident
    belief.opened += 1
    belief.rollouts.answer(incident)
    _count_failure(belief, incident, at)
    questions.ask_again(belief, incident)
    belief.cordons_asked.pop(event.node, None)
    for finding in event.findings:
        _join(belief, incident, finding, at)


def _is_drill(belief: Belief, event: events.IncidentOpened) -> bool:
    """A fault may have to stand for a while before its incident opens, so its own time counts."""
    node = belief.nodes.get(event.node)
    if node is None:
        return False
    raised = [node.findings[each.key].since for each in event.findings if each.key in node.findings]
    return any(since - node.drilled_at <= DRILL_S for since in raised)


def _count_failure(belief: Belief, incident: Incident, at: float) -> None:
    if counts_as_failure(incident):
        job_nodes = max((belief.job_nodes[job] for job in belief.node(incident.node).jobs), default=1)
        belief.failures.add(Failure(incident.node, at, weight_of(incident.fault_class, job_nodes, incident.recurrence)))


def joined(belief: Belief, event: events.IncidentJoined, at: float) -> None:
    """Take in a further finding of an incident, or a further member of a domain."""
    incident = belief.incidents[event.incident_id]
    if incident.node:
        _join(belief, incident, event.finding, at)
        return
    incident.members.setdefault(event.node, set()).add(event.finding.key)
    questions.forget(belief, event.node, event.finding.key)
    belief.node(event.node).findings[event.finding.key].incident_id = incident.id
    belief.outbreaks.explain(event.node, event.finding.check, belief.scopes_of(event.node, []))


def superseded(belief: Belief, event: events.IncidentSuperseded, _at: float) -> None:
    """Another incident explains this one."""
    belief.incidents[event.incident_id].stop_asked = f"{event.by} explains it"


def reclassified(belief: Belief, event: events.IncidentReclassified, at: float) -> None:
    """Take in that the incident is of another class."""
    incident = belief.incidents[event.incident_id]
    was_failure = counts_as_failure(incident)
    incident.recurrence = event.recurrence
    incident.fault_class, incident.playbook = event.fault_class, event.playbook
    incident.because, incident.set_mode = event.reason.because, event.mode
    if not was_failure:
        _count_failure(belief, incident, at)
    belief.rollouts.answer(incident)
    holds.drop_intent(belief, incident)
    incident.enter(Phase.AUTOMATIC)
    _join(belief, incident, event.finding, at)


def _join(belief: Belief, incident: Incident, finding: Finding, at: float) -> None:
    incident.condemned_by[finding.key] = finding
    incident.last_finding_at = at
    questions.forget(belief, incident.node, finding.key)
    raised = belief.node(incident.node).findings.get(finding.key) if incident.node else None
    if raised is not None:
        raised.incident_id = incident.id


def waiting(belief: Belief, event: events.IncidentWaiting, at: float) -> None:
    """Note what an incident waits for."""
    incident = belief.incidents[event.incident_id]
    incident.waiting_for, incident.waiting_since = event.for_what, at


def handed_over(belief: Belief, event: events.IncidentHandedOver, at: float) -> None:
    """Give an incident to people."""
    incident = belief.incidents[event.incident_id]
    incident.rma = event.rma or incident.rma
    incident.outcome, incident.because = "handed_over", event.reason.because
    incident.return_asked, incident.closed_there_at = False, 0.0
    holds.end_canary(belief, incident, incident.outcome)
    incident.enter(Phase.HAND_OVER)
    belief.history.remember(incident, at)


def returning(belief: Belief, event: events.IncidentReturning, _at: float) -> None:
    """Begin to give the node back."""
    incident = belief.incidents[event.incident_id]
    if event.part:
        incident.successor, belief.condemned[incident.part] = event.part, incident.id
    incident.outcome, incident.return_asked, incident.closed_there_at = "", False, 0.0
    incident.enter(Phase.RETURNING)


def releasing(belief: Belief, event: events.IncidentReleasing, _at: float) -> None:
    """Begin to let go of the node."""
    incident = belief.incidents[event.incident_id]
    holds.drop_intent(belief, incident)
    incident.releases_as = event.ends_as
    incident.enter(Phase.RELEASING)


def aborted(belief: Belief, event: events.IncidentAborted, at: float) -> None:
    """End what was planned, as a person asked."""
    incident = belief.incidents[event.incident_id]
    incident.outcome, incident.because, incident.stop_asked = "aborted", event.reason.because, ""
    holds.end_canary(belief, incident, incident.outcome)
    holds.drop_intent(belief, incident)
    incident.enter(Phase.HAND_OVER)
    incident.position = len(incident.steps())
    belief.history.remember(incident, at)


def closed(belief: Belief, event: events.IncidentClosed, at: float) -> None:
    """End an incident."""
    incident = belief.open_incidents.pop(event.incident_id)
    _free_members(belief, incident)
    _leave_open(belief, incident)
    incident.outcome, incident.closed_at, incident.because = event.outcome, at, event.reason.because
    incident.waiting_for, incident.holding, incident.cordoned = "", False, False
    holds.end_canary(belief, incident, incident.outcome)
    if incident.fault_class == BREAKER_CLASS:
        belief.ledger.forget(parse(incident.device))
    holds.drop_intent(belief, incident)
    holds.free_if_unheld(belief, incident.node)
    belief.history.remember(incident, at)
    if incident.outcome == "returned":
        belief.bench.forget_unwell(incident.node)


def _free_members(belief: Belief, domain: Incident) -> None:
    """What a domain no longer explains is each node's own again."""
    for node, keys in domain.members.items():
        for key in sorted(keys, key=str):
            raised = belief.node(node).findings.get(key)
            if raised is not None:
                raised.incident_id = ""
                belief.unanswered[node, key] = None
    domain.members.clear()


def _leave_open(belief: Belief, incident: Incident) -> None:
    here = belief.open_by_node[incident.node]
    del here[incident.id]
    if not here:
        del belief.open_by_node[incident.node]
    belief.closed[incident.id] = None
    if len(belief.closed) > belief.closed_kept:
        oldest = next(iter(belief.closed))
        del belief.closed[oldest], belief.incidents[oldest]
        forget_incident(belief.notices, oldest)
