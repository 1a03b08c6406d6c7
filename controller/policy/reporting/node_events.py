"""What nodes, schedulers and people say, and how a report takes it in: one function a kind of event."""

from __future__ import annotations

from controller import bench_events, events
from controller.policy.reporting.told import Told


def node_seen(told: Told, event: events.NodeSeen, _at: float) -> None:
    """Take in what a node is."""
    node = told.changing(event.node)
    told.time.count(node, told.at)
    node.is_what(event.facts)


def node_placed(told: Told, event: events.NodePlaced, _at: float) -> None:
    """Take in where a source says that a node stands."""
    node = told.changing(event.node)
    told.time.count(node, told.at)
    node.stands(event.source, event.places)


def presence_changed(told: Told, event: events.PresenceChanged, _at: float) -> None:
    """Take in whether a node's agent is heard."""
    told.changing(event.node).presence = event.state


def order_ended(told: Told, event: events.OrderEnded, _at: float) -> None:
    """Take in that a node carries an order out."""
    if event.outcome == "accepted":
        for incident in told.node(event.node).open.values():
            if incident.intent is not None and incident.intent.key == event.order_id:
                incident.taken_up = event.order_id


def schedule_observed(told: Told, event: events.ScheduleObserved, _at: float) -> None:
    """Take in how the scheduler sees a node."""
    node = told.changing(event.node)
    before = node.jobs
    node.is_scheduled(event)
    told.lemons.count_jobs(before, node.jobs)


def finding_raised(told: Told, event: events.FindingRaised, at: float) -> None:
    """Take in a finding."""
    told.changing(event.node).raised(event, at)


def finding_cleared(told: Told, event: events.FindingCleared, _at: float) -> None:
    """Take in that a finding is over."""
    told.changing(event.node).cleared(event)


def drill_started(told: Told, event: events.DrillStarted, at: float) -> None:
    """Take in that a person injects a fault."""
    told.node(event.node).drilled_at = at
    if told.counts:
        told.drills.injected += 1


def lease_granted(told: Told, event: bench_events.LeaseGranted, _at: float) -> None:
    """Nodes may run a benchmark."""
    told.leases[event.lease_id] = tuple(event.nodes)
    for name in event.nodes:
        told.changing(name).leases += 1


def lease_ended(told: Told, event: bench_events.LeaseEnded, _at: float) -> None:
    """Nodes are free of a lease."""
    for name in told.leases.pop(event.lease_id, ()):
        told.changing(name).leases -= 1


def restored(told: Told, _event: events.LogRestored, at: float) -> None:
    """What happened between the backup's last entry and this one is not in the log."""
    told.restored += 1
    for node in told.nodes.values():
        told.time.count(node, told.entry_before_at)
        told.time.count_untold(node, at)
