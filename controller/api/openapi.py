"""The API's description, generated from the route table and the types of its bodies."""

from __future__ import annotations

import re
from importlib.metadata import version
from typing import Any

import msgspec

from controller.api.query import Query
from controller.api.routes import ROOT, Route
from controller.api.shapes import Failure

_PLACEHOLDER = re.compile(r"\{(\w+)\}")

_STATUS_TEXT = {
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
    503: "This controller stands by; `hint` names the one that leads.",
}


def openapi_document(routes: tuple[Route, ...]) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of these routes."""
    shapes = [shape for route in routes for shape in (route.answer, route.body) if shape is not None]
    _, components = msgspec.json.schema_components([*shapes, Failure], ref_template="#/components/schemas/{name}")
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "fleetmend",
            "version": version("fleetmend"),
            "description": "Health and fault remediation of one cell of GPU nodes.",
        },
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": _SCHEMES},
        "security": [{"token": []}],
    }


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "description": f"Needs the role {route.need}." if route.path.startswith(ROOT) else "For everybody.",
        "parameters": [*map(_path_parameter, _PLACEHOLDER.findall(route.path)), *map(_query_parameter, route.query)],
        "responses": {"200": {"description": "Done.", "content": _json(_reference(route.answer))}},
    }
    if route.body is not None:
        operation["parameters"].append(_OPERATOR)
        operation["requestBody"] = {"required": True, "content": _json(_reference(route.body))}
    for status in statuses(route):
        operation["responses"][str(status)] = {
            "description": _STATUS_TEXT[status],
            "content": _json(_reference(Failure)),
        }
    return operation


def statuses(route: Route) -> list[int]:
    """Return every status besides 200 with which a route can answer."""
    always = {400, 401, 403, 429} | ({408, 413, 415, 503} if route.body is not None else set())
    return sorted(always | set(route.refusals))


_SCHEMES = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "What `fleetmend access token make` printed. A controller without [access] wants none.",
    }
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
