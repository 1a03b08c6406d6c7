"""Sweeps in the API: asked for, looked at and stopped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from checks.bench_result import Benchmark
from controller.api import shapes, sweep_shapes
from controller.api.bench_call import known_options
from controller.api.call import Call, known_node, refused
from controller.api.moments import iso, iso_or_none
from controller.api.problems import Problem, unknown
from controller.api.words import plain
from controller.policy.belief import Belief
from controller.policy.localising.fabric import in_order
from controller.policy.localising.trials import Group
from controller.policy.scopes import FLEET, NODE_KIND, parse
from controller.policy.sweeping.book import Sweep
from controller.sweep_events import SweepAsked, SweepStopAsked, SweepVerdict

LEAST_NODES = 2
"""A group of one reaches nobody."""


async def sweep_begin(call: Call) -> sweep_shapes.SweepStarted:
    """Ask for a sweep over nodes.

    Raises:
        Problem: 404, no such node or place; 409, another sweep has one of them; 422, too few nodes, or of several
            models.
    """
    said = call.said(sweep_shapes.SweepWanted)
    nodes = _wanted(call, said)
    _check_nodes(call.cell.belief, nodes)
    because = plain(said.because, field="because")
    options = known_options(said.options, (Benchmark.NCCL_ALL_REDUCE,))
    logged = await call.cell.submit(SweepAsked(list(nodes), call.by, because, options))
    known = reversed(call.cell.belief.sweeps.sweeps.values())
    begun = next(sweep for sweep in known if sweep.asked == logged.event_id)
    groups = len(begun.state.waiting)
    text = f"{begun.sweep_id} over {len(nodes)} nodes begins with {groups} group{'s' * (groups != 1)}."
    return sweep_shapes.SweepStarted(logged.event_id, iso(logged.at), text, begun.sweep_id)


def _wanted(call: Call, said: sweep_shapes.SweepWanted) -> tuple[str, ...]:
    """Return the nodes that are named, or those of a place that have GPUs: others there have nothing to sweep."""
    if bool(said.nodes) == bool(said.scope):
        raise Problem(422, "neither nodes nor a scope are named, or both", "name one of them", field="nodes")
    if said.nodes:
        return in_order({known_node(call.cell, name).name for name in said.nodes})
    scope, belief = parse(said.scope), call.cell.belief
    if scope == FLEET:
        return _with_gpus(belief, belief.nodes)
    if scope.kind == NODE_KIND:
        return (known_node(call.cell, scope.name).name,)
    found = belief.residents.get((scope.kind, scope.name))
    if not found:
        raise Problem(
            404,
            f"no node stands in {said.scope[:80]}",
            "name a place, e.g. leaf=leaf-3, or the fleet",
            field="scope",
        )
    return _with_gpus(belief, found)


def _with_gpus(belief: Belief, nodes: Iterable[str]) -> tuple[str, ...]:
    return in_order(name for name in nodes if belief.nodes[name].facts.gpu_model)


def _check_nodes(belief: Belief, nodes: tuple[str, ...]) -> None:
    if len(nodes) < LEAST_NODES:
        raise Problem(422, f"{len(nodes)} node cannot be swept", f"at least {LEAST_NODES} are needed", field="nodes")
    models = Counter(belief.nodes[name].facts.gpu_model for name in nodes)
    if len(models) > 1:
        found = ", ".join(f"{count} × {model or 'no GPU known'}" for model, count in models.most_common())
        raise Problem(422, f"these nodes have several models: {found[:200]}", "sweep each by itself", field="nodes")
    for sweep in belief.sweeps.open():
        both = in_order(set(nodes) & set(sweep.state.fabric.nodes))
        if both:
            raise refused(f"{sweep.sweep_id} has {both[0]} already", "stop that sweep, or wait until it is over")


async def sweep_stop(call: Call) -> shapes.Acted:
    """Stop a sweep: its groups are given up, and nothing is said of any node.

    Raises:
        Problem: 404, no such sweep.
    """
    sweep = _known(call)
    because = plain(call.said(shapes.Because).because, field="because")
    if sweep.ended is not None:
        text = f"{sweep.sweep_id} is over: {sweep.ended.outcome.replace('_', ' ')}."
        return shapes.Acted(None, iso(call.cell.now()), text)
    logged = await call.cell.submit(SweepStopAsked(sweep.sweep_id, call.by, because))
    return shapes.Acted(logged.event_id, iso(logged.at), f"{sweep.sweep_id} is stopped.")


async def sweeps(call: Call) -> list[sweep_shapes.SweepRow]:
    """Return the sweeps that are kept, newest first."""
    return [_row(sweep) for sweep in reversed(call.cell.belief.sweeps.sweeps.values())]


async def sweep(call: Call) -> sweep_shapes.SweepDetail:
    """Return everything about one sweep.

    Raises:
        Problem: 404, no such sweep.
    """
    known = _known(call)
    ended = known.ended
    return sweep_shapes.SweepDetail(
        _row(known),
        [_group(known, group, call.cell.belief) for group in known.state.waiting],
        dict(known.state.left),
        list(ended.cleared) if ended else [],
        dict(ended.untested) if ended else {},
        dict(ended.doubts) if ended else {},
        (ended.asks or None) if ended else None,
    )


def _known(call: Call) -> Sweep:
    name, known = call.path["sweep"], call.cell.belief.sweeps.sweeps
    if name not in known:
        raise unknown("sweep", name, reversed(known))
    return known[name]


def _row(sweep: Sweep) -> sweep_shapes.SweepRow:
    ended = sweep.ended
    return sweep_shapes.SweepRow(
        sweep.sweep_id,
        ended.outcome if ended else "running",
        sweep.by,
        sweep.because,
        iso(sweep.began_at),
        iso_or_none(sweep.ended_at),
        len(sweep.state.fabric.nodes),
        sweep.state.round,
        ended.tests if ended else sweep.state.tests,
        len(sweep.runs),
        [_fault(verdict) for verdict in ended.verdicts] if ended else [],
        ended.reason.because if ended else f"Round {sweep.state.round}: {_progress(sweep)}.",
    )


def _progress(sweep: Sweep) -> str:
    ended = sum(group.number in sweep.measured for group in sweep.state.waiting)
    return f"{ended} of {len(sweep.state.waiting)} groups have ended"


def _fault(verdict: SweepVerdict) -> sweep_shapes.SweepFault:
    reason = verdict.reason
    return sweep_shapes.SweepFault(
        verdict.kind,
        verdict.parts,
        verdict.nodes,
        verdict.rails,
        reason.because,
        reason.inputs,
        reason.unless,
        verdict.answered_by or None,
    )


def _group(sweep: Sweep, group: Group, belief: Belief) -> sweep_shapes.SweepGroup:
    run_id = sweep.runs.get(group.number, "")
    state = _state(sweep, group, belief, run_id)
    return sweep_shapes.SweepGroup(group.number, list(group.nodes), group.purpose, group.because, state, run_id or None)


def _state(sweep: Sweep, group: Group, belief: Belief, run_id: str) -> str:
    if group.number in sweep.measured:
        return sweep.measured[group.number].outcome
    run = belief.bench.runs.get(run_id)
    if run is None or not run.leases:
        return "waiting"
    return "running" if group.number in sweep.met else "meeting"
