"""An exported log read back: every entry in its place, and a bad line named by its number."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.events import Logged, LogRestored
from controller.store.cloud_events import cloud_event
from controller.store.exported import BadLine, read_exported
from tests.support.told_log import ToldLog


def lines() -> list[bytes]:
    """Return an exported log with a whole incident."""
    log = ToldLog().node("n1")
    log.repaired("n1", 100)
    return [cloud_event(entry, "main") + b"\n" for entry in log.log]


def with_value(line: bytes, **values: Any) -> bytes:
    """Return a line with other attributes."""
    return json.dumps({**json.loads(line), **values}).encode()


def refused(content: list[bytes]) -> str:
    """Return what is said of a log that is no good."""
    with pytest.raises(BadLine) as caught:
        list(read_exported(content, "log.jsonl"))
    return str(caught.value)


def test_what_was_exported_is_read_back() -> None:
    log = ToldLog().node("n1", "n2")
    log.repaired("n1", 100)
    assert list(read_exported([cloud_event(entry, "main") for entry in log.log], "log")) == log.log


def test_empty_lines_are_passed_over_and_gaps_are_allowed() -> None:
    read = list(read_exported([lines()[0], b"\n", b"  \n", lines()[3]], "log"))
    assert [entry.event_id for entry in read] == [1, 4]


def test_a_line_that_is_cut_off_is_named() -> None:
    content = lines()
    content[4] = content[4][:90] + b"\n"
    assert refused(content).startswith("log.jsonl, line 5: it is no entry of an exported log, or is cut off")
    at_the_end = [*lines()[:4], lines()[4][:90]]
    assert refused(at_the_end).startswith("log.jsonl, line 5: it is cut off, and the last: drop it")


@pytest.mark.parametrize(
    ("kept", "line", "missing"),
    [([0, 1, 3], 3, "entry 3 is"), ([0, 1, 5], 3, "entries 3 to 5 are"), ([1, 2], 1, "entry 1 is")],
)
def test_a_gap_is_named_where_the_log_must_be_whole(kept: list[int], line: int, missing: str) -> None:
    with pytest.raises(BadLine) as caught:
        list(read_exported([lines()[index] for index in kept], "log.jsonl", whole=True))
    assert str(caught.value).startswith(f"log.jsonl, line {line}: {missing} missing before it, ")


def test_what_a_backup_does_not_tell_is_no_gap() -> None:
    restored = cloud_event(Logged(7, 9e9, LogRestored(2)), "main")
    read = list(read_exported([*lines()[:2], restored], "log.jsonl", whole=True))
    assert [entry.event_id for entry in read] == [1, 2, 7]


def test_an_event_of_another_version_is_named_by_its_kind() -> None:
    content = lines()
    content[2] = with_value(content[2], type="fleetmend.node.dreamt", data={"type": "node.dreamt"})
    assert refused(content).startswith("log.jsonl, line 3: 'fleetmend.node.dreamt' is no event of this version")
    content[2] = with_value(lines()[2], data={"type": "step.ended"})
    assert refused(content).startswith("log.jsonl, line 3: it is no whole 'fleetmend.")


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"specversion": "2.0"}, "CloudEvents '2.0' is not known here, 1.0 is"),
        ({"id": "0"}, "id '0' is no number of an entry"),
        ({"id": "1e3"}, "id '1e3' is no number of an entry"),
        ({"id": "9" * 40}, "is no number of an entry"),
        ({"time": "2026-01-31T10:00:00"}, "has no zone"),
        ({"time": "yesterday"}, "yesterday"),
        ({"source": "/fleetmend/other"}, "it is of '/fleetmend/other', the lines before are of '/fleetmend/main'"),
    ],
)
def test_what_is_wrong_with_a_line_is_said(values: dict[str, str], why: str) -> None:
    content = lines()
    content[1] = with_value(content[1], **values)
    said = refused(content)
    assert said.startswith("log.jsonl, line 2: ") and why in said


@pytest.mark.parametrize(
    ("order", "why"),
    [
        ([0, 1, 1], "id 2 is there twice: drop one of the two lines"),
        ([0, 2, 1], "id 2 comes after id 3: sort the lines by id, and drop what is there twice"),
    ],
)
def test_a_line_twice_or_out_of_order_is_refused(order: list[int], why: str) -> None:
    content = lines()
    assert refused([content[index] for index in order]) == f"log.jsonl, line 3: {why}"


@given(content=st.lists(st.binary(max_size=200), max_size=5))
def test_any_bytes_are_entries_or_a_bad_line(content: list[bytes]) -> None:
    try:
        assert list(read_exported(content, "log")) == []
    except BadLine as error:
        assert 1 <= error.number <= len(content)


@given(at=st.integers(0, 400), byte=st.integers(0, 255), number=st.integers(0, 10))
def test_one_damaged_byte_is_read_or_named(at: int, byte: int, number: int) -> None:
    content = lines()
    damaged = bytearray(content[number])
    damaged[at % len(damaged)] = byte
    content[number] = bytes(damaged)
    try:
        read = list(read_exported(content, "log"))
    except BadLine as error:
        assert error.number >= number + 1
    else:
        assert [entry.event_id for entry in read] == sorted({entry.event_id for entry in read})
