"""What happened since this process began to lead, counted as it is committed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from controller import bench_events, events, notice_events
from controller.cell import Cell
from controller.events import Event, Logged
from controller.metrics import catalogue
from controller.metrics.catalogue import BY_NAME
from controller.policy.noticing.book import PAGE, TICKET
from controller.policy.noticing.routing import NoticeRules
from controller.policy.outbreaks import family_of
from controller.policy.playbook import Verb
from wire.metrics import OTHER, Distribution, LabelValues, Values, known_or_other

_COUNTED = (
    "fleetmend_findings_raised_total",
    "fleetmend_findings_cleared_total",
    "fleetmend_incidents_opened_total",
    "fleetmend_operator_acts_total",
    "fleetmend_bench_results_total",
)
_OBSERVED = ("fleetmend_incident_duration_seconds", "fleetmend_step_duration_seconds")


@dataclass(frozen=True, slots=True)
class _Begun:
    key: str
    verb: str
    at: float


@dataclass(slots=True)
class Tally:
    """Hears every entry that the cell commits.

    Attributes:
        notices: name the destinations of tickets and pages.
        counts: metric → its series.
        seen: the same of histograms.
    """

    cell: Cell
    notices: NoticeRules = field(default_factory=NoticeRules)
    counts: dict[str, Counter[LabelValues]] = field(default_factory=dict)
    seen: dict[str, dict[LabelValues, Distribution]] = field(default_factory=dict)
    _begun: dict[str, _Begun] = field(default_factory=dict)
    """Incident → its step under way."""
    _observed: dict[str, float] = field(default_factory=dict)
    """Incident whose node is not out yet → when its fault was first observed."""

    def __post_init__(self) -> None:
        """Begin at nothing; what can be known to come is there at zero, so that its first increase is seen."""
        for name in _COUNTED:
            self._begin(name, [])
        for name in _OBSERVED:
            self.seen[name] = {}
        self._begin("fleetmend_steps_total", [(verb, end) for verb in Verb for end in catalogue.STEP_OUTCOMES])
        names = [(kind, rule.name) for kind in (TICKET, PAGE) for rule in self.notices.destinations(kind)]
        self._begin("fleetmend_notices_total", [(*name, news) for name in names for news in catalogue.NOTICE_NEWS])
        failures = [(*name, outcome) for name in names for outcome in catalogue.NOTICE_FAILURES]
        self._begin("fleetmend_notice_failures_total", failures)
        self._begin("fleetmend_incidents_closed_total", [(outcome,) for outcome in catalogue.INCIDENT_OUTCOMES])
        self._begin("fleetmend_agent_starts_total", [("false",), ("true",)])
        for name in ("fleetmend_detection_seconds", "fleetmend_isolation_seconds"):
            self.seen[name] = {(): Distribution(BY_NAME[name].buckets)}

    def resume(self) -> None:
        """Take up the steps that an earlier controller began."""
        for incident in self.cell.belief.open_incidents.values():
            if incident.intent is not None:
                self._begun[incident.id] = _Begun(incident.intent.key, incident.intent.verb, incident.intent_at)

    def note(self, entry: Logged) -> None:
        """An entry was committed."""
        match entry.event:
            case events.FindingRaised() as raised:
                self._raised(raised, entry.at)
            case events.FindingCleared(key=key):
                self._count("fleetmend_findings_cleared_total", _family(key.check))
            case events.IncidentOpened() as opened:
                self._opened(opened, entry.at)
            case events.StepIntended() as intended:
                self._begun[intended.incident_id] = _Begun(intended.key, intended.verb, entry.at)
            case events.StepEnded() as ended:
                self._ended(ended, entry.at)
            case events.IncidentClosed() as closed:
                self._closed(closed, entry.at)
            case other:
                self._count_others(other)

    def values(self) -> Values:
        """Return everything as it is now, for whoever reads it on another thread."""
        counted: Values = {name: dict(series) for name, series in self.counts.items()}
        return counted | {
            name: {labels: each.copy() for labels, each in series.items()} for name, series in self.seen.items()
        }

    def _raised(self, event: events.FindingRaised, at: float) -> None:
        origin = known_or_other(event.origin, catalogue.ORIGINS)
        self._count("fleetmend_findings_raised_total", _family(event.finding.check), event.finding.verdict, origin)
        if event.origin == "edge":
            self._observe("fleetmend_detection_seconds", max(0.0, at - event.observed_at))

    def _opened(self, event: events.IncidentOpened, at: float) -> None:
        name = "fleetmend_incidents_opened_total"
        known = self.counts[name]
        is_new = (event.fault_class,) not in known
        self._count(name, OTHER if is_new and len(known) >= catalogue.MOST_CLASSES - 1 else event.fault_class)
        node = self.cell.belief.nodes.get(event.node)
        standing = node.findings if node is not None else {}
        seen = [raised.observed_at for each in event.findings if (raised := standing.get(each.key)) is not None]
        self._observed[event.incident_id] = min(seen, default=at)

    def _ended(self, event: events.StepEnded, at: float) -> None:
        begun = self._begun.get(event.incident_id)
        if begun is None or begun.key != event.key:
            return
        del self._begun[event.incident_id]
        self._count("fleetmend_steps_total", begun.verb, event.outcome)
        self._observe("fleetmend_step_duration_seconds", at - begun.at, begun.verb)
        if begun.verb == Verb.CORDON and event.outcome == "done":
            observed_at = self._observed.pop(event.incident_id, None)
            if observed_at is not None:
                self._observe("fleetmend_isolation_seconds", max(0.0, at - observed_at))

    def _closed(self, event: events.IncidentClosed, at: float) -> None:
        self._begun.pop(event.incident_id, None)
        self._observed.pop(event.incident_id, None)
        outcome = known_or_other(event.outcome, catalogue.INCIDENT_OUTCOMES)
        self._count("fleetmend_incidents_closed_total", outcome)
        incident = self.cell.belief.incidents.get(event.incident_id)
        if incident is not None:
            self._observe("fleetmend_incident_duration_seconds", at - incident.opened_at, outcome)

    def _count_others(self, event: Event) -> None:
        match event:
            case events.OperatorActed(verb=verb) | events.ActCarried(act=events.OperatorActed(verb=verb)):
                self._count("fleetmend_operator_acts_total", known_or_other(verb, catalogue.ACTS))
            case events.AgentStarted(rebooted=rebooted):
                self._count("fleetmend_agent_starts_total", "true" if rebooted else "false")
            case bench_events.BenchJudged(benchmark=benchmark, outcome=outcome):
                self._count("fleetmend_bench_results_total", benchmark, outcome)
            case notice_events.NoticeFiled() as filed:
                self._count("fleetmend_notices_total", filed.kind, filed.destination, _news(filed))
            case notice_events.NoticeTold() as told:
                self._count("fleetmend_notices_total", told.kind, told.destination, "told")
            case notice_events.NoticeClosed() as closed:
                self._count("fleetmend_notices_total", closed.kind, closed.destination, "closed")
            case notice_events.NoticeFailed() as failed:
                outcome = known_or_other(failed.outcome, catalogue.NOTICE_FAILURES)
                self._count("fleetmend_notice_failures_total", failed.kind, failed.destination, outcome)

    def _begin(self, name: str, series: Iterable[LabelValues]) -> None:
        self.counts[name] = Counter(dict.fromkeys(series, 0))

    def _count(self, name: str, *labels: str) -> None:
        self.counts[name][labels] += 1

    def _observe(self, name: str, value: float, *labels: str) -> None:
        series = self.seen[name]
        if labels not in series:
            series[labels] = Distribution(BY_NAME[name].buckets)
        series[labels].observe(value)


def _news(filed: notice_events.NoticeFiled) -> str:
    """Return what was made of a notice: nothing new where it joined another one, or was there already."""
    if filed.joined or filed.found:
        return "joined" if filed.joined else "found"
    return "escalated" if filed.escalates else "filed"


def _family(check: str) -> str:
    return known_or_other(family_of(check), catalogue.ALL_FAMILIES)
