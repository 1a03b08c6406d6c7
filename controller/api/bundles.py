"""Bundles of evidence as people ask for them: what there is, and each as a file that a broken download goes on with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

from aiohttp import web

from controller.api.call import Call, known_node
from controller.api.cell_view import CellView
from controller.api.moments import iso
from controller.api.problems import Problem
from controller.api.shapes import BundleRow
from controller.evidence.desk import Evidence
from controller.policy.belief import Belief
from controller.policy.incident import Incident


async def evidence(call: Call) -> list[BundleRow]:
    """Return every bundle, newest first; `incident` and `node` narrow them.

    Raises:
        Problem: 404, no such node or incident.
    """
    node, incident = call.query.get("node", ""), call.query.get("incident", "")
    if node:
        known_node(call.cell, node)
    if incident:
        chosen = [await Call(call.cell, {"id": incident}).incident()]
    else:
        chosen = [each for each in call.cell.belief.incidents.values() if node in {"", each.node}]
    found = [row for each in chosen if node in {"", each.node} for row in bundle_rows(each)]
    return sorted(found, key=lambda row: row.at, reverse=True)


def bundle_rows(incident: Incident) -> list[BundleRow]:
    """Return the bundles of an incident."""
    return [
        BundleRow(b.upload, incident.id, incident.node, b.state, b.because, b.size_bytes, b.sha256, b.url, iso(b.at))
        for b in incident.bundles.values()
    ]


def bundle_handler(cell: CellView, store: Evidence) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Return what gives a bundle as a file. The server answers `Range`, so that a download can go on."""

    async def answer(request: web.Request) -> web.StreamResponse:
        upload = request.match_info["upload"]
        found = await store.find(upload)
        if found is None:
            raise Problem(404, f"there is no bundle {upload[:40]!r}", "`fleetmend evidence list` lists every bundle")
        if found.path is None:
            return web.Response(status=307, headers={"Location": found.address})
        name = _file_name(cell.belief, upload)
        return web.FileResponse(
            found.path,
            headers={"Content-Type": "application/gzip", "Content-Disposition": f'attachment; filename="{name}"'},
        )

    return answer


def _file_name(belief: Belief, upload: str) -> str:
    """Return what a bundle is called on a person's disk: ids of ours and names of nodes, safe in a header."""
    whose = next(_incidents_with(belief, upload), None)
    return f"{whose.id}-{whose.node}-{upload[:8]}.tar.gz" if whose is not None else f"{upload}.tar.gz"


def _incidents_with(belief: Belief, upload: str) -> Iterator[Incident]:
    return (incident for incident in belief.incidents.values() if upload in incident.bundles)
