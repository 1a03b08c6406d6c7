"""Every form in which a kernel-log line comes, and which of them are believed."""

from __future__ import annotations

import pytest

from checks.kernel_log import MAX_LINE_BYTES, believed, continuation, excerpt, parse_line, soon_after
from checks.readings import KernelRecord

TEXT = "EXT4-fs (md0): Remounting filesystem read-only"

FORMS = {
    "dmesg": (f"[  416.096726] {TEXT}", KernelRecord(416.096726, TEXT)),
    "dmesg without fraction": (f"[123] {TEXT}", KernelRecord(123.0, TEXT)),
    "dmesg with caller": (f"[  416.096726][   T12] {TEXT}", KernelRecord(416.096726, TEXT)),
    "dmesg -T": (f"[Fri Aug 30 11:43:09 2024] {TEXT}", KernelRecord(0.0, TEXT)),
    "dmesg -e": (f"[Aug30 11:43] {TEXT}", KernelRecord(0.0, TEXT)),
    "dmesg -e, next line": (f"[  +0.000010] {TEXT}", KernelRecord(0.0, TEXT)),
    "dmesg -d": (f"[  416.096726 <    0.000010>] {TEXT}", KernelRecord(416.096726, TEXT)),
    "dmesg --time-format iso": (f"2024-08-30T11:43:09,123456+00:00 {TEXT}", KernelRecord(0.0, TEXT)),
    "dmesg -x": (f"kern  :warn  : [  416.096726] {TEXT}", KernelRecord(416.096726, TEXT, 0, 4)),
    "dmesg -x, user": (f"user  :notice: [  416.096726] {TEXT}", KernelRecord(416.096726, TEXT, 1, 5)),
    "dmesg -x -T": (f"daemon:err   : [Fri Aug 30 11:43:09 2024] {TEXT}", KernelRecord(0.0, TEXT, 3, 3)),
    "dmesg --raw": (f"<4>[  416.096726] {TEXT}", KernelRecord(416.096726, TEXT, 0, 4)),
    "dmesg --raw, user": (f"<14>[  416.096726] {TEXT}", KernelRecord(416.096726, TEXT, 1, 6)),
    "kmsg": (f"4,812,4096726,-;{TEXT}", KernelRecord(4.096726, TEXT, 0, 4, 812)),
    "kmsg with caller": (f"4,812,4096726,-,caller=T12;{TEXT}", KernelRecord(4.096726, TEXT, 0, 4, 812)),
    "kmsg, user": (f"12,812,4096726,-;{TEXT}", KernelRecord(4.096726, TEXT, 1, 4, 812)),
    "kmsg, escaped": (r"6,1,2,-;a\x2db\x0ac\x5cx", KernelRecord(0.000002, "a-b\nc\\x", 0, 6, 1)),
    "kmsg, escaped UTF-8": (r"6,1,2,-;\xc3\xa9", KernelRecord(0.000002, "é", 0, 6, 1)),
    "kmsg, whole read": (f"4,812,4096726,-;{TEXT}\n SUBSYSTEM=pci\n", KernelRecord(4.096726, TEXT, 0, 4, 812)),
    "short": (f"Nov 22 18:29:55 host kernel: {TEXT}", KernelRecord(0.0, TEXT, 0)),
    "short, one-digit day": (f"May  6 00:38:27 host kernel: {TEXT}", KernelRecord(0.0, TEXT, 0)),
    "short, second stamp": (f"May 6 00:38:27 host kernel: [ 4909.922970] {TEXT}", KernelRecord(4909.92297, TEXT, 0)),
    "short --no-hostname": (f"Nov 22 18:29:55 kernel: {TEXT}", KernelRecord(0.0, TEXT, 0)),
    "short-precise": (f"Nov 22 18:29:55.123456 host kernel: {TEXT}", KernelRecord(0.0, TEXT, 0)),
    "short-iso": (f"2024-08-30T11:43:09+0000 host kernel: {TEXT}", KernelRecord(0.0, TEXT, 0)),
    "short-iso-precise": (f"2024-08-30T11:43:09.123456+02:00 host kernel: {TEXT}", KernelRecord(0.0, TEXT, 0)),
    "short-full": (f"Fri 2024-08-30 11:43:09 UTC host kernel: {TEXT}", KernelRecord(0.0, TEXT, 0)),
    "short-unix": (f"1725018189.123456 host kernel: {TEXT}", KernelRecord(0.0, TEXT, 0)),
    "short-monotonic": (f"[  966.503025] host kernel: {TEXT}", KernelRecord(966.503025, TEXT, 0)),
    "journal, a process": (f"Nov 22 18:29:55 host myapp[1]: {TEXT}", KernelRecord(0.0, TEXT, 1)),
    "journal, quoted kernel": (f"Nov 22 18:29:55 host a[1]: kernel: {TEXT}", KernelRecord(0.0, f"kernel: {TEXT}", 1)),
    "journal, kernel with a pid": (f"Nov 22 18:29:55 host kernel[1]: {TEXT}", KernelRecord(0.0, TEXT, 1)),
    "bare": (TEXT, KernelRecord(0.0, TEXT)),
    "bare, two words before a colon": ("block nvme0n1: no path", KernelRecord(0.0, "block nvme0n1: no path")),
    "stamped, two words before a colon": ("[1.5] block nvme0n1: no path", KernelRecord(1.5, "block nvme0n1: no path")),
    "Windows line end": (f"{TEXT}\r\n", KernelRecord(0.0, TEXT)),
}


@pytest.mark.parametrize(("line", "record"), FORMS.values(), ids=FORMS.keys())
def test_forms(line: str, record: KernelRecord) -> None:
    assert record == parse_line(line.encode())


@pytest.mark.parametrize("line", [b"", b"\n", b"\r\n", b" \t ", b" SUBSYSTEM=pci", b"\tmore", b"\n4,1,2,-;a"])
def test_lines_that_are_no_record(line: bytes) -> None:
    assert parse_line(line) is None


def test_undecodable_bytes_are_kept_visible() -> None:
    assert KernelRecord(1.0, "a\ufffd\x00b") == parse_line(b"[1.0] a\xff\x00b")


def test_lines_are_bounded() -> None:
    record = parse_line(b"x" * (2 * MAX_LINE_BYTES))
    assert record is not None
    assert len(record.text) == MAX_LINE_BYTES


@pytest.mark.parametrize(("facility", "expected"), [(None, True), (0, True), (1, False), (3, False), (23, False)])
def test_only_the_kernel_is_believed(facility: int | None, expected: bool) -> None:
    record = KernelRecord(0.0, TEXT, facility)
    assert expected == believed(record, accept_userspace=False)
    assert believed(record, accept_userspace=True)


def test_an_indented_line_is_as_trustworthy_as_the_one_before() -> None:
    forged = KernelRecord(1.0, "first", facility=1)
    assert KernelRecord(1.0, "second", facility=1) == continuation(forged, b"    second")


def test_nothing_continues_a_record_of_kmsg() -> None:
    assert continuation(KernelRecord(1.0, "first", 0, 4, 812), b" second") is None


def test_only_indented_lines_continue() -> None:
    assert continuation(KernelRecord(1.0, "first"), b"second") is None
    assert continuation(KernelRecord(1.0, "first"), b"   ") is None


def test_excerpts_are_printable_and_short() -> None:
    assert excerpt("a\n\x1b b \x00 c ") == "a b c"
    assert excerpt("a\u00ad\u2028b\ue000") == "a b"
    assert excerpt("abcdef", 4) == "abc…"


@pytest.mark.parametrize(
    ("earlier_s", "later_s", "expected"),
    [(10.0, 15.0, True), (10.0, 15.1, False), (15.0, 10.0, False), (0.0, 99.0, True), (99.0, 0.0, True)],
)
def test_soon_after(earlier_s: float, later_s: float, expected: bool) -> None:
    assert expected == soon_after(KernelRecord(earlier_s, ""), KernelRecord(later_s, ""), within_s=5.0)
