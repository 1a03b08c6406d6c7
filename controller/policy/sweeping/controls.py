"""Controls: what groups of a size reach is measured with nodes that passed, before one of that size condemns anybody.

The screen has large groups; what follows it has halves, quarters and pairs. One number does not fit them all: pairs
that are slower by nature would condemn whoever is tried in them. So a round that has a shape of which little is known
also runs a few groups of that shape whose nodes passed and are in no other group of the round.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from checks.bench_baseline import LEAST_PEERS, Baseline, Fingerprint
from checks.bench_outcome import Outcome
from controller.policy.localising.fabric import Fabric
from controller.policy.localising.screen import interleaved
from controller.policy.localising.shuffling import shuffled
from controller.policy.localising.trials import Group, Purpose
from controller.policy.sweeping.book import Sweep
from controller.policy.sweeping.judging import PEERS, Lane, Shape, lanes_of

MOST = 3
"""Controls of one shape. Source: our choice; one of them may be a wrong result."""


@dataclass(slots=True)
class Free:
    """Nodes that a control may have, unit by unit."""

    fabric: Fabric
    units: list[list[str]] = field(default_factory=list)

    def take(self, shape: Shape) -> tuple[str, ...]:
        """Return nodes for a control of this shape and take them out; none when there are too few."""
        count, crosses = shape
        halves = (count - count // 2, count // 2) if crosses else (count,)
        chosen: list[list[str]] = []
        for want in halves:
            unit = max((u for u in self.units if u not in chosen), key=len, default=[])
            if len(unit) < want:
                return ()
            chosen.append(unit)
        taken = [unit[:want] for unit, want in zip(chosen, halves, strict=True)]
        for unit, nodes in zip(chosen, taken, strict=True):
            del unit[: len(nodes)]
        return interleaved(*taken)


def with_controls(sweep: Sweep, groups: Sequence[Group], baselines: Mapping[Fingerprint, Baseline]) -> list[Group]:
    """Return the groups of a round, with the controls that they need; a screen needs none."""
    asked = [group for group in groups if group.purpose not in PEERS]
    if not asked:
        return list(groups)
    unit_of = {node: index for index, unit in enumerate(sweep.state.fabric.units) for node in unit.nodes}
    lanes = list(lanes_of(sweep))
    needed = {_shape(group, unit_of): None for group in asked}
    free = _free(sweep, groups)
    added = list(groups)
    for shape in needed:
        for turn in range(_known(lanes, shape, baselines), MOST):
            nodes = free.take(shape)
            if nodes:
                added.append(_control(sweep, added[-1], shape, nodes, turn))
    return added


def _control(sweep: Sweep, last: Group, shape: Shape, nodes: tuple[str, ...], turn: int) -> Group:
    count, crosses = shape
    where = "across leaves" if crosses else "below a leaf"
    key = f"control {count} {where} {sweep.state.round + 1}.{turn}"
    because = f"to know what {count} nodes {where} reach when all of them are well"
    return Group(last.number + 1, last.round, nodes, Purpose.CONTROL, key, "", because)


def _known(lanes: Sequence[Lane], shape: Shape, baselines: Mapping[Fingerprint, Baseline]) -> int:
    """Return how many controls of this shape there are; as many as can be when enough else is known of it."""
    count, crosses = shape
    if any(msgspec.structs.replace(lane.fingerprint, nodes=count, crosses=crosses) in baselines for lane in lanes):
        return MOST
    same = [lane.group for lane in lanes if lane.group.purpose in PEERS and lane.shape == shape]
    if len({group.number for group in same}) >= LEAST_PEERS:
        return MOST
    return len({group.number for group in same if group.purpose is Purpose.CONTROL})


def _free(sweep: Sweep, groups: Sequence[Group]) -> Free:
    passed = {
        node for trial in sweep.state.trials if trial.result.outcome is Outcome.PASS for node in trial.group.nodes
    }
    taken = {node for group in groups for node in group.nodes}
    well = passed - taken - set(sweep.state.left)
    units = [shuffled(_in(unit.nodes, well), sweep.state.seed, sweep.state.round) for unit in sweep.state.fabric.units]
    return Free(sweep.state.fabric, units)


def _in(nodes: Sequence[str], well: set[str]) -> Iterator[str]:
    return (node for node in nodes if node in well)


def _shape(group: Group, unit_of: Mapping[str, int]) -> Shape:
    return len(group.nodes), len({unit_of[node] for node in group.nodes}) > 1
