"""Every parser of foreign bytes takes what it is given, or refuses it in its own words: a slice of `make fuzz`.

The same inputs with every run. What a campaign found is given again for ever: tests/fuzz/found/<parser>/<defect>.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from tests.fuzz.campaign import FOUND, Chunk, by_name, carried_out, inputs_of, keep, quiet
from tests.fuzz.target import Target
from tests.fuzz.watching import defect_of, limited_in_memory, minimised, told

INPUTS = 60
SEED = 1
PARSERS = by_name()
CASES = sorted(path for path in FOUND.glob("*/*") if path.is_file())


@pytest.fixture(autouse=True)
def _quietly() -> Iterator[None]:
    quiet()
    with limited_in_memory():
        yield


@pytest.mark.parametrize("name", PARSERS)
def test_any_input_is_parsed_or_refused(name: str) -> None:
    done = carried_out(PARSERS[name], Chunk(name, SEED, INPUTS))
    assert [told(defect) for _, defect in done.seen.values()] == []


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_was_found_once_is_mended(path: Path) -> None:
    defect = defect_of(PARSERS[path.parent.name], path.read_bytes())
    assert defect is None, told(defect)


def test_the_same_seed_gives_the_same_inputs() -> None:
    target = PARSERS["controller.settings"]
    one, same, other = (list(islice(inputs_of(target, seed), 50)) for seed in (7, 7, 8))
    assert one == same != other


def _target(parse: object, *clear: type[Exception]) -> Target:
    return Target("wrong", parse, clear, lambda: [b"abc [1, 2] {}"])  # type: ignore[arg-type]


def _wrong(data: bytes) -> object:
    if b"[" in data:
        raise KeyError("a bracket")
    raise ValueError("in its own words")


def test_a_traceback_is_a_defect_made_short_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = _target(_wrong, ValueError)
    assert defect_of(target, b"abc") is None
    ((data, defect),) = carried_out(target, Chunk("wrong", SEED, INPUTS)).seen.values()
    assert defect.kind == "KeyError"
    assert minimised(target, data, defect) == b"["
    monkeypatch.setattr("tests.fuzz.campaign.FOUND", tmp_path)
    assert keep(target, data, defect).read_bytes() == b"["


def test_a_hang_is_a_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fuzz.watching.LIMIT_S", 0.05)

    def hang(_data: bytes) -> object:
        until = time.process_time() + 5.0
        while time.process_time() < until:
            pass
        return None

    defect = defect_of(_target(hang), b"")
    assert defect is not None
    assert defect.kind == "Hang"


def test_a_bomb_is_a_defect() -> None:
    defect = defect_of(_target(lambda _data: bytearray(4 << 30)), b"")
    assert defect is not None
    assert defect.kind == "MemoryError"


def test_an_error_without_words_is_a_defect() -> None:
    def refuse(_data: bytes) -> object:
        raise ValueError

    defect = defect_of(_target(refuse, ValueError), b"")
    assert defect is not None
    assert defect.kind == "unsaid"
