"""TOML: one kind of error, and no short text that takes much memory or time."""

from __future__ import annotations

import time
import tomllib

import pytest

from wire import toml


def test_what_is_right_is_read_as_the_library_reads_it() -> None:
    text = '[a."b.c".d]\nx = ["10.0.0.1", "h.example"]\n[[e]]\nf = 1.5\n'
    assert toml.loads(text) == tomllib.loads(text)
    assert toml.loads("x = '" + ".".join(["a"] * 127) + "'")["x"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a = ", "Invalid value"),
        ("a = " + "[" * 5_000, "it is nested too deep"),
        ("a = " + "9" * 5_000, "Exceeds the limit"),
        ("x = 1\n" + ".".join(["a"] * 20_000) + " = 1", r"more than 128 parts \(at line 2\)"),
        ("[" + " . ".join(['"a"', "'b'"] * 10_000) + "]", "more than 128 parts"),
    ],
)
def test_what_is_wrong_is_said(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        toml.loads(text)


@pytest.mark.parametrize(
    "text", ["a" * 300_000, "a." * 127 + "a" * 100_000, '"' * 100_001, "a " * 100_000, '"a".' * 120]
)
def test_what_looks_like_a_long_key_takes_no_time(text: str) -> None:
    began = time.process_time()
    with pytest.raises(ValueError, match="line"):
        toml.loads(f"x = [{text}")
    assert time.process_time() - began < 2.0
