"""From an HTTP request to a call and from its result to an answer; every failure becomes one JSON shape."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
import structlog
from aiohttp import web

from controller.access.door import PERSON
from controller.api import guards
from controller.api.call import Call
from controller.api.cell_view import CellView
from controller.api.problems import Problem
from controller.api.routes import Route
from controller.api.shapes import Failure
from controller.errors import NotLeading, Refused

log = structlog.get_logger()

Shape = TypeVar("Shape")

BODY_LIMIT_S = 15.0
"""For a body of 64 KiB at most. Source: our choice; whoever sends it byte by byte keeps a place no longer."""

HttpHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_PATH = re.compile(r" - at `(?:key in )?\$\.?(?P<path>[^`]*)`$")
_UNKNOWN_FIELD = re.compile(r"unknown field `(?P<name>[^`]*)`")
_MISSING_FIELD = re.compile(r"missing required field `(?P<name>[^`]*)`")


def serve(route: Route, cell: CellView) -> HttpHandler:
    """Return the HTTP handler of a route."""

    async def answer(request: web.Request) -> web.StreamResponse:
        asked = _query(request, route), await _body(request, route)
        call = Call(cell, request.match_info, *asked, request[PERSON])
        if route.body is not None:
            cell.check_leading()
        return json_response(await route.handler(call))

    return answer


def json_response(content: object, *, status: int = 200) -> web.Response:
    """Return the answer with a body as JSON."""
    return web.Response(body=msgspec.json.encode(content), status=status, content_type="application/json")


def _query(request: web.Request, route: Route) -> dict[str, str]:
    known = {query.name for query in route.query}
    for name in request.query:
        if name not in known:
            right = f"known: {', '.join(sorted(known))}" if known else "this address takes no query"
            raise Problem(400, f"unknown query {name[:40]!r}", right, field=name[:40])
    return dict(request.query)


async def _body(request: web.Request, route: Route) -> object:
    return None if route.body is None else await body_of(request, route.body)


async def body_of(request: web.Request, shape: type[Shape]) -> Shape:
    """Return the body of a request.

    Raises:
        Problem: 400, 408, 415, 422: it is another, or does not come.
    """
    if request.content_type != "application/json":
        raise Problem(415, f"the body is {request.content_type!r}", "send Content-Type: application/json")
    try:
        async with asyncio.timeout(BODY_LIMIT_S):
            content = await request.read()
        return msgspec.json.decode(content, type=shape)
    except TimeoutError as late:
        raise Problem(408, "the body did not come in time", f"within {BODY_LIMIT_S:g} s") from late
    except msgspec.ValidationError as error:
        raise _misshapen(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, f"the body is not JSON: {error}", 'an object, e.g. {"because": "..."}') from error


def _misshapen(text: str) -> Problem:
    """Return the problem for a body of the wrong shape: 422 when a value is of the right type but out of bounds."""
    path = _PATH.search(text)
    named = _UNKNOWN_FIELD.search(text) or _MISSING_FIELD.search(text)
    parts = [path["path"] if path else "", named["name"] if named else ""]
    field = ".".join(part for part in parts if part)
    message = _PATH.sub("", text)
    bounds = message.startswith("Expected") and any(word in message for word in ("length", "matching"))
    return Problem(422 if bounds else 400, message, "see /api/v1/openapi.json", field=field[:80])


def failure_response(problem: Problem) -> web.Response:
    """Return the answer for a request that is not done."""
    response = json_response(Failure(problem.error, problem.hint, problem.field), status=problem.status)
    if problem.after_s:
        response.headers["Retry-After"] = str(problem.after_s)
    if problem.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def problem_of(error: Exception) -> Problem:
    """Return what an exception means to the one who asked."""
    match error:
        case Problem():
            return error
        case Refused():
            return Problem(409, str(error), "try again when the reason is gone")
        case NotLeading(leader_url=url):
            return Problem(503, str(error), f"the leader answers at {url}" if url else "wait until one leads")
        case web.HTTPRequestEntityTooLarge():
            return Problem(413, "the body is too large", f"at most {guards.MAX_BODY_BYTES} bytes")
        case web.HTTPNotFound():
            return Problem(404, "there is nothing at this address", "GET /api/v1/openapi.json lists every address")
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(error.allowed_methods))
            return Problem(405, f"{error.method[:20]} is not possible here", f"possible: {allowed}")
        case web.HTTPException():
            return Problem(error.status, error.reason, "see /api/v1/openapi.json")
        case _:
            return Problem(500, "the controller failed to answer", "its log says why; the fleet's state is unharmed")


def told(error: Exception, request: web.Request) -> Problem:
    """Return what an exception means, and put what nobody expected into the log."""
    problem = problem_of(error)
    if problem.status >= 500 and not isinstance(error, NotLeading):
        log.error("request.failed", path=request.path, error=repr(error), exc_info=error)
    return problem


def openapi_handler(document: dict[str, Any]) -> HttpHandler:
    """Return the handler that gives the API's description."""
    encoded = msgspec.json.encode(document)

    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=encoded, content_type="application/json")

    return answer
