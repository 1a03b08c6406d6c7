"""What the numbers of groups mean: which reference they are held against, and what shows nothing."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from checks.bench_baseline import Baseline, Fingerprint
from checks.bench_outcome import Outcome
from checks.bench_result import BenchMachine, BenchNumber
from controller.policy.localising.fabric import ALL, fabric_of
from controller.policy.localising.sweep import begin
from controller.policy.localising.trials import Group, Purpose, Result, Trial
from controller.policy.sweeping.book import Sweep
from controller.policy.sweeping.controls import with_controls
from controller.policy.sweeping.judging import OF_ALL, OF_RAIL, across_share, baselines_of, judge_round
from controller.sweep_events import SweepGroupEnded

MACHINE = BenchMachine("H100", "580.65.06", "2.28.3")
PLACES = {f"n{number}": {"leaf": (f"leaf-{number // 8}",)} for number in range(32)}

STATE = begin(fabric_of(PLACES, rails=2), seed="s")


def fingerprint(nodes: int, *, crosses: bool = False, metric: str = OF_ALL) -> Fingerprint:
    return Fingerprint(metric, "H100", "580.65.06", "2.28.3", "", 1 << 30, nodes, crosses)


@dataclass(slots=True)
class Made:
    """A sweep over four leaves of eight nodes, n0 to n7 on the first, with groups that were measured."""

    sweep: Sweep = field(default_factory=lambda: Sweep("sweep-000001", STATE, "kim", "so", 0.0, 9.0))

    def measured(
        self,
        nodes: str,
        reached: float | None,
        *,
        rails: tuple[float | None, ...] = (),
        purpose: Purpose = Purpose.SCREEN,
        outcome: Outcome = Outcome.PASS,
        told: Outcome | None = None,
    ) -> int:
        """Add a group; one that was `told` is in an earlier round."""
        state = self.sweep.state
        number = state.tests
        group = Group(number, 1, tuple(f"n{each}" for each in nodes.split()), purpose, str(number))
        lanes = {ALL: reached, **{str(rail): value for rail, value in enumerate(rails)}}
        numbers = [BenchNumber("all_reduce", value, lane=lane, size_bytes=1 << 30) for lane, value in lanes.items()]
        self.sweep.measured[number] = SweepGroupEnded("sweep-000001", number, outcome, "so", numbers, MACHINE)
        if told is None:
            self.sweep.state = replace(state, waiting=(*state.waiting, group))
        else:
            self.sweep.state = replace(state, trials=(*state.trials, Trial(group, Result(number, told))))
        return number

    def outcomes(self, baselines: dict[Fingerprint, Baseline] | None = None) -> dict[int, Outcome]:
        results, _ = judge_round(self.sweep, baselines or {})
        return {result.group: result.outcome for result in results}

    def result(self, number: int) -> Result:
        return next(result for result in judge_round(self.sweep, {})[0] if result.group == number)


def test_a_group_is_held_against_the_better_half_of_its_peers() -> None:
    made = Made()
    slow = made.measured("0 1 2 3", 84.0)
    warned, fine = made.measured("4 5 6 7", 92.0), made.measured("8 9 10 11", 100.0)
    made.measured("12 13 14 15", 100.0)
    assert made.outcomes() == {slow: Outcome.FAIL, warned: Outcome.WARN, fine: Outcome.PASS, 3: Outcome.PASS}
    assert made.result(slow).because == (
        "all GPUs reached 84, 84% of 100 (the median of the better half of 4 results of groups of any size)"
    )


def test_a_frozen_baseline_comes_before_peers_who_may_all_be_slow() -> None:
    made = Made()
    groups = [made.measured(nodes, 80.0) for nodes in ("0 1", "2 3", "4 5")]
    assert set(made.outcomes().values()) == {Outcome.PASS}
    known = {fingerprint(2): Baseline(fingerprint(2), 100.0, 1.0, 8)}
    assert made.outcomes(known) == dict.fromkeys(groups, Outcome.FAIL)
    other = {fingerprint(4): Baseline(fingerprint(4), 100.0, 1.0, 8)}
    assert set(made.outcomes(other).values()) == {Outcome.PASS}, "that of another size is no baseline"


def test_what_a_suspect_reaches_is_nobodys_reference() -> None:
    made = Made()
    made.measured("0 1 2 3", 100.0, told=Outcome.PASS)
    made.measured("4 5 6 7", 100.0, told=Outcome.PASS)
    pairs = [made.measured(nodes, 50.0, purpose=Purpose.PARTNER) for nodes in ("8 9", "8 10", "8 11")]
    assert made.outcomes() == dict.fromkeys(pairs, Outcome.FAIL)


def test_controls_of_its_shape_come_before_groups_of_another() -> None:
    """Where pairs reach less by nature, controls say so before a suspect is condemned for it."""
    made = Made()
    made.measured("0 1 2 3", 100.0, told=Outcome.PASS)
    made.measured("4 5 6 7", 100.0, told=Outcome.PASS)
    suspect = made.measured("0 8", 70.0, purpose=Purpose.PARTNER)
    near = made.measured("0 1", 70.0, purpose=Purpose.PARTNER)
    assert made.outcomes()[near] is Outcome.FAIL
    controls = [made.measured(nodes, 71.0, purpose=Purpose.CONTROL) for nodes in ("2 3", "4 5", "6 7")]
    outcomes = made.outcomes()
    assert outcomes[near] is Outcome.PASS
    assert outcomes[suspect] is Outcome.FAIL, "controls below a leaf say nothing of the way across"
    assert {outcomes[number] for number in controls} == {Outcome.PASS}


def test_a_slow_rail_fails_beside_the_other_rails_also_where_it_is_slow_everywhere() -> None:
    made = Made()
    groups = [made.measured(nodes, 100.0, rails=(50.0, 30.0)) for nodes in ("0 1", "2 3", "4 5")]
    assert made.outcomes() == dict.fromkeys(groups, Outcome.FAIL)
    assert made.result(groups[0]).lanes == {ALL: Outcome.PASS, "0": Outcome.PASS, "1": Outcome.FAIL}


def test_a_group_is_no_peer_of_itself_however_often_it_is_run() -> None:
    made = Made()
    first = made.measured("0 1", 50.0, rails=(50.0, 50.0))
    again = made.measured("1 0", 50.0, rails=(50.0, 50.0))
    assert made.outcomes() == {first: Outcome.WARN, again: Outcome.WARN}
    assert set(made.result(first).lanes.values()) == {Outcome.WARN}
    assert made.result(first).because.startswith("no baseline is known of groups like it")


def test_a_group_that_had_no_peer_is_told_again_once_it_has() -> None:
    made = Made()
    lonely = made.measured("0 1", 50.0)
    blind = made.result(lonely)
    made.sweep.state = replace(made.sweep.state, waiting=(), trials=(Trial(made.sweep.state.waiting[0], blind),))
    made.measured("2 3", 100.0)
    made.measured("4 5", 100.0)
    results, again = judge_round(made.sweep, {})
    assert [result.outcome for result in results] == [Outcome.PASS, Outcome.PASS]
    assert [(result.group, result.outcome) for result in again] == [(lonely, Outcome.FAIL)]


def test_a_way_across_the_leaves_that_is_far_slower_shows_nothing_until_a_baseline_says_that_it_is_usual() -> None:
    made = Made()
    for nodes in ("0 1", "8 9"):
        made.measured(nodes, 100.0)
    across = [made.measured(nodes, 50.0) for nodes in ("0 8", "1 9")]
    assert [made.outcomes()[number] for number in across] == [Outcome.WARN, Outcome.WARN]
    assert across_share(made.sweep, {}) == pytest.approx(0.5)
    known = {fingerprint(2, crosses=True): Baseline(fingerprint(2, crosses=True), 50.0, 1.0, 8)}
    assert [made.outcomes(known)[number] for number in across] == [Outcome.PASS, Outcome.PASS]
    assert across_share(made.sweep, known) is None


@pytest.mark.parametrize("value", [None, 0.0, -1.0])
def test_a_lane_without_a_number_is_an_error_and_never_a_pass(value: float | None) -> None:
    made = Made()
    broken = made.measured("0 1", value)
    made.measured("2 3", 100.0)
    made.measured("4 5", 100.0)
    assert made.outcomes()[broken] is Outcome.ERROR


def test_numbers_of_rails_alone_are_an_error() -> None:
    made = Made()
    made.measured("2 3", 100.0, rails=(50.0, 50.0))
    broken = made.measured("0 1", None, rails=(50.0, 50.0))
    del made.sweep.measured[broken].numbers[0]
    assert made.outcomes()[broken] is Outcome.ERROR


def test_what_a_rank_saw_itself_fails_whatever_the_numbers_are() -> None:
    made = Made()
    made.measured("2 3", 100.0)
    made.measured("4 5", 100.0)
    wrong = made.measured("0 1", 100.0, outcome=Outcome.FAIL)
    assert made.result(wrong).lanes == {ALL: Outcome.FAIL}


@pytest.mark.parametrize("outcome", [Outcome.ERROR, Outcome.SKIP])
def test_what_was_not_measured_stays_so(outcome: Outcome) -> None:
    made = Made()
    made.measured("2 3", 100.0)
    made.measured("4 5", 100.0)
    assert made.outcomes() | {made.measured("0 1", 100.0, outcome=outcome): outcome} == made.outcomes()


def test_baselines_are_learnt_of_eight_groups_whose_nodes_are_well() -> None:
    made = Made()
    for number in range(8):
        made.measured(f"{2 * number} {2 * number + 1}", 100.0 + number, rails=(50.0, 50.0), told=Outcome.PASS)
    every = frozenset(PLACES)
    learnt = {each.fingerprint: each for each in baselines_of(made.sweep, {}, every)}
    assert set(learnt) == {fingerprint(2), fingerprint(2, metric=OF_RAIL)}
    assert (learnt[fingerprint(2)].median, learnt[fingerprint(2)].peers) == (103.5, 8)
    assert baselines_of(made.sweep, learnt, every) == []
    assert baselines_of(made.sweep, {}, every - {"n3"}) == []
    seven = Made()
    for number in range(8):
        seven.measured(f"{2 * number} {2 * number + 1}", 100.0, told=Outcome.PASS if number else Outcome.WARN)
    assert baselines_of(seven.sweep, {}, every) == []


# --- controls --------------------------------------------------------------------------------------------------------


def pair(made: Made, *nodes: str) -> Group:
    return Group(made.sweep.state.tests, 2, nodes, Purpose.PARTNER, "pair", nodes[0])


def test_a_round_brings_controls_of_nodes_that_passed_and_are_in_no_other_group_of_it() -> None:
    made = Made()
    for nodes in ("0 1 2 3", "4 5 6 7"):
        made.measured(nodes, 100.0, told=Outcome.PASS)
    made.measured("8 9 10 11", 50.0, told=Outcome.FAIL)
    asked = [pair(made, "n8", "n0")]
    groups = with_controls(made.sweep, asked, {})
    assert groups == asked, "nodes of two leaves are wanted, and only those of one passed"
    made.measured("16 17 18 19", 100.0, told=Outcome.PASS)
    asked = [pair(made, "n8", "n0")]
    controls = with_controls(made.sweep, asked, {})[1:]
    assert [group.number for group in controls] == [asked[0].number + 1 + index for index in range(3)]
    used = [node for group in controls for node in group.nodes]
    assert len(set(used)) == 6 and {"n0", "n8"}.isdisjoint(used)
    assert all({int(node[1:]) // 8 for node in group.nodes} == {0, 2} for group in controls)
    assert all(group.purpose is Purpose.CONTROL and group.because for group in controls)


def test_a_screen_and_what_is_known_need_no_controls() -> None:
    made = Made()
    for nodes in ("0 1 2 3", "4 5 6 7"):
        made.measured(nodes, 100.0, told=Outcome.PASS)
    screen = [Group(2, 2, ("n0", "n1"), Purpose.SCREEN, "screen")]
    assert with_controls(made.sweep, screen, {}) == screen
    asked = [pair(made, "n1", "n0")]
    assert len(with_controls(made.sweep, asked, {})) == 4
    known = {fingerprint(2): Baseline(fingerprint(2), 100.0, 1.0, 8)}
    assert with_controls(made.sweep, asked, known) == asked
    for nodes in ("2 3", "4 5", "6 7"):
        made.measured(nodes, 100.0, purpose=Purpose.CONTROL, told=Outcome.PASS)
    asked = [pair(made, "n1", "n0")]
    assert with_controls(made.sweep, asked, {}) == asked
