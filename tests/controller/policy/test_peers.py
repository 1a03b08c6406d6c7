"""Peers: who stands out, for how long, and when nobody is to blame."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.finding import Action, Verdict
from checks.measures import BY_NAME
from controller.policy.peers import (
    CONTINUITY_S,
    DEVIATIONS,
    FRESH_S,
    LEAST_PEERS,
    MOST_SHARE,
    Group,
    Judged,
    Peers,
)

HOT = "gpu_idle_temperature_celsius"
SLOW = "gpu_busy_sm_clock_mhz"
H100 = Group("8 × H100")


@dataclass
class Room:
    """A fleet that says its numbers once a minute."""

    peers: Peers = field(default_factory=Peers)
    now: float = 0.0
    found: set[str] = field(default_factory=set)

    def minute(self, values: dict[str, float], *, measure: str = HOT, group: Group = H100) -> list[Judged]:
        """Let every node say its number; return what was judged a moment later."""
        self.now += 60.0
        for node, value in values.items():
            self.peers.tell(node, group, {measure: value}, self.now)
        return self.judge()

    def judge(self) -> list[Judged]:
        judged = [
            each
            for key in self.peers.comparisons()
            for part in self.peers.compare(key, self.now, is_found=self.found.__contains__)
            for each in part
        ]
        self.found |= {each.node for each in judged if each.stands_out}
        self.found -= {each.node for each in judged if not each.stands_out}
        return judged


def fleet(count: int = 20, *, seed: int = 1, **others: float) -> dict[str, float]:
    dice = random.Random(seed)
    return {f"n{number}": 40.0 + dice.gauss(0.0, 2.0) for number in range(count)} | others


def test_a_node_stands_out_after_four_minutes_without_a_break() -> None:
    room = Room()
    judged = [room.minute(fleet(n3=70.0)) for _ in range(6)]
    assert [bool(each) for each in judged] == [False, False, False, False, True, True]
    (found,) = judged[4]
    assert (found.node, found.stands_out, found.value, found.peers, found.for_s) == ("n3", True, 70.0, 20, CONTINUITY_S)
    assert found.deviations > DEVIATIONS


def test_the_finding_is_a_warning_with_its_numbers_and_no_action() -> None:
    room = Room()
    for _ in range(4):
        room.minute(fleet(n3=70.0))
    finding = room.minute(fleet(n3=70.0))[0].finding()
    assert (finding.check, finding.device, finding.code) == ("peer.outlier", "node", HOT)
    assert (finding.verdict, finding.action) == (Verdict.DEGRADED, Action.NONE)
    assert finding.because.startswith("The temperature of the hottest GPU that rests is 70 °C, ")
    assert finding.because.endswith("of 20 nodes of the same model, for 4 minutes.")
    assert set(finding.evidence) == {"value", "median", "deviations", "limit", "peers"}


def test_a_break_begins_the_four_minutes_anew() -> None:
    room = Room()
    for value in (70.0, 70.0, 70.0, 40.0, 70.0, 70.0, 70.0, 70.0):
        assert room.minute(fleet(n3=value)) == []
    assert [each.node for each in room.minute(fleet(n3=70.0))] == ["n3"]


def test_it_is_over_after_four_minutes_among_its_peers() -> None:
    room = Room()
    for _ in range(5):
        room.minute(fleet(n3=70.0))
    assert room.found == {"n3"}
    quiet = [room.minute(fleet(n3=41.0)) for _ in range(5)]
    assert [bool(each) for each in quiet] == [False, False, False, False, True]
    assert (quiet[4][0].stands_out, room.found) == (False, set())
    assert quiet[4][0].over().startswith("The temperature of the hottest GPU that rests is 41 °C, like that of its 20 ")


@pytest.mark.parametrize(("hot", "is_blamed"), [(1, True), (2, True), (3, False), (10, False)])
def test_when_more_than_a_tenth_stands_out_together_nobody_is_blamed(hot: int, is_blamed: bool) -> None:
    room = Room()
    for _ in range(6):
        room.minute(fleet(20) | {f"n{number}": 70.0 for number in range(hot)})
    assert bool(room.found) == is_blamed


def test_a_finding_stays_while_the_fleet_says_nothing() -> None:
    """Unknown clears nothing: neither too few peers, nor a shift of many, nor silence."""
    room = Room()
    for _ in range(5):
        room.minute(fleet(n3=70.0))
    for _ in range(10):
        room.minute(fleet(4, n3=40.0))
        room.minute(fleet(20) | {f"n{number}": 70.0 for number in range(9, 15)})
    room.now += 10 * FRESH_S
    assert (room.judge(), room.found) == ([], {"n3"})


@pytest.mark.parametrize(("count", "is_blamed"), [(LEAST_PEERS - 1, False), (LEAST_PEERS, True)])
def test_few_nodes_are_no_peers(count: int, is_blamed: bool) -> None:
    room = Room()
    for _ in range(6):
        room.minute(fleet(count, n0=90.0))
    assert bool(room.found) == is_blamed


def test_only_the_worse_direction_is_found() -> None:
    room = Room()
    for _ in range(6):
        room.minute(fleet(n3=5.0))
        room.minute({name: value * 50 for name, value in fleet(n4=100.0).items()}, measure=SLOW)
    assert room.found == set()
    for _ in range(6):
        room.minute(dict.fromkeys(fleet(), 1980.0) | {"n4": 1500.0}, measure=SLOW)
    assert room.found == {"n4"}


def test_a_difference_that_means_nothing_is_none_however_alike_the_others_are() -> None:
    room = Room()
    for _ in range(6):
        room.minute(dict.fromkeys(fleet(), 40.0) | {"n3": 40.0 + 3.4 * BY_NAME[HOT].least_spread})
    assert room.found == set()
    for _ in range(6):
        room.minute(dict.fromkeys(fleet(), 40.0) | {"n3": 40.0 + 3.6 * BY_NAME[HOT].least_spread})
    assert room.found == {"n3"}


def test_models_and_jobs_are_not_compared_with_each_other() -> None:
    room = Room()
    for _ in range(6):
        room.now += 60.0
        for number in range(10):
            room.peers.tell(f"a{number}", Group("8 × H100"), {HOT: 40.0}, room.now)
            room.peers.tell(f"b{number}", Group("8 × B200"), {HOT: 70.0}, room.now)
            room.peers.tell(f"a{number}", Group("8 × H100", job="1"), {SLOW: 1980.0}, room.now)
            room.peers.tell(f"c{number}", Group("8 × H100", job="2"), {SLOW: 1200.0}, room.now)
        room.judge()
    assert room.found == set()


def test_a_node_that_takes_another_job_begins_anew_there() -> None:
    room = Room()
    for job in ("1", "1", "1", "2", "2", "2"):
        room.now += 60.0
        for number in range(10):
            clock_mhz = 1200.0 if number == 3 else 1980.0
            room.peers.tell(f"n{number}", Group("8 × H100", job=job), {SLOW: clock_mhz}, room.now)
        assert room.judge() == []
    assert list(room.peers.said) == [(SLOW, Group("8 × H100", job="2"))]


ERRORS = "gpu_corrected_errors"


def test_totals_are_compared_by_their_growth() -> None:
    room = Room()
    judged = [
        room.minute({f"n{number}": 1e6 * number + minute * (number == 3) for number in range(10)}, measure=ERRORS)
        for minute in range(7)
    ]
    assert [bool(each) for each in judged] == [False] * 5 + [True] * 2
    assert judged[5][0].node == "n3"
    assert judged[5][0].value == pytest.approx(60.0)


def test_a_total_that_began_anew_says_nothing_for_once() -> None:
    peers = Peers()
    for at, total in ((60.0, 500.0), (120.0, 500.0), (180.0, 3.0), (180.0, 9.0), (240.0, 9.0)):
        peers.tell("n1", H100, {ERRORS: total}, at)
    assert peers.said[ERRORS, H100]["n1"].value == 0.0
    peers.tell("n1", H100, {ERRORS: 10.0}, 300.0)
    assert peers.said[ERRORS, H100]["n1"].value == pytest.approx(60.0)


def test_what_is_no_number_or_no_measure_is_left_out() -> None:
    peers = Peers()
    peers.tell("n1", H100, {HOT: float("nan"), SLOW: float("inf"), "something": 1.0}, 0.0)
    assert peers.said == {}


def test_nodes_that_went_away_leave_nothing_behind() -> None:
    room = Room()
    for _ in range(6):
        room.minute(fleet(n3=70.0))
    room.now += FRESH_S + 1.0
    room.judge()
    assert room.peers == Peers()


@given(
    values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40),
    minutes=st.integers(1, 8),
)
def test_however_the_numbers_lie_no_more_than_a_tenth_is_ever_blamed(values: list[float], minutes: int) -> None:
    room = Room()
    for _ in range(minutes):
        room.minute({f"n{number}": value for number, value in enumerate(values)})
    assert len(room.found) <= max(1.0, MOST_SHARE * len(values))
    assert not room.found or (len(values) >= LEAST_PEERS and minutes >= 5)


def test_a_great_group_is_compared_in_parts_and_a_node_that_went_meanwhile_is_left_alone() -> None:
    peers, found = Peers(at_once=15), list[str]()
    values = fleet(50, n7=90.0, n8=90.0)
    for minute in range(5):
        for node, value in values.items():
            peers.tell(node, H100, {HOT: value}, 60.0 * minute)
        parts = peers.compare((HOT, H100), 60.0 * minute, is_found=lambda _: False)
        found = [each.node for part in _and_meanwhile(parts, peers, minute) for each in part]
    assert found == ["n7"]


def _and_meanwhile(parts: Iterator[list[Judged]], peers: Peers, minute: int) -> Iterator[list[Judged]]:
    """Let n8 go to another pool in the midst of the last comparison."""
    for number, part in enumerate(parts):
        if (minute, number) == (4, 3):
            peers.tell("n8", Group("8 × H100", "other"), {HOT: 90.0}, 60.0 * minute)
        yield part
