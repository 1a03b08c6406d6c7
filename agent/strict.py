"""Plain values into settings or a manifest, with every problem at once and the path of each.

msgspec stops at its first problem, and pydantic, which does not, costs the agent 10 MiB and a quarter of a second at
each start. So tables are walked here, and msgspec judges the values in them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import msgspec

S = TypeVar("S")
"""What a table becomes: a struct of msgspec, or a dataclass."""

Rule = Callable[[Any], str]
"""Says what is wrong with a value, nothing when it is right. A table's RULES name one for each key that has one."""


class Wrong(ValueError):
    """Raised by a table's `__post_init__`: its keys are right one by one and contradict each other."""


@dataclass(slots=True)
class Reader:
    """Reads one document. `problems`: `path: what is wrong`, in the document's order of keys."""

    problems: list[str] = field(default_factory=list)

    def table(self, values: Any, kind: type[S], path: str = "") -> S | None:
        """Return the table as what it stands for, `None` when something in it is wrong."""
        if not isinstance(values, Mapping):
            self._note(path, f"a table is wanted here, and not {values!r}")
            return None
        before = len(self.problems)
        read = dict(self._fields(values, kind, path))
        if len(self.problems) > before:
            return None
        try:
            return kind(**read)
        except Wrong as wrong:
            self._note(path, str(wrong))
            return None

    def _fields(self, values: Mapping[str, Any], kind: type[Any], path: str) -> Iterator[tuple[str, Any]]:
        types = get_type_hints(kind, include_extras=True)
        known = _keys_of(kind)
        for name in values:
            if name not in known:
                self._note(_join(path, name), f"no such key here; there are {', '.join(known)}")
        for name, is_required in known.items():
            if name in values:
                value = self._value(values[name], types[name], _join(path, name))
                yield name, self._ruled(value, getattr(kind, "RULES", {}).get(name), _join(path, name))
            elif is_required:
                self._note(_join(path, name), "it must be given")

    def _value(self, value: Any, kind: Any, path: str) -> Any:
        if table := _table_in(kind):
            return self.table(value, table, path)
        origin, inner = get_origin(kind), get_args(kind)
        if origin is dict and (table := _table_in(inner[1])) and isinstance(value, Mapping):
            return {name: self.table(each, table, _join(path, name)) for name, each in value.items()}
        if origin is tuple and (table := _table_in(inner[0])) and isinstance(value, list):
            return tuple(self.table(each, table, f"{path}.{place}") for place, each in enumerate(value))
        if origin is frozenset and isinstance(value, Iterable) and not isinstance(value, str):
            return frozenset(self._value(each, inner[0], f"{path}.{place}") for place, each in enumerate(value))
        try:
            return msgspec.convert(value, kind, dec_hook=_decode)
        except msgspec.ValidationError as error:
            self._note(path, str(error))
            return None

    def _ruled(self, value: Any, rule: Rule | None, path: str) -> Any:
        if rule is not None and value is not None and (problem := rule(value)):
            self._note(path, problem)
        return value

    def _note(self, path: str, problem: str) -> None:
        self.problems.append(f"{_in_one_line(path) or 'file'}: {problem}")


def _table_in(kind: Any) -> type[Any] | None:
    return kind if isinstance(kind, type) and (issubclass(kind, msgspec.Struct) or is_dataclass(kind)) else None


def _keys_of(kind: type[Any]) -> dict[str, bool]:
    """Return key → whether it must be given."""
    if issubclass(kind, msgspec.Struct):
        return {each.name: each.required for each in msgspec.structs.fields(kind)}
    return {each.name: each.default is MISSING and each.default_factory is MISSING for each in fields(kind)}


def _decode(kind: type, value: Any) -> Any:
    if kind is Path and isinstance(value, str):
        if "\0" in value:
            raise ValueError(f"{value!r} is no path: it holds a NUL")
        return Path(value)
    raise ValueError(f"{value!r} is no {kind.__name__}")


def _in_one_line(path: str) -> str:
    """Return the path; a key may hold line ends, in quotes."""
    return path if path.isprintable() else repr(path)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path and name else path or name
