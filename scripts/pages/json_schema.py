"""JSON Schema in words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from scripts.pages.markdown import code


def default_of(schema: Mapping[str, Any], *, required: bool) -> str:
    """Return the default as it is written in a file, `required` where there is none."""
    if required:
        return "required"
    default = schema.get("default")
    if schema.get("uniqueItems"):
        default = sorted(default or ())
    return "" if default is None or default == "" else code(json.dumps(default, ensure_ascii=False))


def kind_of(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """Return in words what a JSON Schema allows."""
    if "$ref" in schema:
        return kind_of(definitions[schema["$ref"].rsplit("/", maxsplit=1)[-1]], definitions)
    if "enum" in schema:
        return " or ".join(code(str(value)) for value in schema["enum"])
    if "const" in schema:
        return code(str(schema["const"]))
    for key in ("anyOf", "oneOf"):
        if key in schema:
            kinds = [kind_of(one, definitions) for one in schema[key] if one.get("type") != "null"]
            return " or ".join(dict.fromkeys(kinds))
    if schema.get("type") == "array":
        return f"list of {kind_of(schema.get('items', {}), definitions)}"
    names = {"string": "text", "integer": "whole number", "boolean": "true or false", "object": "table"}
    name = "path" if schema.get("format") == "path" else names.get(schema.get("type", ""), schema.get("type", "any"))
    return name + _limits(schema)


def _limits(schema: Mapping[str, Any]) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    limits = [f"{sign} {schema[key]:g}" for key, sign in signs.items() if key in schema]
    pattern = [f"like `{schema['pattern']}`"] if "pattern" in schema else []
    return ", ".join(["", *limits, *pattern])
