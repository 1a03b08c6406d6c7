"""Recordings: what is written is read back, what is no recording is refused with its place, and any bytes at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.errors import CannotJudge
from checks.readings import FilesystemReading, HostReading, KernelRecord, MountsReading
from checks.recording import FORMAT, Entry, Header, Reset, Started, Taken, Unobserved, encode, entry_of, read

HEADER = encode(Header(FORMAT, "a test"))
READING = HostReading(1.0, memory_total_bytes=2)
RECORD = KernelRecord(1.0, "text", 0, 4, 7)
OTHERS = (Unobserved("no reading for 9 s", "overdue"), Started("boot-2"), Reset("GPU-1"), RECORD, b"[1.0] NVRM: y")


def taken(*lines: bytes) -> list[Taken]:
    return list(read([HEADER, *lines], name="r.jsonl")[1])


def test_what_is_written_is_read_back() -> None:
    lines = [
        entry_of(READING, at=9.0),
        Entry(at=10.0, record=RECORD),
        Entry(line="[1.0] NVRM: x"),
        Entry(at=11.0, source="rdma", cannot_observe="it hangs"),
        *(entry_of(what, at=12.0, source="rdma") for what in OTHERS),
    ]
    assert taken(*map(encode, lines)) == [
        Taken(2, 9.0, "host", READING),
        Taken(3, 10.0, "kernel_log", RECORD),
        Taken(4, 0.0, "kernel_log", b"[1.0] NVRM: x"),
        Taken(5, 11.0, "rdma", Unobserved("it hangs")),
        Taken(6, 12.0, "rdma", Unobserved("no reading for 9 s", "overdue")),
        Taken(7, 12.0, "", Started("boot-2")),
        Taken(8, 12.0, "", Reset("GPU-1")),
        Taken(9, 12.0, "kernel_log", RECORD),
        Taken(10, 12.0, "kernel_log", b"[1.0] NVRM: y"),
    ]


def test_a_name_that_is_no_text_is_recorded_all_the_same() -> None:
    name = b"/mnt/\xff".decode(errors="surrogateescape")
    (read_back,) = taken(encode(entry_of(MountsReading(1.0, (FilesystemReading(name),)), at=1.0)))
    assert isinstance(read_back.what, MountsReading)
    assert [filesystem.mount for filesystem in read_back.what.filesystems] == ["/mnt/?"]


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
        ([HEADER, b"\xff"], rf"r\.jsonl:2: .* \(the line begins at byte {len(HEADER)}\)"),
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
