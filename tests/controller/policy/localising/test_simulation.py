"""The simulated networks do what their faults say, and the methods beside ours are given their due."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest

from benchmarks.pairing import Named, circle, dlrover, exhaustive, health_scanner
from benchmarks.simulated_fabric import RAILS, Fault, Network, Noise, network
from checks.bench_outcome import Outcome

QUIET = Noise(wrong=0.0, error=0.0, departs=0.0)


def room(*faults: Fault, rail_optimised: bool = True, routes_are_fixed: bool = True) -> Network:
    """Return four units of eight nodes: n0 to n7, n8 to n15, ..."""
    made = Network(32, 8, 4, rail_optimised, routes_are_fixed, random.Random(1), QUIET)
    made.faults = faults
    return made


def slow(made: Network, *nodes: str) -> set[str]:
    """Return the lanes on which the group is slow, `all` left out."""
    return set(made.run(0, nodes).failing())


WITHIN, ACROSS, ELSEWHERE = ("n0", "n1", "n2", "n3"), ("n0", "n8", "n1", "n9", "n2", "n10", "n3", "n11"), ("n16", "n24")


@pytest.mark.parametrize(
    ("fault", "within", "across", "elsewhere"),
    [
        (Fault("node", 0.5, node="n1"), set(map(str, range(RAILS))), set(map(str, range(RAILS))), set()),
        (Fault("inside", 0.5, node="n1"), {"all"}, {"all"}, set()),
        (Fault("port", 0.5, node="n1", rail=3), {"3"}, {"3"}, set()),
        (Fault("leaf", 0.5, unit=0, rail=3), {"3"}, {"3"}, set()),
        (Fault("uplink", 0.5, unit=0, rail=3, spine=2), set(), {"3"}, set()),
        (Fault("spine", 0.5, spine=2), set(), set(map(str, range(RAILS))), {"2", "6"}),
    ],
)
def test_a_fault_slows_what_goes_its_way(fault: Fault, within: set[str], across: set[str], elsewhere: set[str]) -> None:
    """With fixed routes a group of two, n16 and n24, meets spine 2 on two rails: (number + rail) % 4."""
    made = room(fault)
    assert [slow(made, *group) for group in (WITHIN, ACROSS, ELSEWHERE)] == [within, across, elsewhere]


def test_with_one_leaf_for_all_rails_a_leaf_slows_them_all() -> None:
    assert slow(room(Fault("leaf", 0.5), rail_optimised=False), *WITHIN) == set(map(str, range(RAILS)))


def test_hashed_routes_miss_a_bad_uplink_now_and_then() -> None:
    made = room(Fault("uplink", 0.5, unit=0, rail=3, spine=2), routes_are_fixed=False)
    met = [bool(slow(made, "n0", "n8")) for _ in range(200)]
    assert 0.8 < sum(met) / len(met) < 0.97


def test_results_are_wrong_as_often_as_is_said() -> None:
    made = room()
    made.noise = Noise(wrong=0.1, error=0.05, departs=0.02)
    outcomes = Counter(made.run(0, WITHIN).outcome for _ in range(4_000))
    assert outcomes[Outcome.ERROR] / 4_000 == pytest.approx(0.05, abs=0.012)
    assert outcomes[Outcome.FAIL] / 4_000 == pytest.approx(0.095, abs=0.016)
    assert sum(made.departing(WITHIN) is not None for _ in range(4_000)) / 4_000 == pytest.approx(0.02, abs=0.008)


def test_a_seed_is_one_network() -> None:
    assert [network(7).faults, network(7).size] == [network(7).faults, network(7).size]
    assert len({network(seed).size for seed in range(60)}) > 8
    assert {network(seed).faults[0].kind for seed in range(60)} == {"node", "inside", "port", "leaf", "uplink", "spine"}


# --- the methods beside ours -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 3, 8, 9])
def test_in_a_circle_every_two_meet_once_and_nobody_is_in_two_pairs(count: int) -> None:
    names = [f"n{number}" for number in range(count)]
    met: Counter[frozenset[str]] = Counter()
    for pairs in circle(names):
        assert len({name for pair in pairs for name in pair}) == 2 * len(pairs)
        met.update(map(frozenset, pairs))
    assert len(met) == count * (count - 1) // 2
    assert set(met.values()) == {1}


@pytest.mark.parametrize(("method", "tests"), [(dlrover, 32), (health_scanner, 18), (exhaustive, 496)])
@pytest.mark.parametrize("node", ["n0", "n13", "n31"])
def test_without_noise_each_names_a_bad_node_and_no_other(
    method: Callable[[Network], Named], tests: int, node: str
) -> None:
    named = method(room(Fault("node", 0.5, node=node)))
    assert (set(named.nodes), named.tests) == ({node}, tests)


def test_none_of_them_knows_of_switches() -> None:
    made = room(Fault("leaf", 0.5, unit=1))
    assert exhaustive(made).nodes == {f"n{number}" for number in range(8, 16)}
