"""Leases: which node may run what now, within the bounds that people set, and for how long. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from controller.bench_events import BenchJudged, BenchWaiting, LeaseGranted
from controller.events import Reason
from controller.policy.belief import Belief
from controller.policy.benching.book import BenchRun, Turn
from controller.policy.benching.fitness import unfit
from controller.policy.rules import Rules
from controller.policy.scopes import Scope


def grant(belief: Belief, rules: Rules, run: BenchRun, turn: Turn, now: float) -> LeaseGranted | BenchWaiting:
    """Return the lease for one turn of a run, or what it waits for.

    The caller has asked `unfit` before: here only bounds, pauses and freezes speak.
    """
    full = over_bounds(belief, rules, turn.nodes)
    if full is not None:
        return BenchWaiting(run.run_id, "bounds", full[1])
    because = f"{run.because} Idle, and within the bounds."
    return LeaseGranted(
        belief.bench.next_lease_id(),
        run.run_id,
        list(turn.nodes),
        turn.benchmark,
        run.tier,
        now + rules.bench.lease_s(run.tier),
        Reason(because),
        run.incident_id,
    )


def over_bounds(belief: Belief, rules: Rules, nodes: tuple[str, ...]) -> tuple[Scope, Reason] | None:
    """Return the scope in which one more lease, for these nodes, is one too many, and why; `None` when none is."""
    running = leased_in(belief)
    for scope in sorted(scopes_of(belief, nodes)):
        most = rules.bench.at_once.get(scope.kind)
        if most is not None and running.get(scope, 0) >= most:
            because = f"Waiting: {scope.words} may have {most} benchmarks at once."
            return scope, Reason(because, {"scope": str(scope), "at_once": str(most)}, "one of them ends")
    return None


def leased_in(belief: Belief) -> dict[Scope, int]:
    """Return scope → how many leases there are now with nodes of it; the lease of a group is one."""
    running: dict[Scope, int] = {}
    for lease in belief.bench.leases.values():
        for scope in scopes_of(belief, lease.nodes):
            running[scope] = running.get(scope, 0) + 1
    return running


def scopes_of(belief: Belief, nodes: tuple[str, ...]) -> set[Scope]:
    """Return every scope that one of these nodes is in."""
    return {scope for node in nodes if node in belief.nodes for scope in belief.nodes[node].scopes}


def hand_out(belief: Belief, rules: Rules, now: float) -> Iterator[LeaseGranted | BenchWaiting | BenchJudged]:
    """Yield the next leases of all open runs, what they wait for, and what is skipped."""
    for run in belief.bench.open():
        for turn in list(run.left):
            because = unfit(belief, run, turn, now)
            if because:
                for node in turn.nodes:
                    yield BenchJudged(node, "", run.run_id, turn.benchmark, "skip", because, run.incident_id)
                continue
            decision = grant(belief, rules, run, turn, now)
            if isinstance(decision, LeaseGranted) or run.waiting != decision.reason.because:
                yield decision
