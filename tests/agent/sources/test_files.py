"""Small files read by a child: what they say, what cannot be read, what hangs, and any bytes at all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sources.child import Slot
from agent.sources.files import MAX_FILES, Contents, FileReader, entries, parse
from checks.errors import CannotObserve
from tests.support.eventually import eventually
from tests.support.surroundings import write_files

GREP = shutil.which("grep") or ""


async def read(*paths: Path) -> Contents:
    return await FileReader(GREP).read(paths, deadline_s=10.0)


async def test_every_line_of_every_file_is_read(tmp_path: Path) -> None:
    write_files(tmp_path, {"a": "1\n\n3\n", "b": "no newline", "c": ""})
    contents = await read(tmp_path / "a", tmp_path / "b", tmp_path / "c", tmp_path / "gone")
    texts = [contents.text(tmp_path / name) for name in ("a", "b", "c", "gone")]
    assert texts == ["1\n\n3", "no newline", "", ""]


async def test_one_file_cannot_speak_for_another(tmp_path: Path) -> None:
    write_files(tmp_path, {"a": f"1\n{tmp_path}/b\x004: ACTIVE\n", "b": "1: DOWN\n"})
    contents = await read(tmp_path / "a", tmp_path / "b")
    assert contents.line(tmp_path / "b") == "1: DOWN"


async def test_names_with_odd_characters_are_files_and_no_options(tmp_path: Path) -> None:
    write_files(tmp_path, {"--version": "7\n", "a b\n": "8\n"})
    contents = await read(*entries(tmp_path))
    assert [contents.number(tmp_path / "--version"), contents.number(tmp_path / "a b\n")] == [7, None]


async def test_nothing_is_started_to_read_nothing() -> None:
    contents = await FileReader("/no/such/program").read((), deadline_s=1.0)
    assert contents.text(Path("/x")) == ""


async def test_a_program_that_is_not_there_is_an_error() -> None:
    with pytest.raises(CannotObserve, match="not installed"):
        await FileReader("").read([Path("/proc/uptime")], deadline_s=1.0)


async def test_too_many_files_are_refused() -> None:
    with pytest.raises(CannotObserve, match=f"{MAX_FILES + 1} files"):
        await read(*(Path(f"/sys/{number}") for number in range(MAX_FILES + 1)))


async def test_a_read_that_hangs_is_cut_off_and_one_that_cannot_be_killed_is_stuck(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "hangs")
    reader = FileReader(GREP)
    with pytest.raises(CannotObserve, match=r"no answer within 0.1 s") as late:
        await reader.read([tmp_path / "hangs"], deadline_s=0.1)
    assert not late.value.stuck

    slot = Slot(kill=lambda _, __: None, kill_limit_s=0.05)
    immortal = FileReader(GREP, make_slot=lambda: slot)
    for _ in range(2):
        with pytest.raises(CannotObserve, match="does not die of SIGKILL") as stuck:
            await immortal.read([tmp_path / "hangs"], deadline_s=0.1)
        assert stuck.value.stuck
    with (tmp_path / "hangs").open("wb"):
        pass
    await eventually("it is gone", lambda: not slot.stuck)


@pytest.mark.parametrize(
    ("text", "expected"), [("255", 255), ("7\n", 7), ("N/A (no PMA)", None), ("-1", None), ("", None), ("٤", None)]
)
def test_numbers(text: str, expected: int | None) -> None:
    assert expected == Contents({"/x": text}).number(Path("/x"))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
async def test_any_bytes_are_read(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("files") / "file"
    path.write_bytes(data)
    contents = await read(path)
    assert contents.line(path).isprintable()
    number = contents.number(path)
    assert number is None or number >= 0


@given(st.text(max_size=200))
def test_any_print_gives_only_what_was_asked_for(printed: str) -> None:
    assert set(parse(printed, frozenset({"/a", "/b"}))) <= {"/a", "/b"}
