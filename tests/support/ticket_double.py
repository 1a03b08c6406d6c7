"""What the doubles of ticket systems share: a server on the loopback whose requests can be made to fail in every way.

A double holds requests to what its system's published documents say, and answers in the shapes that these show.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from controller.tickets.ticketing import Ticketing

SECRET = "s3cret-token"
HANG, HALF, NOTHING, GARBAGE, DROPPED, ECHO = "hang", "half", "nothing", "garbage", "dropped", "echo"
"""No answer; an answer that breaks off after the work; a yes and no work; HTML of some proxy; work and no answer; a no
with all headers that were sent."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class Fault:
    """What becomes of the next requests with this method whose path has this in it. `kind`: a status, or as above."""

    kind: int | str
    method: str = ""
    path: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    times: int = 1


@dataclass
class TicketDouble(ABC):
    """One system.

    Attributes:
        state: everything that it keeps, so that a request without effect can be undone.
        asked: `METHOD path` of every request, in order.
    """

    url: str = ""
    state: Any = None
    faults: list[Fault] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    @abstractmethod
    def routes(self) -> list[web.RouteDef]:
        """Return what it answers."""

    @abstractmethod
    def desk(self, folder: Path, *, token: str = SECRET, **changed: object) -> Ticketing:
        """Return the adapter, by a section of the settings."""

    @abstractmethod
    def close_as_technician(self, reference: str, words: str) -> None:
        """Close a ticket as a person would, with these words."""

    @abstractmethod
    def comments(self, reference: str) -> list[str]:
        """Return the texts of what was said on a ticket, in its own markup."""

    @abstractmethod
    def is_open(self, reference: str) -> bool:
        """Return whether a ticket is open."""

    @abstractmethod
    def count(self) -> int:
        """Return how many tickets there are."""

    @abstractmethod
    def delete(self, reference: str) -> None:
        """Take a ticket away."""

    def fail(self, kind: int | str, method: str = "", path: str = "", **more: Any) -> None:
        """Have the next such request fail."""
        self.faults.append(Fault(kind, method, path, **more))

    def secret_file(self, folder: Path, token: str) -> Path:
        file = folder / "secret"
        file.write_text(f"{token}\n")
        file.chmod(0o600)
        return file

    def _fault_of(self, request: web.Request) -> Fault | None:
        for fault in self.faults:
            if fault.times and fault.method in {"", request.method} and fault.path in request.path:
                fault.times -= 1
                return fault
        return None

    async def meddle(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.asked.append(f"{request.method} {request.path}")
        fault = self._fault_of(request)
        if fault is None:
            return await handler(request)
        match fault.kind:
            case int() as status:
                return web.json_response(fault.body, status=status, headers=fault.headers)
            case "hang":
                await self.released.wait()
                return web.Response(status=500)
            case "garbage":
                return web.Response(text="<html><body>Please log in</body></html>", content_type="text/html")
            case "echo":
                said = "\n".join(f"{name}: {value}" for name, value in request.headers.items())
                return web.Response(status=400, reason=" ".join(said.split())[:300], text=said)
            case "nothing":
                kept = copy.deepcopy(self.state)
                answer = await handler(request)
                self.state = kept
                return answer
            case "dropped":
                await handler(request)
                assert request.transport is not None
                request.transport.abort()
                return web.Response()
        return await self._half(request, await handler(request))

    async def _half(self, request: web.Request, answer: web.StreamResponse) -> web.StreamResponse:
        assert isinstance(answer, web.Response)
        body = answer.body if isinstance(answer.body, bytes) else b""
        cut = web.StreamResponse(status=answer.status, headers={"Content-Type": "application/json"})
        cut.content_length = len(body) + 1
        await cut.prepare(request)
        await cut.write(body[: len(body) // 2])
        assert request.transport is not None
        request.transport.abort()
        return cut


@contextlib.asynccontextmanager
async def running(double: TicketDouble) -> AsyncIterator[TicketDouble]:
    """Serve a double, and end it."""

    @web.middleware
    async def meddling(request: web.Request, handler: Handler) -> web.StreamResponse:
        return await double.meddle(request, handler)

    app = web.Application(middlewares=[meddling])
    app.router.add_routes(double.routes())
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    double.url = f"http://{host}:{port}"
    try:
        yield double
    finally:
        double.released.set()
        await runner.cleanup()
