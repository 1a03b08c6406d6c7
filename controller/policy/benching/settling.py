"""What is decided about benchmarks: results are judged, leases end, runs end, and the next ones begin. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from checks.bench_outcome import Outcome, worst
from checks.bench_result import BenchFault
from checks.finding import FindingKey
from controller import events
from controller.bench_events import BenchEnded, BenchJudged, BenchRunEnded, JudgedNumber, LeaseEnded
from controller.policy.belief import Belief
from controller.policy.benching import findings, golden, judging, learning, shifting
from controller.policy.benching.book import BenchRun, Lease, Turn
from controller.policy.benching.fitness import taken_by
from controller.policy.benching.leasing import hand_out
from controller.policy.benching.tries import MOST_TRIES, TRIES_THAT_CONDEMN
from controller.policy.opening import speedup
from controller.policy.rules import Rules


def benchmarks(belief: Belief, rules: Rules, now: float) -> Iterator[events.Event]:
    """Yield what is to be decided about benchmarks now; it costs what is open."""
    for lease_id, node in list(belief.bench.unjudged):
        lease = belief.bench.lease(lease_id)
        if lease is not None:
            yield from _judge(_Case(belief, rules, lease, node, now))
    yield from shifting.settled(belief)
    for lease in list(belief.bench.leases.values()):
        yield from _end_lease(belief, lease, now)
    for run in belief.bench.open():
        if not run.left and not run.leases:
            yield _ended(run)
    yield from hand_out(belief, rules, now)


@dataclass(frozen=True, slots=True)
class _Case:
    belief: Belief
    rules: Rules
    lease: Lease
    node: str
    now: float

    @property
    def run(self) -> BenchRun | None:
        return self.belief.bench.runs.get(self.lease.run_id)

    @property
    def is_open(self) -> bool:
        """Whether the run may measure once more."""
        return self.run is not None and not self.run.ended_at and not self.run.stopped

    def judged(self, outcome: Outcome, because: str) -> BenchJudged:
        lease = self.lease
        return BenchJudged(
            self.node, lease.lease_id, lease.run_id, lease.benchmark, outcome, because, lease.incident_id, lease.tier
        )


def _judge(case: _Case) -> Iterator[events.Event]:
    ended = case.lease.results.get(case.node)
    if ended is None:
        yield _without_result(case)
    elif case.run is None or case.run.together:
        yield _as_told(case, ended)
    else:
        yield from _held_against(case, ended)


def _without_result(case: _Case) -> BenchJudged:
    outcome, because = case.lease.refused.get(case.node, ("failed", "it said nothing"))
    if outcome == "refused":
        return case.judged(Outcome.SKIP, f"{case.node} did not take the order: {because}.")
    return case.judged(Outcome.ERROR, f"{case.node} ended the order as {outcome} without a result: {because}.")


def _as_told(case: _Case, ended: BenchEnded) -> BenchJudged:
    """A rank of a group is judged by whoever made the group: here it is only noted."""
    numbers = [JudgedNumber(number, "", "") for number in ended.result.numbers]
    return _full(case, ended, ended.result.outcome, ended.result.because, numbers)


def _held_against(case: _Case, ended: BenchEnded) -> Iterator[events.Event]:
    """Judge a result, once it is clear whether the whole fleet moved, and learn from it after that."""
    belief, limits, book = case.belief, case.rules.bench.limits, case.belief.bench
    values = judging.values_by_fingerprint(judging.judge_numbers(ended.result, limits, book))
    yield from shifting.shifts(belief, case.node, values, case.now)
    numbers = judging.judge_numbers(ended.result, limits, book)
    outcome, because = judging.outcome_of(ended.result, numbers)
    judged = _full(case, ended, outcome, because, numbers)
    confirmed, judged = _confirmed(case, judged)
    yield judged
    yield from _findings(case, judged, confirmed)
    yield from learning.first_baselines(belief, values)
    if judged.digest:
        agreed = golden.agreement(book, golden.golden_kind(judged.machine, judged.digest))
        if agreed is not None:
            yield agreed


def _full(case: _Case, ended: BenchEnded, outcome: Outcome, because: str, numbers: list[JudgedNumber]) -> BenchJudged:
    result = ended.result
    well = learning.is_well(case.belief.nodes.get(case.node)) and judging.nothing_speaks_against(result, numbers)
    return msgspec.structs.replace(
        case.judged(outcome, because),
        numbers=numbers,
        is_peer=well,
        digest=result.digest,
        machine=result.machine,
        faults=list(result.faults),
        notes=list(result.notes),
        started_at=ended.started_at,
    )


def _confirmed(case: _Case, judged: BenchJudged) -> tuple[list[FindingKey], BenchJudged]:
    """Return what condemns now, and the result with what failed in it and when it is measured again.

    What needs no limit to be seen condemns at once. A number that is too low must be so twice of three times. What
    broke or was not run is no try.
    """
    measured = Outcome(judged.outcome).is_measured
    if not measured or (judged.outcome != Outcome.FAIL and not _tries(case)):
        return [], judged
    at_once = set(findings.failing(judged.benchmark, (), _condemning(judged)))
    if judged.outcome == Outcome.FAIL and not at_once and all(n.outcome != Outcome.FAIL for n in judged.numbers):
        at_once = {FindingKey(findings.check_of(judged.benchmark), findings.WHOLE_NODE, findings.UNNAMED)}
    low = set(findings.failing(judged.benchmark, judged.numbers, ()))
    tries = [*_tries(case), sorted(low | at_once)]
    counts = Counter(key for keys in tries for key in keys)
    twice = {key for key, count in counts.items() if count >= TRIES_THAT_CONDEMN}
    once = counts.keys() - twice - at_once - case.belief.nodes[case.node].findings.keys()
    judged = msgspec.structs.replace(judged, failing=sorted(low | at_once))
    if once and len(tries) < MOST_TRIES and case.is_open:
        wait_s = case.rules.bench.again_after_s / speedup(case.belief, case.rules, case.node)
        because = f"{judged.because} It is measured again before that counts."
        judged = msgspec.structs.replace(judged, again_at=case.now + wait_s, because=because)
    return sorted((twice & (low | at_once)) | at_once), judged


def _tries(case: _Case) -> list[list[FindingKey]]:
    return case.run.failed.get(Turn((case.node,), case.lease.benchmark), []) if case.run is not None else []


def _condemning(judged: BenchJudged) -> list[BenchFault]:
    return [fault for fault in judged.faults if fault.severity is Outcome.FAIL and judged.outcome != Outcome.SKIP]


def _findings(case: _Case, judged: BenchJudged, confirmed: list[FindingKey]) -> Iterator[events.Event]:
    """Yield what a result raises and clears. A finding is dated by our clock: the node's has no part in it."""
    node = case.belief.nodes[case.node]
    for key in confirmed:
        found = findings.finding_of(key, judged, node)
        yield events.FindingRaised(case.node, node.boot_id, found, case.now, origin=findings.ORIGIN)
    if not judged.again_at:
        for key in findings.cleared_by(case.belief, judged):
            because = f"{judged.benchmark} passed: {judged.because}"
            yield events.FindingCleared(case.node, key, because, case.now, origin=findings.ORIGIN)


def _end_lease(belief: Belief, lease: Lease, now: float) -> Iterator[events.Event]:
    """Yield the end of a lease: everybody was heard, it expired, or it is taken back."""
    waited = [node for node in lease.nodes if node not in lease.judged]
    if not waited:
        yield _lease_ended(lease, "done", "Every node was heard.")
        return
    if now >= lease.expires_at:
        outcome, kind, because = Outcome.ERROR, "expired", "gave no result until its lease expired"
    else:
        outcome, kind, because = Outcome.SKIP, "revoked", _why_revoked(belief, lease)
    if not because:
        return
    for node in waited:
        said = f"{node}: {because}."
        yield BenchJudged(
            node, lease.lease_id, lease.run_id, lease.benchmark, outcome, said, lease.incident_id, lease.tier
        )
    yield _lease_ended(lease, kind, f"{', '.join(waited[:3])}: {because}.")


def _why_revoked(belief: Belief, lease: Lease) -> str:
    run = belief.bench.runs[lease.run_id]
    if run.stopped:
        return f"the run was stopped: {run.stopped.rstrip('.')}"
    for name in lease.nodes:
        because = taken_by(belief.nodes[name]) if name in belief.nodes else ""
        if because:
            return because
    return ""


def _lease_ended(lease: Lease, outcome: str, because: str) -> LeaseEnded:
    node = lease.nodes[0] if len(lease.nodes) == 1 else ""
    return LeaseEnded(lease.lease_id, lease.run_id, outcome, because, node)


def _ended(run: BenchRun) -> BenchRunEnded:
    if run.stopped:
        return BenchRunEnded(run.run_id, "stopped", run.stopped, run.incident_id)
    outcomes = [outcome for each in run.outcomes.values() for outcome in each.values()]
    counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(Counter(outcomes).items()))
    return BenchRunEnded(run.run_id, worst(map(Outcome, outcomes)), f"{counts or 'nothing was run'}.", run.incident_id)
