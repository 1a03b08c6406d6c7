"""Reads the case files under tests/cases: what a check is given, and what it must say."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import msgspec

from checks.readings import FilesystemReading, GpuReading, RdmaPort

ROOT = Path(__file__).parent.parent / "cases"

PARTS: dict[str, type] = {"gpus": GpuReading, "ports": RdmaPort, "filesystems": FilesystemReading}
"""Fields of readings that hold readings of their own."""


class CaseFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file. `input`: lines, or readings oldest first. `expected`: findings, or `{"cannot_judge": sentence}`."""

    origin: str
    input: list[Any]
    expected: list[dict[str, Any]] | dict[str, str]
    accept_userspace: bool = False


@dataclass(frozen=True)
class Case:
    """One case with where it came from; `name` is `<check id>/<case>`."""

    name: str
    check: str
    file: CaseFile

    @property
    def lines(self) -> list[bytes]:
        """The input as raw lines."""
        return [line.encode() for line in self.file.input]

    def readings(self, kind: type) -> list[Any]:
        """Return the input as readings of one kind. Raises AssertionError for a field that does not exist."""
        for reading in self.file.input:
            _check_fields(reading, kind, self.name)
        encoded = json.dumps(self.file.input).encode()
        return msgspec.json.decode(encoded, type=list[kind])  # type: ignore[valid-type]


def all_cases() -> list[Case]:
    """Return every case, in a fixed order."""
    return [_read(path) for path in sorted(ROOT.glob("*/*.json"))]


def _read(path: Path) -> Case:
    try:
        file = msgspec.json.decode(path.read_bytes(), type=CaseFile)
    except msgspec.DecodeError as error:
        raise AssertionError(f"{path} is no case: {error}") from error
    return Case(f"{path.parent.name}/{path.stem}", path.parent.name, file)


def _check_fields(values: dict[str, Any], kind: type, where: str) -> None:
    unknown = set(values) - {each.name for each in fields(kind)}
    assert not unknown, f"{where}: {kind.__name__} has no {', '.join(sorted(unknown))}"
    for part, part_kind in PARTS.items():
        for value in values.get(part, ()):
            _check_fields(value, part_kind, where)
