"""What follows of a sweep: a node's fault is a finding like every other, a shared one goes to the network's people.

Nothing here takes a node out (I11): a finding is answered by its playbook, within budgets and breakers; an incident of
a link or a switch has no step against any node. A sweep that was broken off says nothing of anybody.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from checks.bench_outcome import Outcome
from checks.bench_result import Benchmark
from checks.finding import Action, Finding, FindingKey, Verdict
from controller.bench_events import BaselineLearnt, BenchStopped
from controller.events import Event, FindingCleared, FindingRaised, IncidentClosed, Reason
from controller.policy.belief import Belief
from controller.policy.benching.findings import GROUP_SLOW, ORIGIN, WHOLE_NODE, WRONG_RESULT, check_of
from controller.policy.fleet_incident import opened
from controller.policy.incident import Incident
from controller.policy.localising.verdicts import Diagnosis, Kind
from controller.policy.localising.verdicts import Verdict as Fault
from controller.policy.places import LEAF
from controller.policy.playbook import SLOW_NETWORK, SWEEP_STOPPED, Playbook, Step, Verb
from controller.policy.sweeping.book import Sweep
from controller.policy.sweeping.judging import across_share, baselines_of
from controller.sweep_events import SweepEnded, SweepVerdict

CHECK = check_of(Benchmark.NCCL_ALL_REDUCE)

_TICKET = Step("ticket", Verb.TICKET, limit_s=300.0, attempts=3, parameters={"team": "network"})
_PAGE = Step("page", Verb.PAGE, limit_s=300.0, attempts=3, parameters={"severity": "critical"})

NETWORK = Playbook(
    name=SLOW_NETWORK,
    summary="A link or a switch slows every group of nodes that goes through it.",
    fault_class=SLOW_NETWORK,
    severity="warning",
    precedence=0,
    answers=(),
    steps=(_TICKET,),
    hand_over=(),
    drain_needed=False,
    runbook="docs/how-to/find-what-is-slow.md",
)
"""What a slow link or switch gets: a ticket for the people of the network, and no step against any node."""

STOPPED = Playbook(
    name=SWEEP_STOPPED,
    summary="So much was slow at once in a sweep that it is no list of single faults.",
    fault_class=SWEEP_STOPPED,
    severity="critical",
    precedence=0,
    answers=(),
    steps=(_PAGE,),
    hand_over=(),
    drain_needed=False,
    runbook="docs/how-to/find-what-is-slow.md",
)
"""What a sweep with too many suspects gets: one page, and no step against any node."""


def given_up(sweep: Sweep) -> Iterator[Event]:
    """Yield the end of a sweep that a person stopped, or that took too long: nothing is said of any node."""
    outcome, because = "timed_out", f"It was not over after {sweep.ends_by - sweep.began_at:.0f} s."
    if sweep.stop_asked:
        outcome, because = "stopped", f"It was stopped by {sweep.stop_asked}."
    for run_id in sweep.runs.values():
        yield BenchStopped(run_id, "fleetmend", f"{sweep.sweep_id}: {because}")
    untested = dict.fromkeys(sweep.state.fabric.nodes, "the sweep was broken off")
    tests, rounds = sweep.state.tests, sweep.state.round
    yield SweepEnded(sweep.sweep_id, outcome, Reason(because), untested=untested, tests=tests, rounds=rounds)


def concluded(belief: Belief, sweep: Sweep, found: Diagnosis, now: float) -> Iterator[Event]:
    """Yield what follows of a diagnosis, and the end of the sweep."""
    if found.stopped is not None:
        yield from _stopped(belief, sweep, found, found.stopped)
        return
    for fault in found.verdicts:
        if fault.kind is Kind.NODE:
            yield _raised(belief, sweep, fault, now)
        elif _answering(belief, fault) is None:
            yield opened(belief, about(belief, fault), fault_class=SLOW_NETWORK, playbook=NETWORK, reason=fault.reason)
    verdicts = [_said(belief, fault) for fault in found.verdicts]
    yield from _cleared(belief, sweep, found, now)
    yield from _mended(belief, sweep, found, {verdict.answered_by for verdict in verdicts})
    for baseline in baselines_of(sweep, belief.bench.baselines, frozenset(found.cleared)):
        because = f"{baseline.peers} groups of {sweep.sweep_id} passed, and so did each of their nodes."
        yield BaselineLearnt(baseline, "fleetmend", because)
    across = across_share(sweep, belief.bench.baselines)
    yield _ended(sweep, found, "done", Reason(_summary(found, across)), verdicts)


def about(belief: Belief, fault: Fault) -> str:
    """Return what the incident of a link or a switch is about: `leaf=leaf-3`, `link=n7 rail 3`."""
    part = " and ".join(fault.parts)
    kind = LEAF if fault.kind is Kind.SWITCH and (LEAF, part) in belief.residents else str(fault.kind)
    return f"{kind}={part}"


def _answering(belief: Belief, fault: Fault) -> Incident | None:
    here = about(belief, fault)
    return next((i for i in belief.open_on("") if i.playbook.name == SLOW_NETWORK and i.device == here), None)


def _said(belief: Belief, fault: Fault) -> SweepVerdict:
    incident = None if fault.kind is Kind.NODE else _answering(belief, fault)
    return SweepVerdict(
        str(fault.kind),
        list(fault.parts),
        list(fault.nodes),
        list(fault.rails),
        fault.reason,
        incident.id if incident is not None else "",
    )


def _raised(belief: Belief, sweep: Sweep, fault: Fault, now: float) -> FindingRaised:
    node = belief.node(fault.nodes[0])
    code, because = GROUP_SLOW, fault.reason.because
    wrong = _wrong(sweep, fault)
    if wrong:
        code, because = WRONG_RESULT, f"{node.name} was in every group whose sums were wrong: {wrong}."
    evidence = {**fault.reason.inputs, "sweep": sweep.sweep_id}
    finding = Finding(CHECK, WHOLE_NODE, code, Verdict.FAILED, Action.CONTACT_SUPPORT, because, evidence=evidence)
    return FindingRaised(node.name, node.boot_id, finding, now, ORIGIN)


def _wrong(sweep: Sweep, fault: Fault) -> str:
    """Return what the ranks saw themselves in most of the groups that condemn the node, empty when nothing."""
    numbers = [int(number) for number in fault.reason.inputs["groups"].split(", ")]
    seen = [sweep.measured[number] for number in numbers if number in sweep.measured]
    wrong = [ended.because for ended in seen if ended.outcome == Outcome.FAIL]
    return wrong[0] if 2 * len(wrong) > len(numbers) else ""


def _cleared(belief: Belief, sweep: Sweep, found: Diagnosis, now: float) -> Iterator[FindingCleared]:
    key = FindingKey(CHECK, WHOLE_NODE, GROUP_SLOW)
    for name in found.cleared:
        node = belief.nodes.get(name)
        if node is not None and key in node.findings:
            yield FindingCleared(name, key, f"{sweep.sweep_id}: groups with it are well.", now, ORIGIN)


def _mended(belief: Belief, sweep: Sweep, found: Diagnosis, standing: set[str]) -> Iterator[IncidentClosed]:
    """Yield the end of incidents whose nodes all took part again, in groups that are well."""
    well = set(found.cleared)
    crosses = len(sweep.state.fabric.units) > 1
    for incident in belief.open_on(""):
        nodes = belief.sweeps.faults.get(incident.id, ())
        is_fault = incident.playbook.name == SLOW_NETWORK and incident.id not in standing and nodes
        is_over = is_fault and well.issuperset(nodes) and (crosses or len(nodes) == 1)
        if (is_over or incident.playbook.name == SWEEP_STOPPED) and incident.intent is None:
            because = f"{sweep.sweep_id} went through all of it, and nothing of it is slow any more."
            if incident.playbook.name == SWEEP_STOPPED:
                because = f"{sweep.sweep_id} came to its end."
            yield IncidentClosed(incident.id, "recovered", Reason(because))


def _stopped(belief: Belief, sweep: Sweep, found: Diagnosis, why: Reason) -> Iterator[Event]:
    """Yield one page, unless one is open already."""
    asking = _asking(belief)
    if asking is None:
        yield opened(belief, f"sweep={sweep.sweep_id}", fault_class=SWEEP_STOPPED, playbook=STOPPED, reason=why)
        asking = _asking(belief)
    yield _ended(sweep, found, "too_many", why, (), asks=asking.id if asking is not None else "")


def _asking(belief: Belief) -> Incident | None:
    return next((i for i in belief.open_on("") if i.playbook.name == SWEEP_STOPPED and not i.stop_asked), None)


def _ended(
    sweep: Sweep,
    found: Diagnosis,
    outcome: str,
    reason: Reason,
    verdicts: Sequence[SweepVerdict],
    *,
    asks: str = "",
) -> SweepEnded:
    return SweepEnded(
        sweep.sweep_id,
        outcome,
        reason,
        list(verdicts),
        list(found.cleared),
        dict(found.untested),
        dict(found.doubts),
        found.tests,
        found.rounds,
        asks,
    )


def _summary(found: Diagnosis, across: float | None) -> str:
    nothing = "nothing is slow" if found.cleared else "nothing can be told"
    parts = "; ".join(" or ".join(fault.parts) for fault in found.verdicts)
    faults = f"at fault ({parts})" if parts else nothing
    rest = [
        f"{len(nodes)} {what}"
        for what, nodes in (("cleared", found.cleared), ("untested", found.untested), ("in doubt", found.doubts))
        if nodes
    ]
    said = f"{faults}: {', '.join(rest) or 'no node was tested'}, in {found.tests} groups and {found.rounds} rounds."
    if across is None:
        return said
    return (
        f"{said} Across the leaves groups reached {across:.0%} of what they reach below them, and no baseline says "
        "that it was ever more: so the network is built, or all of its spines are slow."
    )
