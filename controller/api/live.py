"""What changes, told to open pages as server-sent events: names and the map's rows, never a whole page.

Nothing is queued for a page. Each has a place in the log, and gets what came after that as one message when it can take
one; a page that reads slowly gets fewer and larger ones, and one that has been away too long is told to look anew.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from aiohttp import web

from controller.access.door import STILL
from controller.api import fleet_map, guards
from controller.api.cell_view import CellView
from controller.api.moments import iso
from controller.api.problems import Problem
from controller.changes import Touched

MOST_PAGES: Final = 500
"""Pages that are told at once; one more asks every few seconds instead. Source: our choice, 500 × 64 KiB of buffers."""

BEAT_S: Final = 10.0
"""A page that hears nothing for two of these knows that nobody speaks. Source: our choice."""

GAP_S: Final = 0.05
"""Least time between two messages. Source: our choice; what comes within it is seen as one change by people."""

ROWS_PER_S: Final = 2_000
"""A storm is told at this pace, a node that changed twice once. Source: our choice."""

MOST_ROWS: Final = 2_000
"""From here on the whole map is fewer bytes: 25 kB for 10,000 nodes, where a row takes some 20 (measured)."""

WRITE_LIMIT_S: Final = 20.0
"""A page that takes nothing for so long is gone. Source: our choice, two beats."""

MOST_FRAMES: Final = 64
"""Messages that are kept for pages that know as much as each other, until the log goes on. Source: our choice; pages
that keep up are at a few places, and whoever comes from each entry in turn must not fill the memory of a quiet cell."""

BUFFERED_BYTES: Final = 65_536
AGAIN_AFTER_MS: Final = 1_000


@dataclass(slots=True)
class Live:
    """Tells the pages of one cell. `readers`: how many are told now."""

    cell: CellView
    readers: int = 0
    _head: int = 0
    _rows: int = 0
    _frames: dict[int, tuple[bytes, int]] = field(default_factory=dict)
    _told: asyncio.Condition = field(default_factory=asyncio.Condition)
    _teller: asyncio.Task[None] | None = None
    _ending: bool = False

    def add_to(self, app: web.Application, path: str) -> None:
        """Serve it, and end every stream when the application ends."""
        app.router.add_get(path, self._stream)
        app.on_shutdown.append(self._end)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        since = _since(request)
        if self.readers >= MOST_PAGES or self._ending:
            raise Problem(429, f"{self.readers} pages are told already", "ask for the page's live part instead")
        response = web.StreamResponse(headers=_HEADERS)
        await response.prepare(request)
        if request.transport is not None:
            request.transport.set_write_buffer_limits(high=BUFFERED_BYTES)
        self.readers += 1
        try:
            self._begin()
            with contextlib.suppress(ConnectionError, TimeoutError):
                await self._tell(response, self._head if since is None else since, request.get(STILL, _always))
        finally:
            self.readers -= 1
        return response

    async def _tell(self, response: web.StreamResponse, since: int, may_still: Callable[[], bool]) -> None:
        await _write(response, f"retry: {AGAIN_AFTER_MS}\n\n".encode() + self._beat(since))
        clock = asyncio.get_running_loop().time
        asked_at = clock()
        while not self._ending:
            if clock() - asked_at >= BEAT_S:
                if not may_still():
                    return
                asked_at = clock()
            frame, since = self._frame(since)
            if frame:
                await _write(response, frame)
            if not await self._news(since):
                await _write(response, self._beat(since))

    async def _news(self, since: int) -> bool:
        """Wait for what came after an entry; return whether there is any before the next beat."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BEAT_S), self._told:
                while self._head <= since and not self._ending:
                    await self._told.wait()
                return True
        return False

    def _beat(self, since: int) -> bytes:
        return _message("beat", since, {"at": iso(self.cell.now())})

    def _frame(self, since: int) -> tuple[bytes, int]:
        """Return the message for a page that knows what came up to here, and up to where it knows after that.

        Pages that keep up share one.
        """
        if since in self._frames:
            return self._frames[since]
        made = self._made(since)
        if len(self._frames) < MOST_FRAMES:
            self._frames[since] = made
        return made

    def _made(self, since: int) -> tuple[bytes, int]:
        touched = self.cell.changes.since(since, self.cell.belief)
        if touched is not None and touched.through == since:
            return b"", since
        if touched is None or len(touched.nodes) > MOST_ROWS:
            head = self.cell.changes.head(self.cell.belief)
            return _message("reset", head, {"at": iso(self.cell.now())}), head
        return _message("change", touched.through, self._said(touched)), touched.through

    def _said(self, touched: Touched) -> dict[str, Any]:
        rows = fleet_map.rows_of(self.cell.belief, touched.nodes)
        self._rows = max(self._rows, len(rows))
        return {"at": iso(self.cell.now()), "nodes": rows, "incidents": touched.incidents, "moved": touched.moved}

    def _begin(self) -> None:
        if self._teller is None:
            self._head = self.cell.changes.head(self.cell.belief)
            self._teller = asyncio.create_task(self._keep_telling(), name="live")

    async def _keep_telling(self) -> None:
        while True:
            await self.cell.changes.more()
            await self._turn()
            await asyncio.sleep(GAP_S + self._rows / ROWS_PER_S)

    async def _turn(self) -> None:
        async with self._told:
            self._head, self._rows = self.cell.changes.head(self.cell.belief), 0
            self._frames.clear()
            self._told.notify_all()

    async def _end(self, _app: web.Application) -> None:
        self._ending = True
        if self._teller is not None:
            self._teller.cancel()
        async with self._told:
            self._told.notify_all()


_HEADERS = {
    **guards.HEADERS,
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
}
"""The last one has a proxy in front hand each message on at once. Source: nginx, ngx_http_proxy_module."""


def _since(request: web.Request) -> int | None:
    """Return up to which entry the page knows all, `None` when it knows nothing; `Last-Event-ID` outranks the query.

    Raises:
        Problem: 400, an unknown query; 422, that is no number of an entry.
    """
    for name in request.query:
        if name != "since":
            raise Problem(400, f"unknown query {name[:40]!r}", "known: since", field=name[:40])
    said = request.headers.get("Last-Event-ID") or request.query.get("since")
    if said is None:
        return None
    if not (said.isascii() and said.isdecimal() and len(said) <= 18):
        raise Problem(422, f"{said[:40]!r} is no entry of the log", "the event_id of a map or a message", field="since")
    return int(said)


def _always() -> bool:
    return True


def _message(event: str, number: int, data: dict[str, Any]) -> bytes:
    return b"event: %s\nid: %d\ndata: %s\n\n" % (event.encode(), number, msgspec.json.encode(data))


async def _write(response: web.StreamResponse, message: bytes) -> None:
    async with asyncio.timeout(WRITE_LIMIT_S):
        await response.write(message)
