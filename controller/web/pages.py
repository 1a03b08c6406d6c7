"""The status page: the same answers as the API's, as HTML that a browser keeps fresh.

Every page can be asked for its live part alone (`?part=live`), which the page's script fetches every two seconds.
Templates escape everything: names and texts come from nodes.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from aiohttp import web

from controller.api import reading, reporting
from controller.api.call import Call
from controller.api.cell_view import CellView
from controller.api.problems import Problem
from controller.web import fleet_map
from controller.web.bench_section import bench_section
from controller.web.report_view import environment, report_view

STATIC = Path(__file__).parent / "static"

_TITLES = {404: "Not found", 403: "Not from there", 409: "Refused", 500: "The controller failed to answer"}


class Pages:
    """Renders the pages of one cell."""

    def __init__(self, cell: CellView) -> None:
        self._cell = cell
        self._environment = environment()

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve the pages and what they need."""
        router.add_get("/", self._fleet)
        router.add_get("/nodes/{name}", self._node)
        router.add_get("/incidents/{id}", self._incident)
        router.add_get("/report", self._report)
        router.add_get("/static/{name}", self._static)

    def problem(self, problem: Problem) -> web.Response:
        """Return the page that says why there is none."""
        title = _TITLES.get(problem.status, "That did not work")
        return self._page("problem.html", {"title": title, "problem": problem}, part="", status=problem.status)

    async def _fleet(self, request: web.Request) -> web.Response:
        chosen = request.query.get("health", "")
        view = fleet_map.fleet_view(self._cell, only=chosen)
        return self._page("fleet.html", {"view": view}, part=request.query.get("part", ""))

    async def _node(self, request: web.Request) -> web.Response:
        node = await reading.node(Call(self._cell, request.match_info))
        bench = await bench_section(self._cell, node.name)
        return self._page("node.html", {"node": node, "bench": bench}, part=request.query.get("part", ""))

    async def _incident(self, request: web.Request) -> web.Response:
        incident = await reading.incident(Call(self._cell, request.match_info))
        return self._page("incident.html", {"incident": incident}, part=request.query.get("part", ""))

    async def _report(self, request: web.Request) -> web.Response:
        made = await reporting.report(Call(self._cell, query=dict(request.query)))
        values = {"view": await asyncio.to_thread(report_view, made), "asked": request.query.get("since", "")}
        return self._page("report.html", values, part=request.query.get("part", ""))

    async def _static(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if name not in _STATIC_FILES:
            raise web.HTTPNotFound
        return web.FileResponse(STATIC / name, headers={"Cache-Control": "no-cache"})

    def _page(self, template: str, values: dict[str, Any], *, part: str, status: int = 200) -> web.Response:
        layout = "live.html" if part == "live" else "page.html"
        html = self._environment.get_template(template).render(
            layout=layout, cell=reading.cell_status(self._cell), now=self._cell.now(), **values
        )
        return web.Response(text=html, content_type="text/html", status=status)


_STATIC_FILES = frozenset(path.name for path in STATIC.iterdir())
