"""Numbers taken in, as ranges: the same as a set, and small."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.store.taken import Taken


@given(st.lists(st.integers(1, 60)))
def test_it_is_a_set_of_numbers(numbers: list[int]) -> None:
    taken = Taken()
    for number in numbers:
        taken.add(number)
    assert set(numbers) == {number for number in range(70) if number in taken}
    again = Taken.parse(str(taken), heard_at=1.0)
    assert (taken, str(taken)) == (again, str(again))
    runs = sum(number + 1 not in numbers for number in set(numbers))
    assert runs == len(list(filter(None, str(taken).split(","))))


@given(st.text(alphabet="0123456789-, x", max_size=20))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        taken = Taken.parse(text, heard_at=0.0)
    except ValueError:
        return
    assert taken == Taken.parse(str(taken), heard_at=0.0)


def test_a_copy_leaves_the_original_as_it_is() -> None:
    taken = Taken.parse("1-3", heard_at=5.0)
    other = taken.copy()
    other.add(4)
    assert (str(taken), str(other), other.heard_at) == ("1-3", "1-4", 5.0)


@pytest.mark.parametrize("text", ["3-1", "0-4", "1-5,3-9", "a"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Taken.parse(text, heard_at=0.0)
