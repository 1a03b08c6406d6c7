"""Values held to the schemas of an OpenAPI document."""

from __future__ import annotations

from typing import Any

KINDS: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "number": (int, float),
    "integer": int,
    "boolean": bool,
    "null": type(None),
}


def conforms(value: Any, schema: dict[str, Any], document: dict[str, Any]) -> bool:
    """Return whether a value is what a schema of the document describes; objects may have no further fields."""
    if "$ref" in schema:
        return conforms(value, resolve(schema["$ref"], document), document)
    if "anyOf" in schema:
        return any(conforms(value, choice, document) for choice in schema["anyOf"])
    return isinstance(value, KINDS[schema["type"]]) and _conforms_inside(value, schema, document)


def _conforms_inside(value: Any, schema: dict[str, Any], document: dict[str, Any]) -> bool:
    if schema["type"] == "array":
        return all(conforms(item, schema["items"], document) for item in value)
    if schema["type"] == "object" and "properties" in schema:
        named = schema["properties"]
        complete = set(schema.get("required", ())) <= set(value) <= set(named)
        return complete and all(conforms(inner, named[name], document) for name, inner in value.items())
    if schema["type"] == "object":
        return all(conforms(inner, schema["additionalProperties"], document) for inner in value.values())
    return True


def resolve(reference: str, document: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a document that a reference names."""
    found: Any = document
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    assert isinstance(found, dict)
    return found
