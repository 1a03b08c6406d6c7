"""What may stand behind a key: how it is read, how it is described to a person, and how to a JSON Schema.

One table of keys serves the loader, the schema and the errors, so that they cannot say different things.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from controller.playbooks.document import Entry, Listing, Scalar, Table, Value, say
from controller.playbooks.problems import Notes, nearest

NAME = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)
UNIT = re.compile(r"[A-Za-z0-9@][A-Za-z0-9@._:\\-]{0,254}", re.ASCII)
"""A systemd unit's letters. Source: systemd.unit(5)."""
_TEXT = re.compile(r"[^\x00-\x1f\x7f]{1,300}")
_DURATION = re.compile(r"(?P<count>[0-9]{1,9}(?:\.[0-9]{1,3})?)(?P<unit>[smh]?)", re.ASCII)
_COUNT = re.compile(r"[0-9]{1,6}", re.ASCII)
_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
LONGEST_S = 30 * 86_400.0
"""Source: our choice; a step that may last longer than a month is a slip of the pen."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of value.

    Attributes:
        right: what is right, as the end of an error.
        read: the value, or `None` when it is not of this kind.
        schema: the same as JSON Schema.
    """

    right: str
    read: Callable[[Value], Any]
    schema: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a table. `default` is used when the key is absent, and `required` says that it must not be."""

    kind: Kind
    summary: str
    required: bool = False
    default: Any = None


Keys = Mapping[str, Key]


def matching(pattern: re.Pattern[str], right: str) -> Kind:
    """Return the kind of texts that a pattern describes wholly."""

    def read(value: Value) -> str | None:
        is_text = isinstance(value, Scalar) and value.kind == "text" and pattern.fullmatch(value.text)
        return value.text if is_text and isinstance(value, Scalar) else None

    return Kind(right, read, {"type": "string", "pattern": f"^{pattern.pattern}$"})


def one_of(words: Iterable[str]) -> Kind:
    """Return the kind of one word out of a closed set."""
    known = tuple(words)

    def read(value: Value) -> str | None:
        return value.text if isinstance(value, Scalar) and value.kind == "text" and value.text in known else None

    return Kind(f"write one of {', '.join(known)}", read, {"type": "string", "enum": list(known)})


def list_of(kind: Kind, right: str) -> Kind:
    """Return the kind of lists with at least one value, each once."""

    def read(value: Value) -> tuple[Any, ...] | None:
        found = tuple(kind.read(each) for each in value.values) if isinstance(value, Listing) else ()
        return found if found and None not in found and len(set(found)) == len(found) else None

    return Kind(right, read, {"type": "array", "minItems": 1, "uniqueItems": True, "items": kind.schema})


def count(least: int, most: int) -> Kind:
    """Return the kind of whole numbers in a range, both ends included."""

    def read(value: Value) -> int | None:
        if not isinstance(value, Scalar) or value.kind != "number" or not _COUNT.fullmatch(value.text):
            return None
        return number if least <= (number := int(value.text)) <= most else None

    schema = {"type": "integer", "minimum": least, "maximum": most}
    return Kind(f"write a whole number from {least} to {most}", read, schema)


def duration(*, zero: bool) -> Kind:
    """Return the kind of spans of time, in seconds as a float; `zero` says whether none at all is meant too."""

    def read(value: Value) -> float | None:
        match = _DURATION.fullmatch(value.text) if isinstance(value, Scalar) else None
        if match is None:
            return None
        seconds = float(match["count"]) * _SECONDS[match["unit"]]
        return seconds if (zero or seconds > 0) and seconds <= LONGEST_S else None

    right = f"write a time of {'at least' if zero else 'more than'} 0 s and at most 30 days, like 90s, 10m or 2h"
    forms = [{"type": "string", "pattern": "^[0-9]{1,9}(\\.[0-9]{1,3})?[smh]?$"}, {"type": "number", "minimum": 0}]
    return Kind(right, read, {"oneOf": forms})


def _read_truth(value: Value) -> bool | None:
    if not isinstance(value, Scalar) or value.kind != "truth" or value.text not in {"true", "false"}:
        return None
    return value.text == "true"


TEXT = matching(_TEXT, "write one line of at most 300 characters")
WORD = matching(NAME, "write a name of lower-case letters, digits and `_`, beginning with a letter")
SERVICE = matching(UNIT, "write the name of a systemd unit, like nvidia-imex.service")
LIMIT = duration(zero=False)
SPAN = duration(zero=True)
TRUTH = Kind("write true or false", _read_truth, {"type": "boolean"})


def read_table(value: Value, keys: Keys, *, path: str, notes: Notes) -> dict[str, Any] | None:
    """Return the values of a table's keys with the defaults filled in; a bad value becomes its default.

    Every key that is unknown, missing or of the wrong kind is noted. `None` when the value is no table at all.
    """
    if not isinstance(value, Table):
        notes.add(value.line, path, say(value), f"write a mapping with the keys {', '.join(keys)}")
        return None
    given = {entry.key: entry for entry in value.entries}
    for entry in value.entries:
        if entry.key not in keys:
            notes.add(entry.line, join(path, entry.key), "this key is not known", nearest(entry.key, keys))
    for name in (name for name, key in keys.items() if key.required and name not in given):
        notes.add(value.line, join(path, name), "this key is missing", keys[name].kind.right)
    return {name: _read_key(given.get(name), key, path=join(path, name), notes=notes) for name, key in keys.items()}


def _read_key(entry: Entry | None, key: Key, *, path: str, notes: Notes) -> Any:
    if entry is None:
        return key.default
    found = key.kind.read(entry.value)
    if found is None:
        notes.add(entry.value.line, path, say(entry.value), key.kind.right)
        return key.default
    return found


def join(path: str, key: str) -> str:
    """Return the path of a key within a path."""
    shown = key if len(key) <= 60 else f"{key[:57]}..."
    printable = shown if shown.isprintable() else repr(shown)
    return f"{path}.{printable}" if path else printable


def schema_of(keys: Keys) -> dict[str, Any]:
    """Return the JSON Schema of a table with these keys."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [name for name, key in keys.items() if key.required],
        "properties": {name: _schema_of_key(key) for name, key in keys.items()},
    }


def _schema_of_key(key: Key) -> dict[str, Any]:
    described: dict[str, Any] = {**key.kind.schema, "description": key.summary}
    if isinstance(key.default, str | int | float | bool) and key.default != "":
        described["default"] = key.default
    return described
