"""Entries in, in order; a report out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from controller import bench_events, events
from controller.notice_events import NoticeFiled
from controller.policy.reporting import incident_events, node_events, result
from controller.policy.reporting.asked import Asked, Known
from controller.policy.reporting.shapes import Report
from controller.policy.reporting.told import NOBODY, Told

Take = Callable[[Told, Any, float], None]

TAKES: Mapping[type, Take] = {
    events.NodeSeen: node_events.node_seen,
    events.NodePlaced: node_events.node_placed,
    events.PresenceChanged: node_events.presence_changed,
    events.ScheduleObserved: node_events.schedule_observed,
    events.FindingRaised: node_events.finding_raised,
    events.FindingCleared: node_events.finding_cleared,
    events.OrderEnded: node_events.order_ended,
    events.DrillStarted: node_events.drill_started,
    events.LogRestored: node_events.restored,
    bench_events.LeaseGranted: node_events.lease_granted,
    bench_events.LeaseEnded: node_events.lease_ended,
    events.IncidentOpened: incident_events.opened,
    events.IncidentReclassified: incident_events.reclassified,
    events.IncidentWaiting: incident_events.waiting,
    events.IncidentHandedOver: incident_events.handed_over,
    events.IncidentAborted: incident_events.aborted,
    events.IncidentReturning: incident_events.returning,
    events.IncidentReleasing: incident_events.releasing,
    events.IncidentClosed: incident_events.closed,
    events.StepIntended: incident_events.intended,
    events.StepProgressed: incident_events.progressed,
    events.StepEnded: incident_events.ended,
    events.StepSkipped: incident_events.skipped,
    NoticeFiled: incident_events.notice_filed,
}
"""Kind of event → what takes it in. No other kind changes a report."""


class Fold:
    """Reads a log once, from its beginning, and counts what lies in the span that was asked for.

    What comes before the span is needed all the same: it says how things stood when the span began. Where entries are
    missing, counting begins anew after the gap.

    Attributes:
        last_id: the last entry that was taken in.
        is_over: the end of the span was read, and nothing that follows changes the report.
    """

    def __init__(self, asked: Asked, *, known: Mapping[str, Known] = NOBODY, deleted_through: int = 0) -> None:
        """Begin.

        Args:
            known: what is known of nodes besides the log.
            deleted_through: last id up to which entries may be missing, 0 for a log that says so by its gaps alone.
        """
        self.told = Told(asked, known)
        self.last_id = 0
        self.is_over = False
        self._deleted_through = deleted_through
        self._missing_through = 0

    def take_all(self, entries: Iterable[events.Logged]) -> None:
        """Take several entries in."""
        for entry in entries:
            self.take(entry)

    def take(self, entry: events.Logged) -> None:
        """Take one entry in. The first one that is not before the end of the span ends it, whatever a clock that is set
        back says of those after it."""
        told = self.told
        if self.is_over or entry.at >= told.asked.until:
            self.is_over = True
            return
        if entry.event_id != self.last_id + 1 or entry.event_id == self._deleted_through + 1 > 1:
            self._miss(entry)
        told.tells_from = told.tells_from or entry.at
        told.entry_before_at, self.last_id = told.at or entry.at, entry.event_id
        if entry.at > told.at:
            told.at = entry.at
        take_in = TAKES.get(type(entry.event))
        if take_in is not None:
            take_in(told, entry.event, told.at)
            told.settle()

    def _miss(self, entry: events.Logged) -> None:
        """Entries are missing before this one: what was counted stands for less than it seems to."""
        told = self.told
        self._missing_through = entry.event_id - 1
        told.tells_from, told.at = entry.at, max(told.at, entry.at)
        told.count_from(max(told.asked.since, told.at))
        for name, known in told.known.items():
            told.changing(name).is_known(known, told.tells_from)
        told.settle()

    def report(self) -> Report:
        """Return the report; nothing can be taken in afterwards that was before the end of the span."""
        return result.report_of(self.told, through=self.last_id, missing_through=self._missing_through)
