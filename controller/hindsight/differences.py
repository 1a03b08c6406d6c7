"""Makes figures and rows of what two ledgers hold."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

import msgspec

from controller.hindsight.asides import Parting
from controller.hindsight.ledger import HOUR_S, Amounts, Hold, Ledger
from controller.hindsight.result import CordonRow, Figures, UnknownRow
from controller.hindsight.truths import Judged, Truth

SAME_S = 1.0
"""Cordons that are no further apart were made at the same moment. Source: our choice; a controller thinks five times a
second."""

Judge = Callable[[Hold], Judged]


@dataclass(slots=True)
class Matched:
    """Which cordons are whose.

    Attributes:
        both: of history and of the candidate, which they hold for the same.
        not_compared, drawn: of history, and of the candidate, while a course was not shared.
    """

    both: list[tuple[Hold, Hold]] = field(default_factory=list)
    added: list[Hold] = field(default_factory=list)
    avoided: list[Hold] = field(default_factory=list)
    not_compared: set[Hold] = field(default_factory=set)
    drawn: set[Hold] = field(default_factory=set)


def matched(theirs: Ledger, ours: Ledger, partings: Iterable[Parting]) -> Matched:
    """Pair the cordons of a node that overlap, an unknown course included."""
    unknown: dict[str, list[Parting]] = {}
    for parting in partings:
        unknown.setdefault(parting.node, []).append(parting)
    left: dict[str, list[Hold]] = {}
    for hold in ours.holds:
        left.setdefault(hold.node, []).append(hold)
    found = Matched()
    for hold in theirs.holds:
        here = unknown.get(hold.node, [])
        same = next((each for each in left.get(hold.node, []) if _overlap(hold, each, here)), None)
        if same is not None:
            left[hold.node].remove(same)
            found.both.append((hold, same))
        elif not _is_within(hold, here):
            found.avoided.append(hold)
    found.not_compared = {hold for hold in theirs.holds if _is_within(hold, unknown.get(hold.node, []))}
    found.drawn = {hold for hold in ours.holds if _is_within(hold, unknown.get(hold.node, []))}
    found.added = [hold for holds in left.values() for hold in holds if hold not in found.drawn]
    return found


def _is_within(hold: Hold, partings: Iterable[Parting]) -> bool:
    return any(parting.at < hold.at < parting.until for parting in partings)


def _overlap(theirs: Hold, ours: Hold, partings: Iterable[Parting]) -> bool:
    until = max([ours.ended_at, *(p.until for p in partings if ours.at <= p.at <= ours.ended_at)])
    return theirs.at <= until and ours.at <= theirs.ended_at


def rows(holds: Iterable[Hold], judge: Judge) -> list[CordonRow]:
    """Return the cordons of one side, in order of time."""
    return [_row(hold, judge(hold)) for hold in sorted(holds, key=lambda hold: (hold.at, hold.node))]


def moved(both: Iterable[tuple[Hold, Hold]], judge: Judge, partings: Collection[Parting]) -> list[CordonRow]:
    """Return the cordons that both made at other moments."""
    found = []
    for theirs, ours in both:
        if abs(ours.at - theirs.at) > SAME_S:
            here = [parting for parting in partings if parting.node == ours.node]
            row = _row(theirs, judge(theirs))
            apart = {"other_because": ours.because, "later_s": ours.at - theirs.at, "drawn": _is_within(ours, here)}
            found.append(msgspec.structs.replace(row, **apart))
    return found


def _row(hold: Hold, judged: Judged) -> CordonRow:
    known = (hold.node, hold.at, hold.incident_id, hold.playbook, hold.because, hold.other_because)
    return CordonRow(*known, judged.truth, judged.because)


def unknown_rows(partings: Iterable[Parting]) -> list[UnknownRow]:
    """Return the courses that are unknown."""
    return [UnknownRow(p.node, p.at, p.until if math.isfinite(p.until) else None, p.why, p.drawn) for p in partings]


def figures(amounts: Amounts, judged: list[Judged]) -> Figures:
    """Return what adds up, and the cordons by what is known of them."""
    return Figures(
        cordons=len(judged),
        false_cordons=sum(each.truth is Truth.FALSE for each in judged),
        right_cordons=sum(each.truth is Truth.RIGHT for each in judged),
        node_hours_out=amounts.node_out_s / HOUR_S,
        gpu_hours_out=amounts.gpu_out_s / HOUR_S,
        missed_fault_node_hours=amounts.missed_s / HOUR_S,
        tickets=amounts.notices["ticket"],
        pages=amounts.notices["page"],
    )
