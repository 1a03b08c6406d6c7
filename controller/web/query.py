"""What may stand after the question mark of a page's address."""

from __future__ import annotations

from aiohttp import web

from controller.api.problems import Problem


def check_query(request: web.Request, *known: str) -> None:
    """Return if a page knows everything after the question mark.

    Raises:
        Problem: 400, it does not; 422, a part of the page is asked for that there is not.
    """
    for name in request.query:
        if name not in {"part", *known}:
            right = f"known: {', '.join(sorted(known))}" if known else "this page takes no query"
            raise Problem(400, f"unknown query {name[:40]!r}", right, field=name[:40])
    if request.query.get("part", "live") != "live":
        raise Problem(422, f"a page has no part {request.query['part'][:40]!r}", "part=live", field="part")
