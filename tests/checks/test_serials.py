"""History follows the part: what a check says of one bears its serial number or GUID, where its readings tell one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import pytest

from checks.check import LevelCheck
from checks.finding import Finding
from tests.checks.test_cases import cases_of, findings_of
from tests.support.check_cases import Case

SERIALS = ("serial", "node_guid", "guid")
NAMES = ("uuid", "pci", "address", "name")
"""What readings call these."""


def parts_of(reading: Any) -> Iterator[tuple[str, str]]:
    """Yield name and serial number of everything inside a reading that has both."""
    if is_dataclass(reading):
        values = {each.name: getattr(reading, each.name) for each in fields(reading)}
        serial = next((values[name] for name in SERIALS if values.get(name)), "")
        yield from ((values[name], serial) for name in NAMES if serial and values.get(name))
        for value in values.values():
            yield from parts_of(value)
    elif isinstance(reading, tuple):
        for value in reading:
            yield from parts_of(value)


def told_serials(case: Case, finding: Finding) -> set[str]:
    """Return every serial number that the readings tell of what the finding is about."""
    names = {finding.device, finding.pci} - {""}
    return {serial for reading in case.readings for name, serial in parts_of(reading) if name in names}


@pytest.mark.parametrize("case", cases_of(LevelCheck))
def test_what_is_said_of_a_part_bears_its_serial(case: Case) -> None:
    without = {
        f"{finding.check}|{finding.device}|{finding.code}: {told_serials(case, finding)}"
        for finding in findings_of(case)
        if told_serials(case, finding) and finding.serial not in told_serials(case, finding)
    }
    assert without == set()


def test_there_are_such_parts_of_every_kind() -> None:
    kinds = {
        finding.check.partition(".")[0]
        for case in (param.values[0] for param in cases_of(LevelCheck))
        for finding in findings_of(case)
        if told_serials(case, finding)
    }
    assert kinds >= {"gpu", "fabric", "host", "storage", "npu"}
