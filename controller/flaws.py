"""What is wrong with a file, where pydantic says it in the words of Python, in those of TOML."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails


def problems_in(error: ValidationError, model: type[BaseModel], file: str) -> str:
    """Return every problem of a file that was read as a model, one a line, each with its place in the file."""
    places = [(".".join(map(str, flaw["loc"])) or "file", flaw) for flaw in error.errors()]
    return "\n".join(f"{file}: {place}: {_told(flaw, model)}" for place, flaw in places)


def _told(flaw: ErrorDetails, model: type[BaseModel]) -> str:
    """Return what is wrong, where pydantic says it in the words of Python in those of TOML."""
    table = ".".join(str(part) for part in flaw["loc"] if isinstance(part, str))
    match flaw["type"], flaw["input"]:
        case "extra_forbidden", _:
            return f"no such key here; there are {', '.join(_table_of(flaw['loc'], model).model_fields)}"
        case "model_type", _:
            return f"must be a table: [{table}]"
        case "list_type" | "tuple_type", dict():
            return f"must be a list of tables: [[{table}]]"
        case "list_type" | "tuple_type", _:
            return "must be a list, even of one: [...]"
        case "value_error", _:
            return flaw["msg"].removeprefix("Value error, ")
    return flaw["msg"]


def _table_of(place: tuple[int | str, ...], model: type[BaseModel]) -> type[BaseModel]:
    """Return the table that a key was found in; numbers in lists and names of one's own are passed over."""
    tables = [model]
    for part in place[:-1]:
        tables = _of_kind(tables, part) or _below(tables, part) or tables
    return tables[0]


def _of_kind(tables: list[type[BaseModel]], name: int | str) -> list[type[BaseModel]]:
    """Return those that are of a `kind`."""
    return [
        each
        for each in tables
        if "kind" in each.model_fields and name in get_args(each.model_fields["kind"].annotation)
    ]


def _below(tables: list[type[BaseModel]], key: int | str) -> list[type[BaseModel]]:
    """Return the tables that a key of these may hold."""
    return [
        below
        for each in tables
        if key in each.model_fields
        for below in _tables_in(each.model_fields[str(key)].annotation)
    ]


def _tables_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [each for part in get_args(annotation) for each in _tables_in(part)]
