"""The status page: the same answers as the API's, as HTML that a browser keeps fresh.

Every page can be asked for its live part alone (`?part=live`), as the page's script does when it is told of a change.
Templates escape everything: names and texts come from nodes.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from controller.api import reading, reporting
from controller.api.call import Call
from controller.api.cell_view import CellView
from controller.api.fleet_map import KINDS
from controller.api.node_counters import counters_shown
from controller.api.node_history import history_of
from controller.api.problems import Problem
from controller.policy.drilling import why_no_drill
from controller.web import fleet_map
from controller.web.bench_section import bench_section
from controller.web.counter_section import counter_section
from controller.web.incident_page import incident_view
from controller.web.manual_pages import ManualPages
from controller.web.needs import need_of
from controller.web.node_page import NodeView, node_view
from controller.web.ops_pages import OpsPages
from controller.web.query import check_query
from controller.web.report_view import environment, report_view

STATIC = Path(__file__).parent / "static"

KEPT_S = 0.5
"""So long one fleet page serves everybody who asks: two hundred open ones cost no more than two answers a second.
Source: our choice. A page that finds its answer older than what the stream told asks again."""

EVENT_HEADER = "X-Fleetmend-Event"
"""The log's last entry that a page knows of."""

_TITLES = {404: "Not found", 403: "Not from there", 409: "Refused", 500: "The controller failed to answer"}


class Pages:
    """Renders the pages of one cell. `asks`: people have to say who they are."""

    def __init__(self, cell: CellView, *, asks: bool = False) -> None:
        self._cell = cell
        self._kept: dict[tuple[str, str], tuple[float, web.Response]] = {}
        self._environment = environment()
        self._environment.globals["asks"] = asks
        self._environment.filters["need"] = need_of

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve the pages and what they need."""
        router.add_get("/", self._fleet)
        router.add_get("/nodes/{name}", self._node)
        router.add_get("/incidents/{id}", self._incident)
        router.add_get("/report", self._report)
        router.add_get("/static/{name}", self._static)
        OpsPages(self._cell, self._page).add_to(router)
        ManualPages(self._page).add_to(router)

    def problem(self, problem: Problem) -> web.Response:
        """Return the page that says why there is none."""
        title = _TITLES.get(problem.status, "That did not work")
        return self._page("problem.html", {"title": title, "problem": problem}, part="", status=problem.status)

    def sign_in(self, elsewhere: str) -> web.Response:
        """Return the page where a person says who they are; it says nothing of the cell.

        Args:
            elsewhere: what the provider is called at which they may do so, empty without one.
        """
        html = self._environment.get_template("sign_in.html").render(elsewhere=elsewhere)
        return web.Response(text=html, content_type="text/html")

    async def _fleet(self, request: web.Request) -> web.Response:
        check_query(request, "health", "group", "find")
        _check_grouping(request.query.get("group", ""))
        only, part, now = request.query.get("health", ""), request.query.get("part", ""), time.monotonic()
        made_at, answer = self._kept.get((only, part), (0.0, None))
        if answer is None or now - made_at >= KEPT_S:
            view = fleet_map.fleet_view(self._cell, only=only)
            answer = self._page("fleet.html", {"view": view, "kinds": KINDS}, part=part)
            self._kept[only, part] = now, answer
        return _copy(answer)

    async def _node(self, request: web.Request) -> web.Response:
        check_query(request)
        node = await reading.node(Call(self._cell, request.match_info))
        bench = await bench_section(self._cell, node.name)
        view = await self._node_view(node.name)
        return self._page("node.html", {"node": node, "bench": bench, "view": view}, part=request.query.get("part", ""))

    async def _node_view(self, name: str) -> NodeView:
        node = self._cell.belief.nodes[name]
        history = await history_of(self._cell, node)
        because, now = why_no_drill(node), self._cell.now()
        told = counter_section(counters_shown(self._cell, name), now)
        return node_view(history, told, now, why_no_drill=because, devices=node.facts.devices)

    async def _incident(self, request: web.Request) -> web.Response:
        check_query(request)
        incident = await reading.incident(Call(self._cell, request.match_info))
        stands_by = reading.cell_status(self._cell).role == "standby"
        view = incident_view(incident, self._cell.now(), stands_by=stands_by)
        return self._page("incident.html", {"incident": incident, "view": view}, part=request.query.get("part", ""))

    async def _report(self, request: web.Request) -> web.Response:
        made = await reporting.report(Call(self._cell, query=dict(request.query)))
        values = {"view": await asyncio.to_thread(report_view, made), "asked": request.query.get("since", "")}
        return self._page("report.html", values, part=request.query.get("part", ""))

    async def _static(self, request: web.Request) -> web.StreamResponse:
        found = _STATIC_FILES.get(request.match_info["name"])
        if found is None:
            raise web.HTTPNotFound
        headers = {"Cache-Control": "no-cache", "ETag": f'"{found.digest}"'}
        if found.digest in {tag.value for tag in request.if_none_match or ()}:
            return web.Response(status=304, headers=headers)
        return web.Response(body=found.content, content_type=found.kind, headers=headers)

    def _page(self, template: str, values: dict[str, Any], *, part: str, status: int = 200) -> web.Response:
        layout = "live.html" if part == "live" else "page.html"
        html = self._environment.get_template(template).render(
            layout=layout,
            since=self._cell.belief.last_event_id,
            cell=reading.cell_status(self._cell),
            now=self._cell.now(),
            **values,
        )
        told = {EVENT_HEADER: str(self._cell.belief.last_event_id)}
        return web.Response(text=html, content_type="text/html", status=status, headers=told)


def _check_grouping(kind: str) -> None:
    if kind and kind not in KINDS:
        raise Problem(422, f"the map cannot be grouped by {kind[:40]!r}", ", ".join(KINDS), field="group")


def _copy(answer: web.Response) -> web.Response:
    """Return an answer that can be sent once more."""
    return web.Response(body=answer.body, status=answer.status, headers=answer.headers)


@dataclass(frozen=True, slots=True)
class _File:
    """What a page needs besides its HTML. Packed on its way, which aiohttp does not do with files on disk."""

    content: bytes
    kind: str
    digest: str


def _read(path: Path) -> _File:
    content = path.read_bytes()
    return _File(content, _KINDS[path.suffix], hashlib.sha256(content).hexdigest()[:32])


_KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_STATIC_FILES = {path.name: _read(path) for path in STATIC.iterdir() if path.suffix in _KINDS}
