"""What is decided and done about incidents, and how a report takes it in: one function a kind of event."""

from __future__ import annotations

from controller import events
from controller.notice_events import NoticeFiled
from controller.policy.history import DRILL_S
from controller.policy.playbook import REPAIRS, Verb
from controller.policy.reporting import fixes, incidents
from controller.policy.reporting.nodes import Node, Standing
from controller.policy.reporting.outcomes import TELLS
from controller.policy.reporting.told import Told


def opened(told: Told, event: events.IncidentOpened, at: float) -> None:
    """An incident opened."""
    node = told.changing(event.node) if event.node else None
    first = _first_finding(node, event)
    is_drill = node is not None and _is_drill(node, event)
    left_out = is_drill and not told.asked.drills
    incident = incidents.opened(event, at, sku=node.sku if node is not None else "", drill=left_out)
    incident.raised_at, incident.by_drill = first.at if first is not None else 0.0, is_drill
    told.open[incident.id] = incident
    if is_drill and told.counts and node is not None:
        told.drills.open(incident, node.drilled_at)
    if node is not None:
        node.open[incident.id] = incident
        told.lemons.count(event, node, at, drill=is_drill)
    if not told.excluded(incident):
        told.fixes.came_back(incident, at)
    if told.counts and not told.excluded(incident):
        told.outcomes.of(incident.fault_class).opened += 1
        _count_failure(told, incident, node, event, first)


def _first_finding(node: Node | None, event: events.IncidentOpened) -> Standing | None:
    if node is None:
        return None
    standing = [node.findings[each.key] for each in event.findings if each.key in node.findings]
    return min(standing, key=lambda each: each.at, default=None)


def _is_drill(node: Node, event: events.IncidentOpened) -> bool:
    """Return what belief would: a fault may have to stand for a while before its incident opens, so its own time
    counts."""
    raised = [node.findings[each.key].at for each in event.findings if each.key in node.findings]
    return node.drilled_at > 0.0 and any(at - node.drilled_at <= DRILL_S for at in raised)


def _count_failure(
    told: Told,
    incident: incidents.Open,
    node: Node | None,
    event: events.IncidentOpened,
    first: Standing | None,
) -> None:
    if node is None or not incident.is_failure:
        return
    node.incidents += 1
    told.time.exposure.fail(node, event.findings[0].check if event.findings else "")
    if first is not None:
        told.times.open(incident, first, incident.opened_at)


def reclassified(told: Told, event: events.IncidentReclassified, at: float) -> None:
    """An incident is of another class."""
    incident = told.incident(event.incident_id)
    if incident is None:
        return
    was_failure = incident.is_failure
    incident.fault_class, incident.intent = event.fault_class, None
    incident.is_failure = bool(incident.node) and incidents.is_failure(event.fault_class, event.playbook)
    incident.does(incidents.HANDLING, at)
    if incident.is_failure and not was_failure:
        _turned_out_a_failure(told, incident, event, at)


def _turned_out_a_failure(told: Told, incident: incidents.Open, event: events.IncidentReclassified, at: float) -> None:
    """Count what was none at first, like a silent agent whose node turned out to be dead."""
    node = told.changing(incident.node)
    told.lemons.count(event, node, at, drill=incident.by_drill)
    if told.counts and not told.excluded(incident):
        node.incidents += 1
        told.time.exposure.fail(node, event.finding.check)


def waiting(told: Told, event: events.IncidentWaiting, at: float) -> None:
    """An incident waits."""
    incident = told.incident(event.incident_id)
    if incident is not None and not incident.handed_over:
        incident.waits(event.for_what, at)


def intended(told: Told, event: events.StepIntended, at: float) -> None:
    """A step is about to be carried out."""
    incident = told.incident(event.incident_id)
    if incident is None:
        return
    if event.verb in REPAIRS:
        fixes.superseded(told.fixes_of(incident), incident, at)
    incident.intends(event, at)


def progressed(told: Told, event: events.StepProgressed, _at: float) -> None:
    """A step goes on; one that was taken up and then does not end well was carried out and did not help."""
    incident = told.incident(event.incident_id)
    if incident is not None and event.state == "accepted":
        incident.taken_up = event.key


def ended(told: Told, event: events.StepEnded, at: float) -> None:
    """A step ended."""
    incident = told.incident(event.incident_id)
    intent = incident.ends(event, at) if incident is not None else None
    if incident is None or intent is None:
        return
    verb, done = Verb(intent.verb), event.outcome == "done"
    if verb is Verb.CORDON and done:
        _isolated(told, incident, at)
    elif verb is Verb.UNCORDON and event.outcome in {"done", "refused"}:
        _let_go(told, incident, at)
    elif verb in REPAIRS:
        _tried(told, incident, intent, event.outcome, at)
    elif verb is Verb.VERIFY:
        fixes.judge(told.fixes_of(incident), incident, event.outcome, at)
    elif verb is Verb.PROBATION and event.outcome == "failed":
        told.fixes_of(incident).came_back(incident, at)
    elif verb in TELLS and done and told.counts and not told.excluded(incident):
        told.outcomes.sent[verb] += 1


def _isolated(told: Told, incident: incidents.Open, at: float) -> None:
    node = told.node(incident.node)
    if not incident.cordoned_at and told.counts and not told.excluded(incident):
        if incident.is_failure:
            told.times.isolate(incident, at)
        told.jobs_hit += len(node.jobs) if not node.holders else 0
    incident.cordoned_at = incident.cordoned_at or at
    node.holders[incident.id] = incident
    node.schedulable, node.hold_changed_at = False, at


def _let_go(told: Told, incident: incidents.Open, at: float) -> None:
    node = told.node(incident.node)
    node.let_go(incident.id)
    node.hold_changed_at = at


def _tried(told: Told, incident: incidents.Open, intent: events.StepIntended, outcome: str, at: float) -> None:
    if outcome == "done":
        incident.tries.append(incidents.Try(intent.verb, at))
    elif incident.taken_up == intent.key:
        told.fixes_of(incident).failed(incident, incidents.Try(intent.verb, at), at)
    else:
        told.fixes_of(incident).not_done(incident, intent.verb, at)


def skipped(told: Told, event: events.StepSkipped, at: float) -> None:
    """A step was passed over."""
    incident = told.incident(event.incident_id)
    if incident is not None and event.verb == Verb.UNCORDON and not incident.shadow:
        _let_go(told, incident, at)


def handed_over(told: Told, event: events.IncidentHandedOver, at: float) -> None:
    """People have an incident."""
    incident = told.incident(event.incident_id)
    if incident is None:
        return
    fixes.superseded(told.fixes_of(incident), incident, at)
    incident.is_handed_over(at)
    if told.counts and not told.excluded(incident):
        told.outcomes.of(incident.fault_class).handed_over += 1


def aborted(told: Told, event: events.IncidentAborted, at: float) -> None:
    """A person stopped a plan: people have the node."""
    incident = told.incident(event.incident_id)
    if incident is not None:
        incident.is_handed_over(at)


def returning(told: Told, event: events.IncidentReturning, at: float) -> None:
    """The way back of a node begins."""
    incident = told.incident(event.incident_id)
    if incident is not None:
        incident.returns(at)


def releasing(told: Told, event: events.IncidentReleasing, at: float) -> None:
    """Our hold of a node ends."""
    incident = told.incident(event.incident_id)
    if incident is not None:
        incident.intent, incident.handed_over = None, False
        incident.does(incidents.HANDLING, at)


def closed(told: Told, event: events.IncidentClosed, at: float) -> None:
    """An incident is over."""
    incident = told.incident(event.incident_id)
    if incident is None:
        return
    del told.open[incident.id]
    incident.does(incident.doing, at)
    if incident.node:
        node = told.node(incident.node)
        del node.open[incident.id]
        node.let_go(incident.id)
    if not told.counts:
        return
    told.drills.returned += incident.by_drill and event.outcome == "returned"
    if told.excluded(incident):
        return
    told.outcomes.close(incident, event.outcome)
    if event.outcome == "returned" and incident.cordoned_at and incident.is_failure:
        told.times.end(incident, at)


def notice_filed(told: Told, event: NoticeFiled, _at: float) -> None:
    """One that was found, or joined another one, reached nobody anew."""
    incident = told.open.get(event.incident_id)
    is_drill = incident is not None and told.excluded(incident)
    if told.counts and not is_drill and not (event.found or event.joined):
        told.outcomes.filed[event.kind] = told.outcomes.filed.get(event.kind, 0) + 1
