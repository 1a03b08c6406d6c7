"""Sweeps: asked for, their rounds and groups, and how they ended."""

from __future__ import annotations

from dataclasses import replace

from controller import sweep_events as events
from controller.policy.belief import Belief
from controller.policy.localising import sweep as localiser
from controller.policy.sweeping.book import SWEEPS_KEPT, Sweep


def asked(belief: Belief, event: events.SweepAsked, _at: float) -> None:
    """Note that a sweep is wanted."""
    belief.sweeps.asked[belief.last_event_id] = event


def began(belief: Belief, event: events.SweepBegan, at: float) -> None:
    """Begin it: nothing was asked of any node yet."""
    book = belief.sweeps
    state = localiser.begin(event.fabric, seed=event.sweep_id, limits=event.limits)
    book.asked.pop(event.asked, None)
    book.began += 1
    book.open_sweeps[event.sweep_id] = None
    book.sweeps[event.sweep_id] = Sweep(
        event.sweep_id,
        state,
        event.by,
        event.because,
        at,
        event.ends_by,
        event.asked,
        dict(event.options),
    )


def round_began(belief: Belief, event: events.SweepRoundBegan, _at: float) -> None:
    """Note what is to be run."""
    sweep = belief.sweeps.sweeps[event.sweep_id]
    sweep.state = replace(sweep.state, waiting=tuple(event.groups), round=event.round)


def group_began(belief: Belief, event: events.SweepGroupBegan, _at: float) -> None:
    """Note under which run a group is."""
    belief.sweeps.sweeps[event.sweep_id].runs[event.group] = event.run_id
    belief.sweeps.groups[event.run_id] = (event.sweep_id, event.group)


def group_met(belief: Belief, event: events.SweepGroupMet, _at: float) -> None:
    """Note that its other ranks are asked."""
    sweep = belief.sweeps.sweeps[event.sweep_id]
    if event.group in sweep.runs:
        sweep.met[event.group] = None


def group_ended(belief: Belief, event: events.SweepGroupEnded, _at: float) -> None:
    """Keep what came back until its round is whole; a group that ended before stays as it ended."""
    sweep = belief.sweeps.sweeps[event.sweep_id]
    if event.group in sweep.runs:
        sweep.measured[event.group] = event
        _forget(belief, sweep, event.group)


def node_left(belief: Belief, event: events.SweepNodeLeft, _at: float) -> None:
    """A node can take part no more, nor can the group in which it is."""
    sweep = belief.sweeps.sweeps[event.sweep_id]
    concerned = [group.number for group in sweep.state.waiting if event.node in group.nodes]
    sweep.state = localiser.without(sweep.state, localiser.Departed(event.node, event.because))
    for number in concerned:
        sweep.measured.pop(number, None)
        _forget(belief, sweep, number)


def round_judged(belief: Belief, event: events.SweepRoundJudged, _at: float) -> None:
    """Tell the localiser what the round's numbers mean."""
    sweep = belief.sweeps.sweeps[event.sweep_id]
    for result in event.results:
        sweep.state = localiser.told(sweep.state, result)
    for result in event.again:
        sweep.state = localiser.told_again(sweep.state, result)


def stop_asked(belief: Belief, event: events.SweepStopAsked, _at: float) -> None:
    """A person ends it; one that is over already stays as it ended."""
    sweep = belief.sweeps.sweeps.get(event.sweep_id)
    if sweep is not None and sweep.ended is None:
        sweep.stop_asked = f"{event.by}: {event.because}" if event.because else event.by


def ended(belief: Belief, event: events.SweepEnded, at: float) -> None:
    """Nothing more of it will happen; its trials are in the log, and the oldest sweep is forgotten."""
    book = belief.sweeps
    sweep = book.sweeps[event.sweep_id]
    sweep.ended, sweep.ended_at = event, at
    for number in list(sweep.runs):
        _forget(belief, sweep, number)
    sweep.measured.clear()
    for run in belief.bench.runs.values():
        if run.run_id.startswith(f"{sweep.sweep_id}-"):
            run.results.clear()
    sweep.state = replace(sweep.state, trials=(), waiting=())
    book.open_sweeps.pop(event.sweep_id, None)
    book.faults.update((each.answered_by, tuple(each.nodes)) for each in event.verdicts if each.answered_by)
    book.faults = {each: nodes for each, nodes in book.faults.items() if each in belief.open_incidents}
    for sweep_id in [each for each, one in book.sweeps.items() if one.ended_at][:-SWEEPS_KEPT]:
        del book.sweeps[sweep_id]


def _forget(belief: Belief, sweep: Sweep, number: int) -> None:
    belief.sweeps.groups.pop(sweep.runs.pop(number, ""), None)
    sweep.met.pop(number, None)
