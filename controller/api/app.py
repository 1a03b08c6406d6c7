"""The controller's web application: API, status page and the guards before both."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from controller.access.admitting import Access
from controller.access.door import GuardedDoor
from controller.api import guards
from controller.api.bundles import bundle_handler
from controller.api.cell_view import CellView
from controller.api.enrolling import OPERATIONS, Enrolling
from controller.api.live import Live
from controller.api.metrics import PATH, Scraped, metrics_handler
from controller.api.openapi import openapi_document
from controller.api.operation import Operation
from controller.api.problems import Problem
from controller.api.routes import ROOT, ROUTES
from controller.api.serving import failure_response, openapi_handler, serve, told
from controller.evidence.desk import Evidence, NoEvidence
from controller.evidence.receiving import Receiver
from controller.web.pages import Pages
from controller.web.sign_in import SignIn, is_whole, sign_in_first
from wire import versions

WORTH_PACKING_BYTES = 1_400
"""Less than this is one packet anyway. Source: an Ethernet frame less its headers."""

UNKNOWN_PEOPLE: Final = frozenset({401, 403})
"""Who is told that learns nothing of the controller, its version among it."""

LIVE = web.AppKey("live", Live)


def create_app(
    cell: CellView,
    *,
    hosts: Iterable[str] = (),
    evidence: Evidence | None = None,
    uploads: Receiver | None = None,
    metrics: Scraped | None = None,
    access: Access | None = None,
    enrolling: Enrolling | None = None,
) -> web.Application:
    """Return the application, ready to be served.

    Args:
        hosts: names by which people reach the controller besides loopback names, e.g. that of `http.public_url`.
        evidence: where bundles are got from.
        uploads: takes them from nodes, `None` when this port takes none.
        metrics: what Prometheus is told here, `None` for nothing.
        access: who may do what, `None` where whoever reaches the port may do all.
        enrolling: gives hosts certificates, `None` where none enrols.
    """
    rules = _Rules(frozenset(map(str.lower, hosts)), access or Access())
    door = rules.access.door
    pages = Pages(cell, asks=isinstance(door, GuardedDoor))
    app = web.Application(client_max_size=guards.MAX_BODY_BYTES, middlewares=[_protect(rules, pages)])
    for route in ROUTES:
        app.router.add_route(route.method, route.path, serve(route, cell))
    app.router.add_get(f"{ROOT}/openapi.json", openapi_handler(openapi_document(operations_of(enrolling))))
    app.router.add_route("GET", f"{ROOT}/evidence/{{upload}}", bundle_handler(cell, evidence or NoEvidence()))
    if metrics is not None:
        app.router.add_get(PATH, metrics_handler(metrics))
    app[LIVE] = Live(cell)
    app[LIVE].add_to(app, f"{ROOT}/live")
    if uploads is not None:
        uploads.add_to(app.router)
    if enrolling is not None:
        enrolling.add_to(app.router)
    pages.add_to(app.router)
    if isinstance(door, GuardedDoor):
        SignIn(rules.access, pages).add_to(app.router)
    return app


def operations_of(enrolling: Enrolling | None) -> tuple[Operation, ...]:
    """Return what the API's description tells of: what this controller answers, and nothing else."""
    return (*(route.operation for route in ROUTES), *(OPERATIONS if enrolling is not None else ()))


@dataclass(frozen=True, slots=True)
class _Rules:
    """What is looked at before a request is answered."""

    hosts: frozenset[str]
    access: Access

    def check(self, request: web.Request) -> None:
        """Return if the request may be answered; it is known then who asks.

        A probe asks for /healthz by whatever address it has, and learns nothing there.

        Raises:
            Problem: it may not.
        """
        if request.path != "/healthz":
            guards.check_host(request, self.hosts)
        if request.method not in guards.READING:
            guards.check_origin(request)
        self.access.admit(request)


def _protect(rules: _Rules, pages: Pages) -> Middleware:
    ours = version("fleetmend")

    @web.middleware
    async def protect(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            rules.check(request)
            response = await handler(request)
        except Exception as error:
            problem = told(error, request)
            response = _answer_problem(request, problem, pages)
        response.headers.update(guards.HEADERS | (guards.TLS_HEADERS if request.secure else {}))
        response.headers.setdefault("Cache-Control", "no-store")
        if request.path.startswith(f"{ROOT}/") and response.status not in UNKNOWN_PEOPLE:
            response.headers[versions.HEADER] = ours
        if isinstance(response, web.Response) and (response.content_length or 0) >= WORTH_PACKING_BYTES:
            response.enable_compression()
        return response

    return protect


def _answer_problem(request: web.Request, problem: Problem, pages: Pages) -> web.Response:
    """Return the answer in the words of whoever asks; a person who has to say who they are is shown where."""
    if "text/html" in request.headers.get("Accept", "") and not request.path.startswith("/api/"):
        return sign_in_first(request) if problem.status == 401 and is_whole(request) else pages.problem(problem)
    return failure_response(problem)
