"""Plain values into settings: every problem at once, each with its path, whatever the values are."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from agent.strict import Reader, Rule, Wrong


def _why_not_even(value: int) -> str:
    return "" if value % 2 == 0 else f"{value} is odd"


class Inner(msgspec.Struct, frozen=True):
    RULES: ClassVar[dict[str, Rule]] = {"even": _why_not_even}

    even: int = 0
    positive: Annotated[float, msgspec.Meta(gt=0)] = 1.0

    def __post_init__(self) -> None:
        if self.even > self.positive:
            raise Wrong("even is more than positive")


class Outer(msgspec.Struct, frozen=True):
    name: str
    inner: Inner = Inner()
    others: dict[str, Inner] = {}
    numbers: frozenset[int] = frozenset()
    path: Path | None = None


def problems(values: Any) -> list[str]:
    reader = Reader()
    assert reader.table(values, Outer) is None
    return reader.problems


def test_what_is_right_is_read() -> None:
    values = {"name": "x", "inner": {"even": 2, "positive": 3}, "numbers": [1, 2], "path": "/x", "others": {"a": {}}}
    expected = Outer("x", Inner(2, 3.0), {"a": Inner()}, frozenset({1, 2}), Path("/x"))
    assert expected == Reader().table(values, Outer)


def test_every_problem_is_said_with_its_path() -> None:
    values = {
        "colour": 1,
        "inner": {"even": 3, "positive": 0},
        "others": {"a": {"even": 4}, "b": 7},
        "numbers": [1, "x"],
        "path": 7,
    }
    found = problems(values)
    assert [line.partition(": ")[0] for line in found] == [
        "colour",
        "name",
        "inner.even",
        "inner.positive",
        "others.a",
        "others.b",
        "numbers.1",
        "path",
    ]
    assert "others.a: even is more than positive" in found
    assert "inner.even: 3 is odd" in found


def test_what_is_no_table_is_said_of_the_file() -> None:
    assert problems([]) == ["file: a table is wanted here, and not []"]


KEYS = st.sampled_from(["name", "inner", "others", "even", "numbers", "path", "x"])
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=8,
)


@given(anything)
def test_any_value_is_read_or_refused_with_a_reason(values: Any) -> None:
    reader = Reader()
    assert (reader.table(values, Outer) is None) == bool(reader.problems)


@dataclass(frozen=True, slots=True)
class Part:
    name: str
    size: Annotated[int, msgspec.Meta(ge=0)] = 0


@dataclass(frozen=True, slots=True)
class Whole:
    parts: tuple[Part, ...] = ()
    notes: dict[str, str] = field(default_factory=dict)


def test_dataclasses_are_read_as_structs_are() -> None:
    reader = Reader()
    assert reader.table({"parts": [{"name": "a"}, {"name": "b", "size": 2}]}, Whole) == Whole((Part("a"), Part("b", 2)))
    assert reader.problems == []


def test_every_problem_of_a_list_of_tables_is_told_with_its_place() -> None:
    reader = Reader()
    assert reader.table({"parts": [{"size": -1}, 4, {"name": "b", "colour": ""}], "notes": {"a": 1}}, Whole) is None
    assert reader.problems == [
        "parts.0.name: it must be given",
        "parts.0.size: Expected `int` >= 0",
        "parts.1: a table is wanted here, and not 4",
        "parts.2.colour: no such key here; there are name, size",
        "notes: Expected `str`, got `int` - at `$[...]`",
    ]


def test_a_list_of_tables_is_a_list() -> None:
    reader = Reader()
    assert reader.table({"parts": {"name": "a"}}, Whole) is None
    assert reader.problems == ["parts: Expected `array`, got `object`"]
