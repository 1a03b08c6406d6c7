"""What the numbers of a round mean: each lane as a share of what groups like it reach.

The reference is the frozen baseline of groups with the same fingerprint: their number of nodes and whether they left
their leaves are part of it. Where none is known yet, this sweep's own groups of that shape are the peers, once there
are eight of the screen or a control: the median of their better half, so that three quarters would have to be slow
before a slow one seems well. Until then groups of other sizes stand in. Rails are alike and have one reference, so that
a rail that is slow everywhere is seen. What shows nothing is a warning: a group without any peer, and a way across the
leaves that is far slower than below them while no baseline says that it always was.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

import msgspec

from checks.bench_baseline import LEAST_PEERS, Baseline, Fingerprint, learnt
from checks.bench_judging import GROUP_FAIL_SHARE, judge_group
from checks.bench_outcome import Outcome, worst
from checks.bench_result import BenchNumber
from controller.policy.localising.fabric import ALL
from controller.policy.localising.trials import Group, Purpose, Result
from controller.policy.sweeping.book import Sweep
from controller.sweep_events import SweepGroupEnded

LEAST_GROUPS = 2
"""Groups without which there is nothing to compare: its own is one of them. Source: our choice."""

PEERS = frozenset({Purpose.SCREEN, Purpose.CONTROL})
"""Groups that were not chosen because something in them is suspected."""

OF_ALL, OF_RAIL = "group_all_reduce", "lane_all_reduce"
"""Metrics of groups: over all GPUs together, and over one of each node. A pair's has another name because a limit is
known for it, and is the same number."""

Shape = tuple[int, bool]
"""How many nodes, and whether they hang on several leaves."""

Peers = Mapping[Fingerprint, Mapping[str, list[float]]]
"""Fingerprint → nodes of a group → what its lanes reached, as often as it was run: it is no peer of itself."""


@dataclass(frozen=True, slots=True)
class Reference:
    """What a lane should reach, and who says so."""

    value: float
    said_by: str


@dataclass(frozen=True, slots=True)
class Lane:
    """One lane of a group, and what it reached."""

    group: Group
    number: BenchNumber
    fingerprint: Fingerprint

    @property
    def shape(self) -> Shape:
        """What groups need in common to be alike."""
        return self.fingerprint.nodes, self.fingerprint.crosses


@dataclass(slots=True)
class References:
    """What is known of groups: frozen baselines first, then this sweep's own.

    Attributes:
        peers: what groups of the screen and controls reached.
        controlled: shapes of which a control was measured.
    """

    baselines: Mapping[Fingerprint, Baseline]
    peers: Peers
    controlled: frozenset[Shape]
    _found: dict[Fingerprint, Reference | None] = field(default_factory=dict)

    def of(self, fingerprint: Fingerprint) -> Reference | None:
        """Return what a lane of this fingerprint should reach, `None` when nobody can tell."""
        if fingerprint not in self._found:
            self._found[fingerprint] = self._frozen(fingerprint) or self._of_peers(fingerprint)
        return self._found[fingerprint]

    def _frozen(self, fingerprint: Fingerprint) -> Reference | None:
        known = self.baselines.get(fingerprint)
        return Reference(known.median, f"the median of {known.peers} groups") if known is not None else None

    def _of_peers(self, fingerprint: Fingerprint) -> Reference | None:
        same = self.peers.get(fingerprint, {})
        if len(same) >= LEAST_PEERS or (fingerprint.nodes, fingerprint.crosses) in self.controlled:
            return _better_half(fingerprint, list(same.values()), "groups of its size")
        for crosses in (fingerprint.crosses, not fingerprint.crosses):
            alike = msgspec.structs.replace(fingerprint, nodes=0, crosses=crosses)
            others = (groups for each, groups in self.peers.items() if msgspec.structs.replace(each, nodes=0) == alike)
            values = [values for groups in others for values in groups.values()]
            found = _better_half(fingerprint, values, "groups of any size")
            if found is not None:
                return found
        return None

    def is_suspect(self, fingerprint: Fingerprint) -> bool:
        """Whether groups across the leaves are far slower than below, and no baseline says that they always were."""
        if not fingerprint.crosses or fingerprint in self.baselines:
            return False
        share = self.across(fingerprint)
        return share is not None and share < GROUP_FAIL_SHARE

    def across(self, fingerprint: Fingerprint) -> float | None:
        """Return what such a lane reaches of what it reaches below the leaves, `None` when nobody can tell."""
        here, below = self.of(fingerprint), self.of(msgspec.structs.replace(fingerprint, crosses=False))
        return here.value / below.value if here is not None and below is not None and below.value > 0.0 else None


def judge_round(sweep: Sweep, baselines: Mapping[Fingerprint, Baseline]) -> tuple[list[Result], list[Result]]:
    """Return what the groups that are waited for mean, all of which have ended, and earlier ones that are told now."""
    lanes = list(lanes_of(sweep))
    references = _references(lanes, baselines)
    own: dict[int, list[Lane]] = defaultdict(list)
    for lane in lanes:
        own[lane.group.number].append(lane)
    blind = [trial.result.group for trial in sweep.state.trials if trial.result.because == _NO_PEERS]
    results, again = (
        [_result(sweep.measured[number], own[number], references) for number in numbers if number in sweep.measured]
        for numbers in ([group.number for group in sweep.state.waiting], blind)
    )
    return results, [result for result in again if result.because != _NO_PEERS]


def baselines_of(sweep: Sweep, baselines: Mapping[Fingerprint, Baseline], well: frozenset[str]) -> list[Baseline]:
    """Return what can be learnt from a sweep for later ones: of groups that passed, and whose nodes are all well."""
    passed = {trial.group.number for trial in sweep.state.trials if trial.result.outcome is Outcome.PASS}
    peers = _peers(
        lane
        for lane in lanes_of(sweep)
        if lane.group.number in passed and lane.group.purpose in PEERS and well.issuperset(lane.group.nodes)
    )
    new = sorted(fingerprint for fingerprint in peers if fingerprint not in baselines)
    return [baseline for each in new if (baseline := learnt(each, peers[each])) is not None]


def across_share(sweep: Sweep, baselines: Mapping[Fingerprint, Baseline]) -> float | None:
    """Return what groups across the leaves reach of what they reach below them, where that is suspect and unexplained.

    It may be how the network is built, or all of its spines may be slow: one sweep alone cannot tell.
    """
    references = _references(list(lanes_of(sweep)), baselines)
    suspect = [each for each in references.peers if references.is_suspect(each)]
    shares = [references.across(each) for each in suspect]
    return min((share for share in shares if share is not None), default=None)


def lanes_of(sweep: Sweep) -> Iterator[Lane]:
    """Yield every lane of which something was measured in this sweep."""
    unit_of = {node: index for index, unit in enumerate(sweep.state.fabric.units) for node in unit.nodes}
    for group in (*(trial.group for trial in sweep.state.trials), *sweep.state.waiting):
        ended = sweep.measured.get(group.number)
        crosses = len({unit_of[node] for node in group.nodes}) > 1
        for number in ended.numbers if ended is not None else ():
            yield Lane(group, number, _fingerprint(group, ended, number, crosses=crosses))


def _references(lanes: Sequence[Lane], baselines: Mapping[Fingerprint, Baseline]) -> References:
    controlled = frozenset(lane.shape for lane in lanes if lane.group.purpose is Purpose.CONTROL)
    return References(baselines, _peers(lane for lane in lanes if lane.group.purpose in PEERS), controlled)


def _fingerprint(group: Group, ended: SweepGroupEnded | None, number: BenchNumber, *, crosses: bool) -> Fingerprint:
    assert ended is not None
    metric, machine = OF_ALL if number.lane == ALL else OF_RAIL, ended.machine
    size, nodes = number.size_bytes, len(group.nodes)
    return Fingerprint(metric, machine.sku, machine.driver, machine.nccl, "", size, nodes, crosses, number.way)


def _peers(lanes: Iterable[Lane]) -> Peers:
    peers: dict[Fingerprint, dict[str, list[float]]] = defaultdict(dict)
    for lane in lanes:
        if lane.number.value is not None:
            nodes = " ".join(sorted(lane.group.nodes))
            peers[lane.fingerprint].setdefault(nodes, []).append(lane.number.value)
    return peers


def _better_half(fingerprint: Fingerprint, groups: Sequence[list[float]], where: str) -> Reference | None:
    """Return the median of the better half; the rails of one group are peers of each other, its results are not."""
    values = sorted((value for group in groups for value in group), reverse=True)
    if len(groups) < LEAST_GROUPS and fingerprint.metric != OF_RAIL:
        return None
    said_by = f"the median of the better half of {len(values)} results of {where}"
    return Reference(median(values[: (len(values) + 1) // 2]), said_by) if values else None


def _result(ended: SweepGroupEnded, lanes: list[Lane], references: References) -> Result:
    outcome = Outcome(ended.outcome)
    if not outcome.is_measured:
        return Result(ended.group, outcome, missing=tuple(ended.missing), because=ended.because)
    known = [(lane, reference) for lane in lanes if (reference := references.of(lane.fingerprint)) is not None]
    _, judged = judge_group({lane.number.lane: _share(lane, reference) for lane, reference in known})
    shows_nothing = ALL not in judged
    for lane in lanes:
        passed = judged.setdefault(lane.number.lane, Outcome.PASS) is Outcome.PASS
        if passed and (shows_nothing or references.is_suspect(lane.fingerprint)):
            judged[lane.number.lane] = Outcome.WARN
    if outcome is Outcome.FAIL:
        return Result(ended.group, outcome, {**judged, ALL: outcome}, because=ended.because)
    if ALL not in judged:
        return Result(ended.group, Outcome.ERROR, because="no rank gave a number for all of its GPUs together")
    because = _NO_PEERS if shows_nothing else _because(known)
    return Result(ended.group, worst(judged.values()), judged, because=because)


_NO_PEERS = "no baseline is known of groups like it, and no other group was measured to hold it against"


def _share(lane: Lane, reference: Reference) -> float | None:
    return lane.number.value / reference.value if lane.number.value is not None and reference.value > 0.0 else None


def _because(known: list[tuple[Lane, Reference]]) -> str:
    """Return the sentence about the slowest lane, empty when none can be held against anything."""
    shares = [(share, *each) for each in known if (share := _share(*each)) is not None]
    if not shares:
        return ""
    share, lane, reference = min(shares, key=lambda each: each[0])
    where = "all GPUs" if lane.number.lane == ALL else f"rail {lane.number.lane}"
    return f"{where} reached {lane.number.value:.4g}, {share:.0%} of {reference.value:.4g} ({reference.said_by})"
