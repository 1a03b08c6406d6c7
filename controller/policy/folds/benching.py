"""Active benchmarks: runs that were asked for, leases, what came back, what was judged and learnt."""

from __future__ import annotations

import math

from checks.bench_outcome import Outcome
from controller import bench_events as events
from controller.events import OrderEnded
from controller.policy.belief import Belief
from controller.policy.benching import book, golden
from controller.policy.benching.judging import values_by_fingerprint
from controller.policy.benching.orders import lease_of_order
from controller.policy.folds import admissions, steps


def asked(belief: Belief, event: events.BenchAsked, at: float) -> None:
    """Note a run; one of a name that is known already changes nothing."""
    bench = belief.bench
    if event.run_id in bench.runs:
        return
    bench.asked += 1
    run = book.BenchRun(
        event.run_id,
        tuple(event.nodes),
        tuple(event.benchmarks),
        event.tier,
        event.purpose,
        event.by,
        event.because,
        at,
        incident_id=event.incident_id,
        options=dict(event.options),
        together=event.together,
        wait_s=event.wait_s,
    )
    groups = [run.nodes] if run.together else [(node,) for node in run.nodes]
    run.left = {book.Turn(nodes, benchmark): 0.0 for nodes in groups for benchmark in run.benchmarks}
    bench.runs[run.run_id] = run
    bench.open_runs[run.run_id] = None
    if event.gpu_minutes > 0.0:
        bench.outlay.reserve(run.run_id, event.gpu_minutes)


def waiting(belief: Belief, event: events.BenchWaiting, _at: float) -> None:
    """Note what a run waits for."""
    run = belief.bench.runs[event.run_id]
    run.waiting_for, run.waiting = event.for_what, event.reason.because


def stopped(belief: Belief, event: events.BenchStopped, _at: float) -> None:
    """Begin nothing more of a run."""
    run = belief.bench.runs.get(event.run_id)
    if run is not None and not run.ended_at:
        run.stopped = event.because or f"{event.by} stopped it"
        run.left.clear()


def granted(belief: Belief, event: events.LeaseGranted, at: float) -> None:
    """Note a lease."""
    bench, run = belief.bench, belief.bench.runs[event.run_id]
    nodes = tuple(event.nodes)
    bench.granted += 1
    bench.leases[event.lease_id] = book.Lease(
        event.lease_id, event.run_id, nodes, event.benchmark, event.tier, at, event.expires_at, event.incident_id
    )
    bench.leased.update(dict.fromkeys(nodes, event.lease_id))
    run.left.pop(book.Turn(nodes, event.benchmark), None)
    run.leases[event.lease_id] = None
    if not run.left:
        run.waiting_for = run.waiting = ""


def lease_ended(belief: Belief, event: events.LeaseEnded, at: float) -> None:
    """The nodes of a lease are free of it."""
    lease = belief.bench.leases.pop(event.lease_id, None)
    if lease is None:
        return
    gpus = sum(belief.nodes[node].facts.gpu_count for node in lease.nodes if node in belief.nodes)
    belief.bench.outlay.use(lease.run_id, gpus * (at - lease.granted_at) / 60.0)
    for node in lease.nodes:
        belief.bench.leased.pop(node, None)
    if event.outcome == "expired":
        belief.bench.late[event.lease_id] = lease
        for lease_id in list(belief.bench.late)[: -book.LATE_KEPT]:
            del belief.bench.late[lease_id]
    run = belief.bench.runs[lease.run_id]
    run.leases.pop(event.lease_id, None)
    if run.together:
        run.results.update(lease.results)


def ended(belief: Belief, event: events.BenchEnded, _at: float) -> None:
    """Keep what a node came back with until it is judged; what has no lease of its own proves nothing."""
    lease = belief.bench.lease(event.lease_id)
    if lease is None or event.node not in lease.nodes or event.result.benchmark != lease.benchmark:
        return
    if event.node not in lease.results:
        lease.results[event.node] = event
        belief.bench.unjudged[event.lease_id, event.node] = None


def order_ended(belief: Belief, event: OrderEnded, at: float) -> None:
    """Take in how an order ended: that of a step, or that of a benchmark which never gave a result."""
    steps.order_ended(belief, event, at)
    lease = belief.bench.leases.get(lease_of_order(event.order_id))
    if lease is None or event.node not in lease.nodes or event.outcome == "accepted":
        return
    lease.refused.setdefault(event.node, (event.outcome, event.because))
    if event.node not in lease.results:
        belief.bench.unjudged[lease.lease_id, event.node] = None


def judged(belief: Belief, event: events.BenchJudged, at: float) -> None:
    """Keep what a result means."""
    bench = belief.bench
    lease, run = bench.lease(event.lease_id), bench.runs.get(event.run_id)
    bench.unjudged.pop((event.lease_id, event.node), None)
    if lease is not None:
        lease.judged[event.node] = None
    if run is not None:
        _note_turn(run, event)
    _note_samples(bench, event)
    if event.digest and event.is_peer:
        golden.vote(bench, event.node, event.machine, event.digest)
    if event.outcome == Outcome.SKIP or (run is not None and run.together):
        return
    kept = book.Kept(
        at,
        belief.last_event_id,
        event.run_id,
        event.lease_id,
        event.outcome,
        event.because,
        _headline(event),
        has_limit=_has_limit(event),
    )
    before = bench.newest.setdefault(event.node, {}).get(event.benchmark)
    if before is not None:
        history = bench.history.setdefault(event.node, {}).setdefault(event.benchmark, [])
        history.append(book.Past(before.at, before.outcome))
        del history[: -book.HISTORY_KEPT]
    bench.newest[event.node][event.benchmark] = kept
    if event.outcome == Outcome.PASS:
        bench.passed.setdefault(event.node, {})[event.benchmark] = at


def _note_turn(run: book.BenchRun, event: events.BenchJudged) -> None:
    run.outcomes.setdefault(event.node, {})[event.benchmark] = event.outcome
    run.sentences.setdefault(event.node, {})[event.benchmark] = event.because
    turn = book.Turn(run.nodes if run.together else (event.node,), event.benchmark)
    run.left.pop(turn, None)
    if event.again_at and not run.stopped:
        run.left[turn] = event.again_at
    if event.lease_id and event.outcome in {Outcome.PASS, Outcome.WARN, Outcome.FAIL}:
        run.failed.setdefault(turn, []).append(list(event.failing))


def _note_samples(bench: book.BenchBook, event: events.BenchJudged) -> None:
    """Keep what each fingerprint's newest peers reached."""
    for fingerprint, value in values_by_fingerprint(event.numbers).items():
        nodes = bench.samples.pop(fingerprint, {})
        bench.samples[fingerprint] = nodes
        nodes[event.node] = [*nodes.pop(event.node, []), value][-book.VALUES_KEPT :]
        healthy = bench.peers.setdefault(fingerprint, {})
        healthy.pop(event.node, None)
        if event.is_peer:
            healthy[event.node] = None
        for node in list(nodes)[: -book.PEERS_KEPT]:
            del nodes[node]
            healthy.pop(node, None)
    for fingerprint in list(bench.samples)[: -book.FINGERPRINTS_KEPT]:
        del bench.samples[fingerprint]
        bench.peers.pop(fingerprint, None)


def _has_limit(event: events.BenchJudged) -> bool:
    """Return whether any number was held against anything; what warns for the lack of a limit says nothing."""
    return not event.numbers or bool(event.faults) or any(each.outcome for each in event.numbers)


def _headline(event: events.BenchJudged) -> dict[str, float]:
    """Return metric → the first value of the worst outcome: of the largest message, and the smallest there."""
    rank: dict[str, int] = {Outcome.FAIL: 0, Outcome.WARN: 1, "": 3}
    numbers = sorted(
        (rank.get(each.outcome, 2), each.number.metric, -each.number.size_bytes, each.number.value)
        for each in event.numbers
        if each.number.value is not None and math.isfinite(each.number.value)
    )
    found: dict[str, float] = {}
    for _, metric, _, value in numbers:
        if len(found) < book.HEADLINES_KEPT:
            found.setdefault(metric, value)
    return found


def run_ended(belief: Belief, event: events.BenchRunEnded, at: float) -> None:
    """Nothing more of a run will happen; the oldest that ended is forgotten."""
    bench, run = belief.bench, belief.bench.runs[event.run_id]
    run.ended_at, run.outcome, run.ended_because = at, event.outcome, event.because
    bench.open_runs.pop(event.run_id, None)
    admissions.run_ended(belief, run, at)
    over = len(bench.runs) - len(bench.open_runs) - book.RUNS_KEPT
    if over > 0:
        for run_id in [each for each, one in bench.runs.items() if one.ended_at][:over]:
            del bench.runs[run_id]


def learnt(belief: Belief, event: events.BaselineLearnt, at: float) -> None:
    """What peers reach stands."""
    belief.bench.baselines[event.baseline.fingerprint] = event.baseline
    belief.bench.origins[event.baseline.fingerprint] = book.Origin(at, event.by, tuple(event.nodes))
    belief.bench.shifts.pop(event.baseline.fingerprint, None)


def forgotten(belief: Belief, event: events.BaselineForgotten, _at: float) -> None:
    """Drop a baseline, and what it could be learnt from again at once."""
    fingerprint = event.baseline.fingerprint
    bench = belief.bench
    for known in (bench.baselines, bench.origins, bench.shifts, bench.samples, bench.peers):
        known.pop(fingerprint, None)


def shifted(belief: Belief, event: events.FleetShifted, _at: float) -> None:
    """The fleet moved."""
    belief.bench.shifts[event.baseline.fingerprint] = event.shift


def settled(belief: Belief, event: events.FleetSettled, _at: float) -> None:
    """The fleet is where it was."""
    belief.bench.shifts.pop(event.baseline.fingerprint, None)


def agreed(belief: Belief, event: events.GoldenAgreed, _at: float) -> None:
    """Peers agree on what comes out."""
    belief.bench.golden.pop(event.kind, None)
    belief.bench.golden[event.kind] = event.golden
    belief.bench.votes.pop(event.kind, None)
