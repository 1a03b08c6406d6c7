"""The page of the HTTP API: the same that `/api/v1/openapi.json` says, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from controller.api.app import operations_of
from controller.api.enrolling import OPERATIONS
from controller.api.openapi import STATUS_TEXT, openapi_document
from scripts.pages.json_schema import default_of, kind_of
from scripts.pages.markdown import anchor, code, page, table

Schema = Mapping[str, Any]


def api_page() -> str:
    """Return what the controller answers over HTTP."""
    document = openapi_document((*operations_of(None), *OPERATIONS))
    schemas = document["components"]["schemas"]
    operations = [
        _operation(method, path, said, schemas)
        for path, methods in document["paths"].items()
        for method, said in methods.items()
    ]
    intro = (
        "Every controller describes its API at `/api/v1/openapi.json` (OpenAPI 3.1); this page says the same. Bodies "
        "are JSON. Who asks shows a token as `Authorization: Bearer ...` where the controller has `[access]` "
        "([how to](../how-to/access.md)); `/api/v1/enrol` is there where it has `[enrolment]` "
        "([how to](../how-to/enrol-hosts.md))."
    )
    return page(
        "HTTP API",
        intro,
        "## Addresses",
        *operations,
        "## Statuses\n\nWhatever is not 200 has the body [Failure](#failure).",
        table(("status", "meaning"), [(str(status), text) for status, text in sorted(STATUS_TEXT.items())]),
        "## Types",
        *(_type(name, schema, schemas) for name, schema in sorted(schemas.items())),
    )


def _operation(method: str, path: str, said: Schema, schemas: Schema) -> str:
    shown = ", ".join(scheme for each in said["security"] for scheme in each) or "nothing"
    statuses = ", ".join(status for status in said["responses"] if status != "200")
    facts = [
        ("shows", shown),
        *([("body", _kind(_content(said["requestBody"]), schemas))] if "requestBody" in said else []),
        ("answer", _kind(_content(said["responses"]["200"]), schemas)),
        ("else", statuses),
    ]
    queries = [each for each in said["parameters"] if each["in"] == "query"]
    asked = table(("query", "value", "meaning"), [_query(each) for each in queries]) if queries else ""
    lines = "\n".join(f"- {name}: {value}" for name, value in facts)
    parts = (f"### {method.upper()} {path}", f"{said['summary']} {said['description']}", lines, asked)
    return "\n\n".join(part for part in parts if part)


def _content(said: Schema) -> Schema:
    schema: Schema = said["content"]["application/json"]["schema"]
    return schema


def _query(parameter: Schema) -> Sequence[str]:
    return code(parameter["name"]), kind_of(parameter["schema"], {}), parameter["description"]


def _type(name: str, schema: Schema, schemas: Schema) -> str:
    said = schema.get("description", "").partition("\n\n")[0]
    if "properties" not in schema:
        return f"### {name}\n\n{said}\n\n{_kind(schema, schemas)}"
    required = schema.get("required", ())
    rows = [
        (code(key), _kind(each, schemas), default_of(each, required=key in required))
        for key, each in schema["properties"].items()
    ]
    return f"### {name}\n\n{said}\n\n{table(('field', 'value', 'default'), rows)}"


def _kind(schema: Schema, schemas: Schema) -> str:
    """Return in words what a schema allows; types of their own are named with a link."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", maxsplit=1)[-1]
        return f"[{name}](#{anchor(name)})"
    if "anyOf" in schema:
        return " or ".join(_kind(each, schemas) for each in schema["anyOf"])
    if schema.get("type") == "null":
        return "nothing"
    if schema.get("type") == "array" and "items" in schema:
        return f"list of {_kind(schema['items'], schemas)}"
    if isinstance(schema.get("additionalProperties"), Mapping):
        return f"table of {_kind(schema['additionalProperties'], schemas)}"
    return kind_of(schema, schemas)
