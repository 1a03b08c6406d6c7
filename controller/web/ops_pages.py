"""The pages for running a cell: incidents, budgets, playbooks, and who did what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from controller.api import audit, budgets, playbooks, proposals
from controller.api.call import Call
from controller.api.cell_view import CellView
from controller.web.incident_list import FILTERS, incident_list
from controller.web.query import check_query

Render = Callable[..., web.Response]

AUDITED = ("what", "by", "verb", "node", "incident")


class OpsPages:
    """Renders these pages of one cell. `render`: given a template, values and the part that is asked for."""

    def __init__(self, cell: CellView, render: Render) -> None:
        self._cell, self._render = cell, render

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve the pages."""
        router.add_get("/incidents", self._incidents)
        router.add_get("/budgets", self._budgets)
        router.add_get("/playbooks", self._playbooks)
        router.add_get("/playbooks/{name}", self._playbook)
        router.add_get("/audit", self._audit)

    async def _incidents(self, request: web.Request) -> web.Response:
        check_query(request, *FILTERS, "page")
        return self._page(request, "incidents.html", {"view": incident_list(self._cell, request.query)})

    async def _budgets(self, request: web.Request) -> web.Response:
        check_query(request)
        return self._page(
            request,
            "budgets.html",
            {"view": await budgets.budgets(Call(self._cell)), "proposals": await proposals.proposals(Call(self._cell))},
        )

    async def _playbooks(self, request: web.Request) -> web.Response:
        check_query(request)
        return self._page(request, "playbooks.html", {"books": await playbooks.playbooks(Call(self._cell))})

    async def _playbook(self, request: web.Request) -> web.Response:
        check_query(request)
        book = await playbooks.playbook(Call(self._cell, request.match_info))
        return self._page(request, "playbook.html", {"book": book})

    async def _audit(self, request: web.Request) -> web.Response:
        check_query(request, *AUDITED, "before")
        asked = {name: request.query[name].strip() for name in AUDITED if request.query.get(name, "").strip()}
        before = {"before": request.query["before"]} if request.query.get("before") else {}
        page = await audit.audit(Call(self._cell, query=asked | before))
        older = f"/audit?{urlencode(asked | {'before': str(page.before)})}" if page.before is not None else ""
        kinds = {what: _audit_of(asked, what) for what in ("", *audit.WHAT)}
        values = {"view": page, "asked": asked, "older": older, "kinds": kinds, "live": not before}
        return self._page(request, "audit.html", values)

    def _page(self, request: web.Request, template: str, values: dict[str, Any]) -> web.Response:
        return self._render(template, values, part=request.query.get("part", ""))


def _audit_of(asked: dict[str, str], what: str) -> str:
    query = urlencode({name: value for name, value in {**asked, "what": what}.items() if value})
    return f"/audit?{query}" if query else "/audit"
