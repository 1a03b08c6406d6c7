"""Recordings: what is written is read back, what is no recording is refused with its place, and any bytes at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.errors import CannotJudge
from checks.readings import HostReading, KernelRecord
from checks.recording import FORMAT, Entry, Header, Taken, encode, entry_of, read

HEADER = encode(Header(FORMAT, "a test"))
READING = HostReading(1.0, memory_total_bytes=2)
RECORD = KernelRecord(1.0, "text", 0, 4, 7)


def taken(*lines: bytes) -> list[Taken]:
    return list(read([HEADER, *lines], name="r.jsonl")[1])


def test_what_is_written_is_read_back() -> None:
    lines = [
        entry_of(READING, at=9.0),
        Entry(at=10.0, record=RECORD),
        Entry(line="[1.0] NVRM: x"),
        Entry(at=11.0, source="rdma", cannot_observe="it hangs"),
    ]
    assert taken(*map(encode, lines)) == [
        Taken(2, 9.0, "host", READING),
        Taken(3, 10.0, "kernel_log", RECORD),
        Taken(4, 0.0, "kernel_log", b"[1.0] NVRM: x"),
        Taken(5, 11.0, "rdma", "it hangs"),
    ]


@pytest.mark.parametrize(
    ("lines", "because"),
    [
        ([], r"r\.jsonl:1: "),
        ([b"{}"], r"r\.jsonl:1: Object missing required field `fleetmend_recording`"),
        ([b'{"fleetmend_recording": 2, "origin": ""}'], r"r\.jsonl:1: recording format 2, .* reads 1"),
        ([HEADER, b"{"], r"r\.jsonl:2: .*truncated"),
        ([HEADER, b'{"source": "hots"}'], r"r\.jsonl:2: source 'hots' is not known; there are .*host"),
        ([HEADER, b'{"source": "host", "reading": {"at_s": "x"}}'], r"r\.jsonl:2: reading: Expected `float`.*at_s"),
        ([HEADER, b'{"source": "host"}'], r"r\.jsonl:2: "),
        ([HEADER, b"\xff"], r"r\.jsonl:2: "),
    ],
)
def test_what_is_no_recording_is_refused_with_its_place(lines: list[bytes], because: str) -> None:
    with pytest.raises(CannotJudge, match=because):
        list(read(lines, name="r.jsonl")[1])


def test_fields_of_a_newer_version_mean_nothing() -> None:
    newer = b'{"source": "host", "colour": 1, "reading": {"at_s": 1.0, "memory_total_bytes": 2, "mood": "good"}}'
    assert [each.what for each in taken(newer)] == [READING]


@given(st.lists(st.binary(max_size=80), max_size=5))
def test_any_bytes_are_a_recording_or_refused(lines: list[bytes]) -> None:
    for first in ([], [HEADER]):
        try:
            list(read([*first, *lines], name="r.jsonl")[1])
        except CannotJudge as error:
            assert str(error).startswith("r.jsonl:")
