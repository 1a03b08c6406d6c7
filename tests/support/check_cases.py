"""Reads the case files under tests/cases: recordings of what a check is given, with what it must say of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_type_hints

from checks.errors import CannotJudge
from checks.recording import BY_SOURCE, Header, Taken, read

ROOT = Path(__file__).parent.parent / "cases"


@dataclass(frozen=True)
class Case:
    """One case; `name` is `<check id>/<case>`, `expected` findings or `{"cannot_judge": sentence}`."""

    name: str
    check: str
    header: Header
    taken: tuple[Taken, ...]

    @property
    def origin(self) -> str:
        """Where the text comes from."""
        return self.header.origin

    @property
    def expected(self) -> Any:
        """What the check must say."""
        return self.header.expected

    @property
    def lines(self) -> list[bytes]:
        """The captured lines of the kernel log."""
        return [each.what for each in self.taken if isinstance(each.what, bytes)]

    @property
    def readings(self) -> list[Any]:
        """The readings, oldest first."""
        return [each.what for each in self.taken if not isinstance(each.what, bytes)]


@cache
def all_cases() -> tuple[Case, ...]:
    """Return every case, in a fixed order."""
    return tuple(_read(path) for path in sorted(ROOT.glob("*/*.jsonl")))


def _read(path: Path) -> Case:
    name = f"{path.parent.name}/{path.stem}"
    lines = path.read_bytes().splitlines()
    try:
        header, taken = read(lines, name=str(path))
        case = Case(name, path.parent.name, header, tuple(taken))
    except CannotJudge as error:
        raise AssertionError(f"{error}: no case") from error
    for line in lines[1:]:
        _check_fields(json.loads(line), name)
    return case


def _check_fields(entry: dict[str, Any], where: str) -> None:
    """Refuse a field that no reading has: in a recording it would mean nothing, in a case it is a slip of the pen."""
    if "reading" in entry:
        unknown = list(_unknown_fields(entry["reading"], BY_SOURCE[entry["source"]]))
        assert not unknown, f"{where}: {', '.join(unknown)}"


def _unknown_fields(values: Any, kind: type) -> Iterator[str]:
    known = _known_fields(kind)
    yield from (f"{kind.__name__} has no {name}" for name in values if name not in known)
    for name in values.keys() & known.keys():
        for part in known[name]:
            for value in _members(values[name]):
                yield from _unknown_fields(value, part)


@cache
def _known_fields(kind: type) -> Mapping[str, tuple[type, ...]]:
    """Return the fields of a reading, each with the readings inside it."""
    hints = get_type_hints(kind)
    return {field.name: tuple(_parts(hints[field.name])) for field in fields(kind)}


def _parts(hint: Any) -> list[type]:
    """Return the readings inside a field's type."""
    found = [hint] if is_dataclass(hint) else [part for inner in get_args(hint) for part in _parts(inner)]
    return [part for part in found if isinstance(part, type)]


def _members(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, list):
        return [each for each in value if isinstance(each, dict)]
    return [value] if isinstance(value, dict) else []
