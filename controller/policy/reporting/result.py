"""Puts the report together from what was counted."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from controller.policy.history import DAY_S
from controller.policy.lemon import WINDOW_S
from controller.policy.reporting.nodes import Node
from controller.policy.reporting.shapes import Availability, Goodput, NodeTimes, Report, Span, StateRow
from controller.policy.reporting.states import DOWN, HOUR_S, STATES, State
from controller.policy.reporting.told import Told

_SERVES = STATES.index(State.IN_SERVICE)
_UNKNOWN = STATES.index(State.UNKNOWN)
_DOWN = tuple(STATES.index(state) for state in DOWN)


def report_of(told: Told, *, through: int, missing_through: int) -> Report:
    """Return the report.

    Args:
        through: last entry that was read.
        missing_through: last entry that is missing, 0 for none.
    """
    for node in told.nodes.values():
        told.time.count(node, told.asked.until)
    nodes = [told.nodes[name] for name in sorted(told.nodes)]
    node_s = [sum(node.by_state_s[index] for node in nodes) for index in range(len(STATES))]
    gpu_s = [sum(node.gpu_by_state_s[index] for node in nodes) for index in range(len(STATES))]
    return Report(
        _span(told, nodes, through),
        _availability(told, node_s, gpu_s),
        _goodput(told, gpu_s),
        told.time.losses.report(told.asked.prices),
        told.times.detections(),
        told.times.repairs(),
        told.time.exposure.rows(),
        told.fixes.rows(told.asked.until),
        told.asked.lasting_s,
        told.lemons.rows(told.nodes, told.tells_from, told.asked.until),
        told.outcomes.rows(each for each in told.open.values() if not told.excluded(each)),
        told.outcomes.notices(sum(node_s) / HOUR_S),
        told.drills.report(),
        [_node_row(node) for node in nodes],
        _notes(told, nodes, missing_through),
    )


def _span(told: Told, nodes: list[Node], through: int) -> Span:
    simulated = sum(node.facts is not None and node.facts.simulated for node in nodes)
    begin = min(max(told.time.begin, told.tells_from), told.asked.until)
    return Span(
        begin,
        told.asked.until,
        told.tells_from,
        through,
        told.asked.drills,
        len(nodes),
        sum(node.gpus for node in nodes),
        simulated,
    )


def _availability(told: Told, node_s: list[float], gpu_s: list[float]) -> Availability:
    return Availability(
        _served(node_s),
        _served(gpu_s),
        _served(node_s, unknown_is_down=True),
        _served(node_s, unknown_is_up=True),
        [
            StateRow(
                state,
                round(node_s[index] / HOUR_S, 6),
                round(gpu_s[index] / HOUR_S, 6),
                node_s[index] / sum(node_s) if sum(node_s) else None,
            )
            for index, state in enumerate(STATES)
        ],
        told.time.slice_hours(),
    )


def _served(seconds: list[float], *, unknown_is_down: bool = False, unknown_is_up: bool = False) -> float | None:
    """Return the share of the time in which it was meant to serve that it did; nothing without such time."""
    unknown = seconds[_UNKNOWN]
    up = seconds[_SERVES] + (unknown if unknown_is_up else 0.0)
    down = sum(seconds[index] for index in _DOWN) + (unknown if unknown_is_down else 0.0)
    return up / (up + down) if up + down else None


def _goodput(told: Told, gpu_s: list[float]) -> Goodput:
    benchmarks = sum(spent[1] for (cause, _), spent in told.time.losses.lost.items() if cause[0] == "benchmarks")
    usable, there = gpu_s[_SERVES] - benchmarks, sum(gpu_s)
    told_of_jobs = any(node.scheduler_told for node in told.nodes.values())
    return Goodput(
        round(there / HOUR_S, 6),
        round(usable / HOUR_S, 6),
        usable / there if there else None,
        round(told.time.with_jobs_gpu_s / HOUR_S, 6) if told_of_jobs else None,
        told.jobs_hit,
    )


def _node_row(node: Node) -> NodeTimes:
    hours = {f"{state}_h": round(s / HOUR_S, 6) for state, s in zip(STATES, node.by_state_s, strict=True)}
    known_h = round(sum(node.by_state_s) / HOUR_S, 6)
    return NodeTimes(node.name, node.sku, known_h, **hours, incidents=node.incidents)


def _notes(told: Told, nodes: list[Node], missing_through: int) -> list[str]:
    """Return what a reader must know before believing the figures."""
    if not told.tells_from:
        return ["The log has no entry before the end of the span."]
    return [*_notes_on_the_log(told, missing_through), *_notes_on_nodes(nodes)]


def _notes_on_the_log(told: Told, missing_through: int) -> Iterator[str]:
    tells_from = told.tells_from
    if missing_through:
        yield (
            f"Entries up to {missing_through} are not all in the log: it tells from {_moment(tells_from)} on, and "
            "nothing before that is counted."
        )
        yield (
            "GPUs and places of a node that the log does not tell are those of now."
            if told.known
            else "A node of which nothing was logged since is not counted."
        )
    elif tells_from > told.asked.since:
        yield f"The log begins at {_moment(tells_from)}; the report begins there, too."
    if told.untold:
        yield f"{told.untold} entries are about incidents that began before the log tells; they are left out."
    if told.restored:
        yield "The log was restored from a backup: the time between backup and restoration counts as unknown."
    if told.asked.until - tells_from < WINDOW_S:
        known_s = told.asked.until - tells_from
        known = f"{known_s / DAY_S:.1f} days" if known_s >= DAY_S else f"{known_s / 3_600.0:.1f} hours"
        yield f"Lemons are judged by {known}, not by 28 days."


def _notes_on_nodes(nodes: list[Node]) -> Iterator[str]:
    factless = sum(node.facts is None for node in nodes)
    if factless:
        yield f"{factless} of {len(nodes)} nodes never said what they are: they count in node-hours, not in GPU-hours."
    if any(node.facts is not None and node.facts.simulated for node in nodes):
        yield "Some nodes are simulated: their hardware is not real, and their time passes faster."


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
