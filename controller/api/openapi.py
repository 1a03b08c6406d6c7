"""The API's description, generated from what each address says of itself and the types of its bodies."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.metadata import version
from typing import Any

import msgspec

from controller.api.operation import Operation, Shows
from controller.api.query import Query
from controller.api.shapes import Failure

_PLACEHOLDER = re.compile(r"\{(\w+)\}")

STATUS_TEXT = {
    400: "The request is malformed; `field` names where.",
    401: "Nobody knows who asks: no token, or one that is good no more.",
    403: "Who asks may not, or the request comes from a page or by a host name that is not this controller's.",
    404: "There is no such thing; `hint` names the nearest.",
    408: "The body did not come in time.",
    409: "Refused now, with the reason.",
    413: "The body is too large.",
    415: "The body is not declared as application/json.",
    422: "The request is well formed but cannot be meant; `field` names where.",
    429: "This client asks too often; the header Retry-After says when again.",
    503: "This controller stands by, and `hint` names the one that leads; or what it needs cannot be used now.",
}


def openapi_document(operations: Iterable[Operation]) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of these operations."""
    told = tuple(operations)
    shapes = [shape for operation in told for shape in (operation.answer, operation.body) if shape is not None]
    _, components = msgspec.json.schema_components([*shapes, Failure], ref_template="#/components/schemas/{name}")
    paths: dict[str, dict[str, Any]] = {}
    for operation in told:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _described(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "fleetmend",
            "version": version("fleetmend"),
            "description": "Health and fault remediation of one cell of GPU nodes.",
        },
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": _SCHEMES},
    }


def _described(operation: Operation) -> dict[str, Any]:
    placeholders = _PLACEHOLDER.findall(operation.path)
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": operation.about,
        "security": [{str(operation.shows): []}] if operation.shows else [],
        "parameters": [*map(_path_parameter, placeholders), *map(_query_parameter, operation.query)],
        "responses": {"200": {"description": "Done.", "content": _json(_reference(operation.answer))}},
    }
    if operation.body is not None:
        described["requestBody"] = {"required": True, "content": _json(_reference(operation.body))}
        described["parameters"] += [_OPERATOR] if operation.shows is Shows.TOKEN else []
    for status in operation.statuses:
        described["responses"][str(status)] = {
            "description": STATUS_TEXT[status],
            "content": _json(_reference(Failure)),
            **_HEADERS.get(status, {}),
        }
    return described


_HEADERS: dict[int, dict[str, Any]] = {
    429: {
        "headers": {
            "Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}},
        }
    }
}

_SCHEMES = {
    str(Shows.TOKEN): {
        "type": "http",
        "scheme": "bearer",
        "description": "What `fleetmend access token make` printed. A controller without [access] wants none.",
    },
    str(Shows.ENROLMENT_TOKEN): {
        "type": "http",
        "scheme": "bearer",
        "description": "What `fleetmend enrol token make` wrote. It opens nothing else.",
    },
}

_OPERATOR = {
    "name": "X-Fleetmend-User",
    "in": "header",
    "required": False,
    "description": "Who acts, as the log shows it; of no account where a token says so.",
    "schema": {"type": "string", "maxLength": 64, "default": "operator"},
}


def _path_parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _query_parameter(query: Query) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    if query.choices:
        schema["enum"] = list(query.choices)
    return {"name": query.name, "in": "query", "required": False, "description": query.summary, "schema": schema}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _reference(shape: Any) -> dict[str, Any]:
    (schema,), _ = msgspec.json.schema_components([shape], ref_template="#/components/schemas/{name}")
    return schema
