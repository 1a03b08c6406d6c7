"""When many peers moved at once: one event and one page for the fleet, and no node is blamed. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from checks.bench_baseline import Baseline, Fingerprint, FleetShift, fleet_shift
from checks.finding import FindingKey
from controller import events
from controller.bench_events import FleetSettled, FleetShifted
from controller.policy.belief import Belief
from controller.policy.benching.findings import ORIGIN
from controller.policy.fleet_incident import opened
from controller.policy.playbook import BENCH_SHIFT_CLASS, Playbook, Step, Verb

NEWEST_PEERS = 16
"""So many of those that were measured last tell whether the fleet moved. Source: our choice; twice the least number, so
that four of them show it, before more nodes than three were blamed for it."""

BENCH_SHIFT = Playbook(
    name=BENCH_SHIFT_CLASS,
    summary="Many nodes became slower or faster at once: the driver, NCCL, the fabric or a limit changed, not they.",
    fault_class=BENCH_SHIFT_CLASS,
    severity="warning",
    precedence=0,
    answers=(),
    steps=(Step("page", Verb.PAGE, limit_s=300.0, attempts=3, parameters={"severity": "warning"}),),
    hand_over=(),
    drain_needed=False,
)


def shifts(belief: Belief, node: str, values: dict[Fingerprint, float], now: float) -> Iterator[events.Event]:
    """Yield which baselines the fleet has left, or is back at, once this node's values are known too."""
    for fingerprint, value in values.items():
        baseline = belief.bench.baselines.get(fingerprint)
        if baseline is None:
            continue
        newest = newest_of(belief, fingerprint) | {node: value}
        shift = fleet_shift(baseline, newest)
        if shift is not None and fingerprint not in belief.bench.shifts:
            yield from _shifted(belief, baseline, shift, newest, now)
        elif shift is None and fingerprint in belief.bench.shifts:
            because = f"{len(newest)} peers were measured last, and are where they were when the baseline was learnt."
            yield FleetSettled(baseline, because)


def newest_of(belief: Belief, fingerprint: Fingerprint) -> dict[str, float]:
    """Return the newest value of each of the nodes that were measured last."""
    samples = belief.bench.samples.get(fingerprint, {})
    return {node: samples[node][-1] for node in list(samples)[-NEWEST_PEERS + 1 :]}


def _shifted(
    belief: Belief, baseline: Baseline, shift: FleetShift, newest: dict[str, float], now: float
) -> Iterator[events.Event]:
    metric = baseline.fingerprint.metric
    reason = events.Reason(
        f"{metric}: {shift.because}",
        {
            "metric": metric,
            "sku": baseline.fingerprint.sku,
            "driver": baseline.fingerprint.driver,
            "nccl": baseline.fingerprint.nccl,
            "size_bytes": str(baseline.fingerprint.size_bytes),
            "median": f"{baseline.median:g}",
            "peers": ", ".join(sorted(newest)),
        },
        "at most a fifth of the peers had moved the same way",
    )
    yield FleetShifted(baseline, shift, reason)
    if all(incident.fault_class != BENCH_SHIFT_CLASS for incident in belief.open_on("")):
        yield opened(belief, f"metric={metric}", fault_class=BENCH_SHIFT_CLASS, playbook=BENCH_SHIFT, reason=reason)
    for node, key in _blamed(belief, newest, metric):
        yield events.FindingCleared(node, key, f"{metric}: {shift.because}", now, origin=ORIGIN)


def _blamed(belief: Belief, newest: dict[str, float], metric: str) -> list[tuple[str, FindingKey]]:
    """Return the findings of nodes that were blamed for it before so many had moved that it showed."""
    known = [belief.nodes[node] for node in newest if node in belief.nodes]
    return [
        (node.name, key)
        for node in known
        for key, raised in node.findings.items()
        if raised.origin == ORIGIN and key.code == metric
    ]


def settled(belief: Belief) -> Iterator[events.Event]:
    """Yield the end of the incident of a fleet that moved, once it is back everywhere, or has other baselines."""
    for incident in belief.open_on(""):
        if incident.fault_class == BENCH_SHIFT_CLASS and not belief.bench.shifts and incident.step() is None:
            yield events.IncidentClosed(
                incident.id, "recovered", events.Reason("The fleet is where its baselines are, or has others.")
            )
