"""Which nodes a token is for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from controller.enrolment.nodes import count_of, covers, why_no_nodes


@pytest.mark.parametrize(
    ("text", "inside", "outside", "count"),
    [
        ("gpu-1", ["gpu-1"], ["gpu-10", "gpu-", "GPU-1", ""], 1),
        ("gpu[001-128]", ["gpu001", "gpu128"], ["gpu0", "gpu1", "gpu-", "gpu129", "gpu[001-128]"], 128),
        ("r[1-2]n[1-3],login", ["r1n3", "login"], ["r3n1", "r1n4"], 7),
        ("gpu-*", ["gpu-1", "gpu-1.example"], ["cpu-1", "xgpu-1"], 0),
        ("gpu-?", ["gpu-1"], ["gpu-12"], 0),
        ("*", ["anything"], [], 0),
    ],
)
def test_it_covers_what_it_says(text: str, inside: list[str], outside: list[str], count: int) -> None:
    assert why_no_nodes(text) == ""
    assert [inside, []] == [[each for each in names if covers(text, each)] for names in (inside, outside)]
    assert count_of(text) == count


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "printable"),
        ("a b", "spaces"),
        ("gpu-1\n", "printable"),
        ("x" * 1_001, "1000"),
        ("gpu[0-9]*", "not both"),
        ("gpu-*,login", "not both"),
        ("gpu[1-", "bracket"),
        ("gpu[1-999999]", "100000"),
        ("gpu-1,controller", "own part"),
        ("broker", "own part"),
        ("gpu/1", "no node's name"),
        ("+", "no node's name"),
        ("#", "no node's name"),
    ],
)
def test_what_says_no_nodes(text: str, why: str) -> None:
    assert why in why_no_nodes(text)


@given(some.text(max_size=40), some.text(max_size=20))
def test_whatever_is_let_through_can_be_asked(text: str, node: str) -> None:
    if not why_no_nodes(text):
        assert covers(text, node) in {True, False}
        assert not covers(text, "") or set(text) == {"*"}
