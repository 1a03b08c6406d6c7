"""Whose serial number goes with what is said of a controller, a disk, a partition or a mount."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.disk_names import with_serial
from checks.finding import Action, Finding, Verdict

SERIALS = {"nvme1": "S64F", "sda": "Z1D", "nvme10": "OTHER"}


def about(device: str, mounted: str = "", serial: str = "") -> Finding:
    evidence = {"device": mounted} if mounted else {}
    because = "it is broken"
    return Finding("storage.x", device, "", Verdict.FAILED, Action.NONE, because, serial=serial, evidence=evidence)


@pytest.mark.parametrize(
    ("finding", "serial"),
    [
        (about("nvme1"), "S64F"),
        (about("nvme1n1"), "S64F"),
        (about("nvme1n1p2"), "S64F"),
        (about("nvme10n1"), "OTHER"),
        (about("sda"), "Z1D"),
        (about("sda3"), "Z1D"),
        (about("/scratch", "/dev/nvme1n1p1"), "S64F"),
        (about("nvme1", serial="KNOWN"), "KNOWN"),
        (about("nvme2n1"), ""),
        (about("sdaa"), ""),
        (about("md0", "/dev/md0"), ""),
        (about("/home", "storage:/home"), ""),
    ],
)
def test_serials(finding: Finding, serial: str) -> None:
    assert serial == with_serial(finding, SERIALS).serial


@given(st.text(max_size=30))
def test_any_name_has_a_serial_or_none(name: str) -> None:
    assert with_serial(about(name, name), SERIALS).serial in ("", *SERIALS.values())
