"""The page of both configuration files."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType, NoneType
from typing import Any, get_args, get_origin, get_type_hints

import msgspec
from pydantic import BaseModel

import agent.settings
import controller.settings
from controller.sections.notices import Destination
from scripts.pages.docstrings import attributes_of, doc
from scripts.pages.json_schema import default_of, kind_of
from scripts.pages.markdown import code, page, table


def settings_page() -> str:
    """Return the page of both configuration files."""
    intro = (
        "TOML, one file a program. A key that is not listed is refused; all problems are reported at once, and the "
        "program ends with exit code 78. `--check` validates a file without starting anything."
    )
    return page(
        "Settings",
        intro,
        "## Controller\n\n`fleetmend-controller --config FILE`",
        *_sections(controller.settings.ControllerSettings, ""),
        *_destinations(),
        "## Agent\n\n`fleetmend-agent --config FILE`",
        *_sections(agent.settings.Settings, ""),
    )


def _destinations() -> Iterator[str]:
    """Yield what every destination of tickets and pages has, and a section for each kind of them."""
    types = get_type_hints(controller.settings.ControllerSettings)
    kinds = {name: _kinds(types[name]) for name in ("tickets", "pages")}
    yield f"### `[[tickets]]` and `[[pages]]`\n\n{doc(Destination)} `kind` says which; each kind has keys of its own."
    yield from _sections(Destination, "tickets[].", is_headed=False)
    for section in dict.fromkeys([*kinds["tickets"], *kinds["pages"]]):
        tables = [name for name in kinds if section in kinds[name]]
        kind = get_args(section.model_fields["kind"].annotation)[0]
        yield f"### {' or '.join(code(f'[[{name}]]') for name in tables)} of kind `{kind}`\n\n{doc(section)}"
        common = {*Destination.model_fields, "kind"}
        yield from _sections(section, f"{tables[0]}[].", is_headed=False, without=common)


def _kinds(annotation: Any) -> list[type[BaseModel]]:
    """Return the sections of which a list holds any."""
    found = [each for each in get_args(annotation) if isinstance(each, type) and issubclass(each, BaseModel)]
    return found or [kind for each in get_args(annotation) for kind in _kinds(each)]


_MANY: Mapping[Any, str] = {dict: ".<name>", list: "[]", tuple: "[]"}
"""What is put after the name of a table of which there may be many, by the type that holds them."""

Model = type[BaseModel] | type[msgspec.Struct]


def _sections(
    model: Model,
    path: str,
    defaults: Mapping[str, Any] = MappingProxyType({}),
    *,
    is_headed: bool = True,
    without: Collection[str] = (),
    of_outer: str = "",
) -> Iterator[str]:
    """Yield a section for the model and for each one inside it.

    Args:
        defaults: what the outer one gives its keys.
        of_outer: what the outer one says of it.
    """
    schema, types = _schema(model), get_type_hints(model)
    definitions = schema.get("$defs", {})
    said = dict.fromkeys(schema["properties"], "") | _descriptions(model)
    for owner in reversed(model.__mro__[:-1]):
        said |= {name: text for name, text in attributes_of(owner).items() if name in said}
    keys, inner = [], []
    for name, value in schema["properties"].items():
        nested = _nested(types[name])
        if name in without:
            continue
        if nested is None:
            given = {"default": defaults[name]} if name in defaults else {}
            required = name in schema.get("required", []) and not given
            default = default_of(value | given, required=required)
            keys.append((code(name), kind_of(value, definitions), default, said[name]))
        else:
            where = f"{path}{name}{_MANY.get(get_origin(_given(types[name])), '')}"
            inner.append((nested, where, value.get("default") or {}, said[name]))
    if path and is_headed:
        more = f" ({of_outer})" if of_outer else ""
        yield f"### `{_heading(path.removesuffix('.'))}`\n\n{doc(model)}{more}"
    if keys:
        yield table(("key", "value", "default", "meaning"), keys)
    for nested, where, given, told in inner:
        yield from _sections(nested, f"{where}.", given, of_outer=told)


def _heading(path: str) -> str:
    """Return how TOML begins a table, or one of a list of them."""
    return f"[[{path.removesuffix('[]')}]]" if path.endswith("[]") else f"[{path}]"


def _schema(model: Model) -> dict[str, Any]:
    """Return the JSON Schema of one section, with what it refers to under `$defs`."""
    if issubclass(model, BaseModel):
        return model.model_json_schema()
    types = get_type_hints(model, include_extras=True)
    properties: dict[str, Any] = {}
    definitions: dict[str, Any] = {}
    for each in msgspec.structs.fields(model):
        schema: dict[str, Any] = {"type": "object"} if _nested(types[each.name]) else _schema_of(types[each.name])
        definitions |= schema.pop("$defs", {})
        default = {} if each.default is msgspec.NODEFAULT else {"default": _plain(each.default)}
        properties[each.name] = schema | default
    required = [each.name for each in msgspec.structs.fields(model) if each.required]
    return {"properties": properties, "required": required, "$defs": definitions}


def _schema_of(kind: Any) -> dict[str, Any]:
    return msgspec.json.schema(kind, schema_hook=lambda _: {"type": "string", "format": "path"})


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(value, enc_hook=str)


def _descriptions(model: Model) -> dict[str, str]:
    if not issubclass(model, BaseModel):
        return {}
    return {name: value.description or "" for name, value in model.model_fields.items()}


def _given(annotation: Any) -> Any:
    """Return the annotation of what may be left out, as it is when it is there."""
    others = [each for each in get_args(annotation) if each is not NoneType]
    return others[0] if len(others) == 1 and NoneType in get_args(annotation) else annotation


def _nested(annotation: Any) -> Model | None:
    """Return the model behind an annotation: the model itself, or what a list or mapping of it holds."""
    annotation = _given(annotation)
    candidates = [annotation, *getattr(annotation, "__args__", ())]
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel | msgspec.Struct)), None)
