"""Leases: which node may run what now, within the bounds that people set, and for how long. Pure.

A bound counts leases, and that of a group is one: so a group that is larger than any bound of nodes is not kept waiting
for ever. Pauses and freezes hold back all but the verification of a repair, for that is a node's way back (I3).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import islice

from controller.bench_events import PURPOSES, BenchJudged, BenchWaiting, LeaseGranted
from controller.events import Reason
from controller.policy.belief import Belief
from controller.policy.benching.book import BenchRun, Turn
from controller.policy.benching.findings import check_of
from controller.policy.benching.fitness import unfit
from controller.policy.freezes import describe, in_force
from controller.policy.rules import Rules
from controller.policy.scopes import CHECK_KIND, FLEET, Scope
from controller.policy.silence import frozen_by

TURNS_LOOKED_AT = 1_000
"""Of one run at a time. Source: our choice; more than several racks have nodes, so that full ones hide no free one."""

VERIFY = "verify"


def grant(
    belief: Belief,
    rules: Rules,
    run: BenchRun,
    turn: Turn,
    now: float,
    running: Mapping[Scope, int] | None = None,
) -> LeaseGranted | BenchWaiting:
    """Return the lease for one turn of a run, or what it waits for. Whether its nodes are fit is for `unfit` to say.

    Args:
        running: as `leased_in` has it, for who asks for many turns.
    """
    counted = leased_in(belief) if running is None else running
    waiting = held_back(belief, rules, run, turn, now) or over_bounds(belief, rules, turn.nodes, counted)
    if waiting is not None:
        return BenchWaiting(run.run_id, *waiting)
    return LeaseGranted(
        belief.bench.next_lease_id(),
        run.run_id,
        list(turn.nodes),
        turn.benchmark,
        run.tier,
        now + rules.bench.lease_s(run.tier),
        _why(run, turn),
        run.incident_id,
    )


def _why(run: BenchRun, turn: Turn) -> Reason:
    tries = len(run.failed.get(turn, ()))
    again = f", try {tries + 1}" if tries else ""
    return Reason(
        f"{turn.benchmark} for {run.purpose}{again}: {run.because}",
        {"run": run.run_id, "by": run.by, "tier": str(run.tier)},
        "a node of it had work, or a bound were reached",
    )


Waiting = tuple[str, Reason]


def over_bounds(belief: Belief, rules: Rules, nodes: tuple[str, ...], running: Mapping[Scope, int]) -> Waiting | None:
    """Return what one more lease for these nodes would have to wait for, `None` when there is room everywhere."""
    for scope in sorted(scopes_of(belief, nodes)):
        most = rules.bench.at_once.get(scope.kind)
        if most is not None and running.get(scope, 0) >= most:
            reason = Reason(
                f"Waiting: {running.get(scope, 0)} of {most} benchmarks run in {scope.words} already.",
                {"scope": str(scope), "at_once": str(most)},
                f"one of them ended, or bench.at_once.{scope.kind} were raised",
            )
            return f"bounds of {scope.words}", reason
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
    return {FLEET} | {scope for node in nodes if node in belief.nodes for scope in belief.nodes[node].scopes}


def held_back(belief: Belief, rules: Rules, run: BenchRun, turn: Turn, now: float) -> Waiting | None:
    """Return the pause or the freeze that keeps this turn from beginning, `None` when none does."""
    if run.purpose == VERIFY:
        return None
    frozen = frozen_by(belief)
    if frozen is not None:
        return "freeze", Reason(f"Frozen while {frozen.id} is open: {frozen.because}", {}, f"{frozen.id} were over")
    scopes = sorted(scopes_of(belief, turn.nodes) | {Scope(CHECK_KIND, check_of(turn.benchmark))})
    for scope in scopes:
        if scope in belief.pauses:
            lifted = f"the pause is lifted by `fleetmend resume {scope}`"
            because = f"Paused in {scope.words} by {belief.pauses[scope]}."
            return f"pause of {scope.words}", Reason(because, {"scope": str(scope)}, lifted)
    for freeze in rules.freezes:
        scope = next((scope for scope in scopes if freeze.scope.covers(scope)), FLEET)
        if freeze.scope.covers(scope) and in_force(freeze, now):
            because = f"Frozen: {freeze.because} ({scope.words}, {describe(freeze)})."
            return f"freeze window of {scope.words}", Reason(because, {"scope": str(scope)}, "the freeze were over")
    return None


def hand_out(belief: Belief, rules: Rules, now: float) -> Iterator[LeaseGranted | BenchWaiting | BenchJudged]:
    """Yield the next leases of all open runs, the most urgent first; what they wait for, and what is skipped."""
    running = leased_in(belief) if belief.bench.open_runs else {}
    for run in sorted(belief.bench.open(), key=_urgency):
        yield from _next_of(belief, rules, run, now, running)


def _is_full(belief: Belief, rules: Rules, turn: Turn, running: Mapping[Scope, int]) -> bool:
    """Return what `over_bounds` has a sentence for, at a cost that a thousand turns may have."""
    most = rules.bench.at_once
    known = (belief.nodes[node] for node in turn.nodes if node in belief.nodes)
    return any(running.get(scope, 0) >= most.get(scope.kind, math.inf) for node in known for scope in node.scopes)


def _urgency(run: BenchRun) -> int:
    return PURPOSES.index(run.purpose) if run.purpose in PURPOSES else len(PURPOSES)


def _next_of(
    belief: Belief, rules: Rules, run: BenchRun, now: float, running: dict[Scope, int]
) -> Iterator[LeaseGranted | BenchWaiting | BenchJudged]:
    """Yield what becomes of the turns of a run; of all that it waits for, the first is told.

    Args:
        running: as `leased_in` has it; what is granted here is added.
    """
    waiting = None
    for turn, not_before in list(islice(run.left.items(), TURNS_LOOKED_AT)):
        if now < not_before or any(node in belief.bench.leased for node in turn.nodes):
            continue
        if waiting is not None and _is_full(belief, rules, turn, running):
            continue
        decision = _decided(belief, rules, run, turn, now, running)
        if isinstance(decision, str):
            yield from skipped(run, turn, decision)
        elif isinstance(decision, LeaseGranted):
            yield decision
            for scope in scopes_of(belief, turn.nodes):
                running[scope] = running.get(scope, 0) + 1
        else:
            waiting = waiting or decision
            if decision.for_what in _FOR_ALL:
                break
    if waiting is not None and waiting.for_what != run.waiting_for:
        yield waiting


def _decided(
    belief: Belief, rules: Rules, run: BenchRun, turn: Turn, now: float, running: Mapping[Scope, int]
) -> LeaseGranted | BenchWaiting | str:
    """Return the lease, what is waited for, or why the turn is skipped."""
    because = unfit(belief, rules, run, turn)
    if because and now < run.asked_at + run.wait_s:
        return BenchWaiting(run.run_id, "node", Reason(f"Waiting: {because}"))
    return because or grant(belief, rules, run, turn, now, running)


_FOR_ALL = frozenset({"freeze", *(f"{kind} of {FLEET.words}" for kind in ("bounds", "pause", "freeze window"))})
"""What every other turn of the run would have to wait for as well."""


def skipped(run: BenchRun, turn: Turn, because: str) -> Iterator[BenchJudged]:
    """Yield that a turn is not run."""
    for node in turn.nodes:
        yield BenchJudged(node, "", run.run_id, turn.benchmark, "skip", because, run.incident_id, run.tier)
