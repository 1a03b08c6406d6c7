"""What a sweep does next: which groups it asks leases for, when a round is whole, and when it is over."""

from __future__ import annotations

from collections.abc import Iterator

from checks.bench_result import Benchmark
from controller.bench_events import BenchAsked, BenchStopped
from controller.events import Event
from controller.policy.belief import Belief
from controller.policy.benching.book import BenchRun, Turn
from controller.policy.benching.fitness import unfit
from controller.policy.localising.fabric import Fabric, fabric_of
from controller.policy.localising.sweep import Run, advance
from controller.policy.localising.trials import Group, Limits
from controller.policy.rules import Rules
from controller.policy.scopes import FLEET_KIND
from controller.policy.sweeping.book import Sweep
from controller.policy.sweeping.concluding import concluded, given_up
from controller.policy.sweeping.controls import with_controls
from controller.policy.sweeping.judging import judge_round
from controller.policy.sweeping.measuring import Followed, followed, results_of
from controller.sweep_events import (
    SweepAsked,
    SweepBegan,
    SweepGroupBegan,
    SweepNodeLeft,
    SweepRoundBegan,
    SweepRoundJudged,
)

PURPOSE = "sweep"

TIER = 2
"""A group gets so much time as tier 2 gives. Source: our choice; it measures each rail by itself after all of them."""

LIMIT_S = 6 * 3_600.0
"""When a sweep ends whatever is known. Source: our choice; one sweep in a hundred takes more than 17 rounds, and a
round is over within minutes unless leases are short."""


def sweeping(belief: Belief, rules: Rules, now: float) -> Iterator[Event]:
    """Yield what is to be done about every sweep that is wanted or goes on."""
    for number, asked in list(belief.sweeps.asked.items()):
        yield _began(belief, number, asked, now)
    for sweep in belief.sweeps.open():
        yield from _go_on(belief, rules, sweep, now)


def _began(belief: Belief, number: int, asked: SweepAsked, now: float) -> SweepBegan:
    return SweepBegan(
        belief.sweeps.next_sweep_id(),
        number,
        fabric_believed(belief, asked.nodes),
        Limits(),
        asked.by,
        asked.because,
        now + LIMIT_S,
        asked.options,
    )


def fabric_believed(belief: Belief, nodes: list[str]) -> Fabric:
    """Return the network of these nodes as it is believed to be: a rail for each GPU, if all have as many."""
    known = [belief.nodes[name] for name in sorted(set(nodes)) if name in belief.nodes]
    counts = {node.facts.gpu_count for node in known}
    rails = counts.pop() if len(counts) == 1 else 0
    return fabric_of({node.name: node.places for node in known}, rails=rails if rails > 1 else 0)


def _go_on(belief: Belief, rules: Rules, sweep: Sweep, now: float) -> Iterator[Event]:
    """Yield the next of a sweep. No more groups are asked for than the bound of the fleet lets run at once."""
    if sweep.stop_asked or sweep.ends_by <= now:
        yield from given_up(sweep)
        return
    most = max(1, rules.bench.at_once.get(FLEET_KIND, len(sweep.state.waiting)))
    for group in sweep.state.waiting:
        has_turn = group.number in sweep.runs or len(sweep.runs) < most
        if group.number not in sweep.measured and has_turn:
            yield from _follow(belief, rules, sweep, group, now)
    if any(group.number not in sweep.measured for group in sweep.state.waiting):
        return
    if sweep.state.waiting:
        yield SweepRoundJudged(sweep.sweep_id, sweep.state.round, *judge_round(sweep, belief.bench.baselines))
    state, step = advance(sweep.state)
    if isinstance(step, Run):
        yield SweepRoundBegan(sweep.sweep_id, state.round, with_controls(sweep, step.groups, belief.bench.baselines))
    else:
        yield from concluded(belief, sweep, step, now)


def _follow(belief: Belief, rules: Rules, sweep: Sweep, group: Group, now: float) -> Iterator[Event]:
    """Yield the next of one group: who is gone, its run, and how that ended.

    When a node takes no part, the others need not wait for it until their lease ends.
    """
    run = belief.bench.runs.get(sweep.runs.get(group.number, ""))
    whole = run is not None and len(results_of(belief.bench, run)) == len(group.nodes)
    news = [] if whole else list[Followed](_gone(belief, rules, sweep, group))
    if run is None:
        yield from news or _begun(sweep, group)
        return
    for event in news or followed(belief.bench, sweep, group, run, now):
        yield event
        if isinstance(event, SweepNodeLeft) and not run.ended_at and not run.stopped:
            yield _given_back(run, event)


def _given_back(run: BenchRun, left: SweepNodeLeft) -> BenchStopped:
    return BenchStopped(run.run_id, "fleetmend", f"{left.node} takes no part: {left.because}")


def _begun(sweep: Sweep, group: Group) -> Iterator[Event]:
    run_id = f"{sweep.sweep_id}-{group.number}"
    if group.number not in sweep.runs:
        yield SweepGroupBegan(sweep.sweep_id, group.number, run_id)
    yield BenchAsked(
        run_id,
        list(group.nodes),
        [Benchmark.NCCL_ALL_REDUCE],
        TIER,
        PURPOSE,
        sweep.by,
        f"Group {group.number} of {sweep.sweep_id}: {group.because}.",
        options=sweep.options,
        together=True,
    )


def _gone(belief: Belief, rules: Rules, sweep: Sweep, group: Group) -> Iterator[SweepNodeLeft]:
    """Yield the nodes that may not be benchmarked any more, each by itself as the leases would judge it."""
    for name in group.nodes:
        turn = Turn((name,), Benchmark.NCCL_ALL_REDUCE)
        alone = BenchRun("", turn.nodes, (turn.benchmark,), TIER, PURPOSE, sweep.by, sweep.because, sweep.began_at)
        because = unfit(belief, rules, alone, turn)
        if because:
            yield SweepNodeLeft(sweep.sweep_id, name, because.removeprefix(f"{name}: ").removesuffix("."))
