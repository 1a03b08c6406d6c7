"""An HTTP server on the loopback that stands for somebody else's, and can fail in every way that they do."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiohttp import web

Fault = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Got:
    """One request as it arrived."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any


@dataclass(frozen=True, slots=True)
class Said:
    """One answer; `body` is JSON unless it is bytes."""

    status: int
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Answering:
    """Answers what `answer` says, after the faults that are waiting.

    Attributes:
        faults: each is what becomes of one request; the thing that was asked for does not happen.
        late_faults: each is what becomes of one answer; the thing that was asked for did happen.
    """

    answer: Callable[[Got], Said]
    url: str = ""
    got: list[Got] = field(default_factory=list)
    faults: deque[Fault] = field(default_factory=deque)
    late_faults: deque[Fault] = field(default_factory=deque)

    def asked(self, method: str, path: str = "") -> list[Got]:
        """Return the requests of a kind whose path begins so."""
        return [got for got in self.got if got.method == method and got.path.startswith(path)]

    @asynccontextmanager
    async def served(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[Answering]:
        """Serve until left, with TLS when there is what it takes."""
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._take)
        runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        host, port = runner.addresses[0][:2]
        self.url = f"{'https' if tls else 'http'}://{host}:{port}"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _take(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        body: Any = None
        if raw:
            body = msgspec.json.decode(raw) if raw[:1] in (b"{", b"[") else raw.decode()
        got = Got(request.method, request.path, dict(request.query), dict(request.headers), body)
        self.got.append(got)
        if self.faults:
            return await self.faults.popleft()(request)
        said = self.answer(got)
        if self.late_faults:
            return await self.late_faults.popleft()(request)
        content = said.body if isinstance(said.body, bytes) else msgspec.json.encode(said.body)
        return web.Response(
            status=said.status, body=content, headers=dict(said.headers), content_type="application/json"
        )


def status(code: int, headers: Mapping[str, str] | None = None, text: str = "no") -> Fault:
    """Answer this status."""

    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.path
        return web.Response(status=code, headers=dict(headers or {}), text=text)

    return answer


async def hang(request: web.Request) -> web.StreamResponse:
    """Never answer."""
    await asyncio.Event().wait()
    raise AssertionError(f"{request.path} was waited for")


async def hang_up(request: web.Request) -> web.StreamResponse:
    """Close the connection in place of an answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def half(request: web.Request) -> web.StreamResponse:
    """Begin an answer of 202 and close the connection in its middle."""
    response = web.StreamResponse(status=202, headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"status": "succ')
    assert request.transport is not None
    request.transport.close()
    return response


async def nonsense(request: web.Request) -> web.StreamResponse:
    """Answer 200 and something that is not JSON: a login page, a proxy's greeting."""
    assert request.path
    return web.Response(status=200, text="<html>Please log in</html>", content_type="text/html")
