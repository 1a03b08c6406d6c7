"""The log as people read it: one headline an entry, with the recorded reason beside it."""

from __future__ import annotations

from functools import singledispatch

from checks.bench_outcome import Outcome
from checks.finding import FindingKey
from controller import bench_events, enrolment_events, events, notice_events, sweep_events
from controller.api.moments import iso
from controller.api.phrases import sentence_case
from controller.api.shapes import TimelineEntry
from controller.events import Event, Logged, Reason, incident_of, kind_of, node_of
from wire.evidence import size_text


def entry_of(logged: Logged, trace_id: str = "") -> TimelineEntry:
    """Return one log entry for the timeline."""
    event = logged.event
    reason = _reason_of(event)
    return TimelineEntry(
        logged.event_id,
        iso(logged.at),
        kind_of(event),
        node_of(event),
        incident_of(event),
        headline(event),
        reason.because,
        dict(reason.inputs),
        reason.unless,
        trace_id,
    )


def _reason_of(event: Event) -> Reason:
    recorded = getattr(event, "reason", None)
    if isinstance(recorded, Reason):
        return recorded
    if isinstance(event, events.FindingRaised):
        return Reason(event.finding.because, dict(event.finding.evidence))
    return Reason(str(getattr(event, "because", "")))


def _named(check: str, device: str, code: str) -> str:
    return f"{check} {code}".strip() + f" on {device}"


def _key(key: FindingKey) -> str:
    return _named(key.check, key.device, key.code)


_ENDED = {
    "done": "done",
    "failed": "failed",
    "refused": "was refused",
    "timed_out": "ran out of time",
    "in_doubt": "may or may not have happened",
}


_PROGRESS = {
    "delayed": "failed and is tried again",
    "accepted": "was taken up",
    "waiting": "goes on",
    "in_doubt": "may or may not have happened; the node is watched",
}


_SENT = {"sent": "was sent", "delayed": "cannot be taken now, and is tried again"}


@singledispatch
def headline(event: object) -> str:
    """Return what happened, in a few words."""
    raise TypeError(f"no headline for {type(event).__name__}")


@headline.register
def _(event: events.NodeSeen) -> str:
    gpus = f", {event.facts.gpu_count} × {event.facts.gpu_model}" if event.facts.gpu_count else ""
    return f"{event.node} said what it is{gpus}"


@headline.register
def _(event: events.NodePlaced) -> str:
    places = ", ".join(f"{kind} {', '.join(names)}" for kind, names in sorted(event.places.items()))
    return f"{event.source} places {event.node} in {places or 'nothing any more'}"


@headline.register
def _(event: events.FindingRaised) -> str:
    return f"Found {event.finding.verdict}: {_key(event.finding.key)}"


@headline.register
def _(event: events.FindingCleared) -> str:
    return f"Cleared: {_key(event.key)}"


@headline.register
def _(event: events.FindingLeft) -> str:
    return f"Left: {_key(event.key)}"


@headline.register
def _(event: events.PlaybooksTrusted) -> str:
    names = sorted(playbook.name for playbook in event.playbooks)
    return f"Trusted: {', '.join(names) if len(names) < 4 else f'{len(names)} playbooks'}"


@headline.register
def _(event: events.RolloutBegan) -> str:
    return f"A new text of {event.playbook.name} is tried: {event.playbook.digest[:12]}"


@headline.register
def _(event: events.RolloutSettled) -> str:
    return f"The new text of {event.name} is {event.outcome}"


@headline.register
def _(_event: events.RulesLoaded) -> str:
    return "Other rules decide from here on"


@headline.register
def _(event: events.ClockSet) -> str:
    return f"The controller's clock was set by {event.step_s:+.0f} s"


@headline.register
def _(event: events.LogRestored) -> str:
    return f"Restored from a backup that ends with entry {event.through}"


@headline.register
def _(event: events.CheckLevelsChanged) -> str:
    unwell = sorted(name for name, level in event.checks.items() if level.verdict != "ok")
    return f"Checks changed; not ok: {', '.join(unwell)}" if unwell else "Checks changed; every check is ok"


@headline.register
def _(event: events.AgentStarted) -> str:
    return f"The agent started, version {event.version}, {'after a reboot' if event.rebooted else 'on the same boot'}"


@headline.register
def _(event: events.AgentToldUnknown) -> str:
    return f"{event.node} told {event.told!r}, which is kept unread"


@headline.register
def _(event: events.PresenceChanged) -> str:
    return f"{event.node} is {event.state}"


@headline.register
def _(event: events.OrderEnded) -> str:
    return f"{event.node} answered order {event.order_id}: {event.outcome}"


@headline.register
def _(event: events.EvidenceEnded) -> str:
    return f"The evidence of {event.node} {_SENT.get(event.outcome, 'could not be sent')}"


@headline.register
def _(event: events.EvidenceStored) -> str:
    return f"The evidence of {event.node} is kept: {size_text(event.size_bytes)}, {event.url}"


@headline.register
def _(event: events.EvidenceRemoved) -> str:
    return f"The evidence of {event.node} was deleted"


@headline.register
def _(event: events.ScheduleObserved) -> str:
    jobs = f", jobs {', '.join(event.jobs)}" if event.jobs else ""
    return f"The scheduler sees {event.node} as {'schedulable' if event.schedulable else 'held out'}{jobs}"


@headline.register
def _(event: events.BmcObserved) -> str:
    says = "could not be asked" if event.power == "unknown" else f"says that its power is {event.power}"
    return f"The BMC of {event.node} {says}"


@headline.register
def _(event: events.PeersObserved) -> str:
    if event.reached_by:
        return f"{', '.join(event.reached_by)} reached the host of {event.node}"
    if event.unreached_by:
        return f"{', '.join(event.unreached_by)} reached each other, and not the host of {event.node}"
    return f"No other node can tell whether the host of {event.node} answers"


@headline.register
def _(event: events.OperatorActed) -> str:
    return f"{event.by} asked: {event.verb} {event.subject or 'fleet'}"


@headline.register
def _(event: events.ActProposed) -> str:
    return f"{event.by} proposed: {event.act.verb} {event.act.subject}"


@headline.register
def _(event: events.ActAgreed) -> str:
    return f"{event.by} said yes to {event.proposal_id}"


@headline.register
def _(event: events.ActWithdrawn) -> str:
    return f"{event.by} took {event.proposal_id} back"


@headline.register
def _(event: events.ActCarried) -> str:
    return f"{' and '.join(event.agreed_by)} had agreed: {event.act.verb} {event.act.subject}"


@headline.register
def _(event: events.ActLapsed) -> str:
    return f"Too few agreed to {event.proposal_id}"


@headline.register
def _(event: events.DrillStarted) -> str:
    return f"Drill: {event.by} had {event.fault} injected into {event.node}"


@headline.register
def _(event: events.IncidentOpened) -> str:
    return f"Incident opened: {event.fault_class} on {event.device}, answered by {event.playbook.name}"


@headline.register
def _(event: events.IncidentJoined) -> str:
    return f"Joined: {_key(event.finding.key)}"


@headline.register
def _(event: events.IncidentSuperseded) -> str:
    return f"Superseded by {event.by}"


@headline.register
def _(event: events.IncidentReclassified) -> str:
    return f"Now {event.fault_class}, answered by {event.playbook.name}"


@headline.register
def _(event: events.IncidentWaiting) -> str:
    return f"Waits for {event.for_what}"


@headline.register
def _(event: events.StepIntended) -> str:
    again = f", attempt {event.attempt}" if event.attempt > 1 else ""
    return f"{sentence_case(event.step)} begins{again}"


@headline.register
def _(event: events.StepProgressed) -> str:
    return f"{sentence_case(event.step)} {_PROGRESS.get(event.state, event.state)}"


@headline.register
def _(event: events.StepEnded) -> str:
    return f"{sentence_case(event.step)} {_ENDED.get(event.outcome, event.outcome)}"


@headline.register
def _(event: events.StepSkipped) -> str:
    return f"{sentence_case(event.step)} skipped"


@headline.register
def _(event: events.IncidentHandedOver) -> str:
    return f"{event.incident_id} is handed to people"


@headline.register
def _(event: events.IncidentReturning) -> str:
    return f"{event.incident_id}: the way back into service begins"


@headline.register
def _(event: events.IncidentReleasing) -> str:
    return f"{event.incident_id}: giving the node back at once"


@headline.register
def _(event: events.IncidentAborted) -> str:
    return f"{event.incident_id} was aborted; the node stays out"


@headline.register
def _(event: events.IncidentClosed) -> str:
    return f"Closed: {event.outcome.replace('_', ' ')}"


@headline.register
def _(event: bench_events.BenchAsked) -> str:
    return f"{event.by} asked for {', '.join(event.benchmarks)} on {_nodes(event.nodes)}, {event.run_id}"


@headline.register
def _(event: bench_events.BenchWaiting) -> str:
    return f"{event.run_id} waits for {event.for_what}"


@headline.register
def _(event: bench_events.BenchStopped) -> str:
    return f"{event.by} stopped {event.run_id}"


@headline.register
def _(event: bench_events.LeaseGranted) -> str:
    return f"{_nodes(event.nodes)} may run {event.benchmark}, tier {event.tier}, until {iso(event.expires_at)}"


@headline.register
def _(event: bench_events.LeaseEnded) -> str:
    return f"{event.lease_id} is {event.outcome}"


@headline.register
def _(event: bench_events.BenchEnded) -> str:
    outcome = "measured, to be judged" if event.result.outcome is Outcome.PASS else event.result.outcome
    return f"{event.node} came back from {event.result.benchmark}: {outcome}"


@headline.register
def _(event: bench_events.BenchJudged) -> str:
    return f"{event.benchmark} on {event.node}: {event.outcome}"


@headline.register
def _(event: bench_events.BenchRunEnded) -> str:
    return f"{event.run_id} ended: {event.outcome}"


@headline.register
def _(event: bench_events.BaselineLearnt) -> str:
    known = event.baseline
    return f"Learnt from {known.peers} peers: {known.fingerprint.metric} is {known.median:g}"


@headline.register
def _(event: bench_events.BaselineForgotten) -> str:
    return f"Forgotten: what peers reach in {event.baseline.fingerprint.metric}"


@headline.register
def _(event: bench_events.FleetShifted) -> str:
    return f"The fleet moved in {event.baseline.fingerprint.metric} by {event.shift.by:+.1%}"


@headline.register
def _(event: bench_events.FleetSettled) -> str:
    return f"The fleet is where it was in {event.baseline.fingerprint.metric}"


@headline.register
def _(event: bench_events.GoldenAgreed) -> str:
    return f"{len(event.peers)} peers compute the same: {event.kind}"


@headline.register
def _(event: sweep_events.SweepAsked) -> str:
    return f"{event.by} asked for a sweep over {_nodes(event.nodes)}"


@headline.register
def _(event: sweep_events.SweepBegan) -> str:
    return f"{event.sweep_id} begins over {_nodes(list(event.fabric.nodes))}"


@headline.register
def _(event: sweep_events.SweepRoundBegan) -> str:
    return f"{event.sweep_id}, round {event.round}: {len(event.groups)} groups"


@headline.register
def _(event: sweep_events.SweepGroupBegan) -> str:
    return f"{event.sweep_id}: group {event.group} is to be run"


@headline.register
def _(event: sweep_events.SweepGroupMet) -> str:
    return f"{event.sweep_id}: rank 0 of group {event.group} waits for the others"


@headline.register
def _(event: sweep_events.SweepGroupEnded) -> str:
    said = "was measured" if event.outcome == Outcome.PASS else f"ended: {event.outcome}"
    return f"{event.sweep_id}: group {event.group} {said}"


@headline.register
def _(event: sweep_events.SweepNodeLeft) -> str:
    return f"{event.node} left {event.sweep_id}"


@headline.register
def _(event: sweep_events.SweepRoundJudged) -> str:
    slow = sum(result.outcome is Outcome.FAIL for result in event.results)
    return f"{event.sweep_id}, round {event.round}: {slow} of {len(event.results)} groups are slow"


@headline.register
def _(event: sweep_events.SweepStopAsked) -> str:
    return f"{event.by} stopped {event.sweep_id}"


@headline.register
def _(event: sweep_events.SweepEnded) -> str:
    return f"{event.sweep_id} ended: {event.outcome.replace('_', ' ')}"


@headline.register
def _(event: notice_events.NoticeFiled) -> str:
    if event.joined:
        return f"{sentence_case(event.kind)} {event.reference} in {event.destination} takes it too"
    found = "was there already" if event.found else "filed"
    return f"{sentence_case(event.kind)} {found} in {event.destination}: {event.reference}"


@headline.register
def _(event: notice_events.NoticeTold) -> str:
    return f"{sentence_case(event.kind)} {event.reference} in {event.destination}: {event.news}"


@headline.register
def _(event: notice_events.NoticeClosed) -> str:
    return f"{sentence_case(event.kind)} {event.reference} in {event.destination} closed"


@headline.register
def _(event: notice_events.NoticeHeard) -> str:
    by = f" by {event.by}" if event.by else ""
    return f"{sentence_case(event.kind)} {event.reference} is {event.state} in {event.destination}{by}"


_NOT_TAKEN = {"filed": "was not taken", "told": "was not told the news", "closed": "was not closed"}


@headline.register
def _(event: notice_events.NoticeFailed) -> str:
    again = ", and is tried again" if event.retry_at else ""
    return f"{sentence_case(event.kind)} {_NOT_TAKEN.get(event.what, event.what)} in {event.destination}{again}"


@headline.register
def _(event: enrolment_events.EnrolmentGranted) -> str:
    return f"{event.node} enrols{' again' if event.again else ''} by token {event.token_id}"


@headline.register
def _(event: enrolment_events.CertificateIssued) -> str:
    how = "enrolled" if event.token_id else "renewed its certificate"
    return f"{event.node} {how}, serial {event.serial[:16]}, good until {iso(event.expires_at)}"


@headline.register
def _(event: enrolment_events.EnrolmentRefused) -> str:
    many = f" ({event.attempts} attempts)" if event.attempts > 1 else ""
    return f"Refused to {event.what}: {event.claimed or 'nobody'} from {event.address}{many}"


def _nodes(names: list[str]) -> str:
    return ", ".join(names) if len(names) < 4 else f"{len(names)} nodes"
