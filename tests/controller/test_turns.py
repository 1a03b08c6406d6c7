"""In whose turn things are thought about: nothing is lost, each node keeps its order, and nobody waits for a flood."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from controller.turns import SHARE, Turns

MOST = 2_000


def test_a_flood_takes_its_share_of_a_batch_and_the_others_follow_in_it() -> None:
    turns = Turns[str]()
    for number in range(10 * SHARE):
        turns.add(f"flood {number}", "n1")
    turns.add("fault", "n2")
    assert turns.take(MOST) == [*(f"flood {number}" for number in range(SHARE)), "fault"]
    assert turns.take(MOST) == [f"flood {number}" for number in range(SHARE, 2 * SHARE)]


def test_what_comes_to_much_counts_for_it_and_is_thought_about_all_the_same() -> None:
    turns = Turns[str]()
    turns.add("level", "n1", events=200)
    turns.add("small", "n1")
    turns.add("another level", "n1", events=200)
    turns.add("fault", "n2")
    assert turns.take(MOST) == ["level", "fault"]
    assert turns.take(MOST) == ["small"]
    assert turns.take(MOST) == ["another level"]
    assert not turns


def test_the_controllers_own_goes_first_and_rules_before_all_of_it() -> None:
    turns = Turns[str]()
    turns.add("fault", "n1")
    turns.add("step ended")
    turns.add_first("other rules")
    assert list(turns.oldest()) == ["other rules", "fault"]
    assert turns.take(MOST) == ["other rules", "step ended", "fault"]


def test_a_batch_that_is_full_leaves_the_next_turn_to_those_who_had_none() -> None:
    turns = Turns[str]()
    for node in ("n1", "n2", "n3"):
        for number in range(3):
            turns.add(f"{node} {number}", node)
    assert turns.take(4) == ["n1 0", "n1 1", "n1 2", "n2 0"]
    assert turns.take(4) == ["n3 0", "n3 1", "n3 2", "n2 1"]
    assert (turns.take(4), bool(turns)) == (["n2 2"], False)


@given(
    st.lists(st.tuples(st.sampled_from(["", "n1", "n2", "n3"]), st.integers(0, 40)), max_size=200),
    st.integers(1, 50),
)
def test_all_comes_once_and_each_nodes_words_in_their_order(said: list[tuple[str, int]], most: int) -> None:
    turns = Turns[tuple[str, int]]()
    for number, (node, events) in enumerate(said):
        turns.add((node, number), node, events=events)
    taken: list[tuple[str, int]] = []
    while turns:
        batch = turns.take(most)
        assert 0 < len(batch) <= most
        taken += batch
    assert sorted(number for _, number in taken) == list(range(len(said)))
    for node in {node for node, _ in said}:
        numbers = [number for each, number in taken if each == node]
        assert numbers == sorted(numbers)
