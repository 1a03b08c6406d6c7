"""The screen: everybody twice, with others each time, and across the units."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.policy.localising.fabric import Fabric, Unit, fabric_of, in_order
from controller.policy.localising.screen import across, within
from controller.policy.places import Places


def fabric(units: list[int]) -> Fabric:
    return Fabric(
        tuple(
            Unit(f"u{unit}", (f"leaf-{unit}",), tuple(f"n{unit}.{number}" for number in range(size)))
            for unit, size in enumerate(units)
        )
    )


@settings(max_examples=40)
@given(st.lists(st.integers(1, 70), min_size=1, max_size=9), st.integers(4, 32), st.text(max_size=5))
def test_every_node_is_in_one_group_of_each_round(units: list[int], most: int, seed: str) -> None:
    whole = fabric(units)
    for groups in (within(whole, most), across(whole, most, seed)):
        counted = Counter(node for group in groups for node in group)
        assert set(counted.values()) <= {1}
        assert set(counted) == (set(whole.nodes) if len(whole.nodes) > 1 else set())
        assert all(2 <= len(group) <= most + 1 for group in groups)


@settings(max_examples=40)
@given(st.lists(st.integers(4, 40), min_size=1, max_size=6))
def test_the_first_round_stays_below_the_leaves(units: list[int]) -> None:
    for group in within(fabric(units), 16):
        assert len({node.partition(".")[0] for node in group}) == 1


@given(st.integers(2, 9), st.sampled_from([8, 16, 32]), st.text(max_size=5))
def test_the_second_joins_each_unit_with_its_two_neighbours_and_every_step_crosses(
    units: int, size: int, seed: str
) -> None:
    pairs = set()
    for group in across(fabric([size] * units), 16, seed):
        home = [node.partition(".")[0] for node in group]
        assert [one for one, other in zip(home, [*home[1:], home[0]], strict=True) if one == other] == []
        pairs.add(frozenset(home))
    assert len(pairs) == (units if units > 2 else 1)


def test_a_group_of_each_round_have_few_nodes_in_common() -> None:
    whole = fabric([32, 32, 32])
    common = [len({*one} & {*other}) for one in within(whole, 16) for other in across(whole, 16, "s")]
    assert max(common) == 4


def test_the_seed_makes_other_groups() -> None:
    whole = fabric([32] * 4)
    assert across(whole, 16, "a") == across(whole, 16, "a")
    assert across(whole, 16, "a") != across(whole, 16, "b")


# --- where nodes stand -----------------------------------------------------------------------------------------------


def test_units_are_the_nodes_with_the_same_leaves_and_numbers_count() -> None:
    places: dict[str, Places] = {
        "n10": {"leaf": ("leaf-10", "leaf-9")},
        "n2": {"leaf": ("leaf-10", "leaf-9")},
        "n3": {"leaf": ("leaf-11", "leaf-12")},
    }
    found = fabric_of(places, rails=2)
    assert [(unit.leaves, unit.nodes) for unit in found.units] == [
        (("leaf-9", "leaf-10"), ("n2", "n10")),
        (("leaf-11", "leaf-12"), ("n3",)),
    ]
    assert found.units[0].leaf_of("1") == "leaf-10"
    assert found.units[0].leaf_of("all") == "a leaf of leaves leaf-9 to leaf-10"
    assert found.planes == (frozenset({"all"}), frozenset({"0"}), frozenset({"1"}))


@pytest.mark.parametrize(
    ("places", "name"),
    [
        ({"rack": ("r1",), "nvlink_domain": ("d1",)}, "rack r1"),
        ({"nvlink_domain": ("d1",)}, "nvlink domain d1"),
        ({"pool": ("train",)}, "nodes without a place"),
        ({}, "nodes without a place"),
    ],
)
def test_without_leaves_the_next_best_place_counts(places: dict[str, tuple[str, ...]], name: str) -> None:
    (unit,) = fabric_of({"n1": places, "n2": places}, rails=8).units
    assert (unit.name, unit.leaves, unit.nodes) == (name, (), ("n1", "n2"))


def test_spines_are_named_where_a_source_names_them() -> None:
    places: dict[str, Places] = {
        "n1": {"leaf": ("l1",), "spine": ("s10", "s2")},
        "n2": {"leaf": ("l2",), "spine": ("s2",)},
    }
    assert fabric_of(places, rails=1).spines == ("s2", "s10")


def test_names_are_sorted_as_people_count() -> None:
    assert in_order(["n10", "n2", "a", "10", "9"]) == ("9", "10", "a", "n2", "n10")
