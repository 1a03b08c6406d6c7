"""A proxy before a real API server, which does what the server does not do on demand: break off, hang, lie."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import aiohttp
from aiohttp import web

from tests.support.kubernetes import KubernetesCluster

LOOPBACK = "127.0.0.1"
Ask = Callable[[web.Request], Awaitable[web.StreamResponse]]
PASSED_ON = ("Accept", "Authorization", "Content-Type")


@dataclass(slots=True)
class KubernetesProxy:
    """The proxy, serving between entering and leaving.

    Attributes:
        twist: what it does with a request in place of passing it on; `None` passes it on.
        asked: every request so far, as `METHOD path`.
    """

    cluster: KubernetesCluster
    twist: Callable[[web.Request], Ask | None] = lambda _: None
    asked: list[str] = field(default_factory=list)
    url: str = ""
    _session: aiohttp.ClientSession = field(init=False)
    _runner: web.AppRunner = field(init=False)
    _streams: set[asyncio.Transport] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        context = ssl.create_default_context(cafile=str(self.cluster.certificate))
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context))
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, LOOPBACK, 0).start()
        self.url = f"http://{LOOPBACK}:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cut()
        await self._runner.cleanup()
        await self._session.close()

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig, by way of the proxy."""
        path = self.cluster.directory / "proxy.kubeconfig"
        path.write_text(self.cluster.kubeconfig.read_text().replace(self.cluster.url, self.url))
        return path

    def cut(self) -> None:
        """Cut every stream that is under way."""
        for transport in list(self._streams):
            transport.abort()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(f"{request.method} {request.path}")
        twisted = self.twist(request)
        return await (twisted(request) if twisted is not None else self.passed_on(request))

    async def passed_on(self, request: web.Request, *, dry_run: bool = False) -> web.StreamResponse:
        """Ask the server and hand its answer on."""
        query = {**request.query, **({"dryRun": "All"} if dry_run else {})}
        headers = {name: request.headers[name] for name in PASSED_ON if name in request.headers}
        body = await request.read()
        url = f"{self.cluster.url}{request.path}"
        async with self._session.request(
            request.method, url, params=query, headers=headers, data=body or None
        ) as answer:
            if "watch" in query:
                return await self._streamed(request, answer)
            return web.Response(status=answer.status, body=await answer.read(), content_type="application/json")

    async def _streamed(self, request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        response = web.StreamResponse(status=answer.status, headers={"Content-Type": "application/json"})
        await response.prepare(request)
        assert isinstance(request.transport, asyncio.Transport)
        self._streams.add(request.transport)
        with suppress(aiohttp.ClientError, ConnectionError):
            async for piece in answer.content.iter_any():
                await response.write(piece)
        self._streams.discard(request.transport)
        return response

    async def does_nothing(self, request: web.Request) -> web.StreamResponse:
        """Answer as if it were done, and do nothing: a dry run."""
        return await self.passed_on(request, dry_run=True)

    async def breaks_off(self, request: web.Request) -> web.StreamResponse:
        """Do what is asked, and break off in the middle of the answer."""
        answer = await self.passed_on(request)
        assert isinstance(answer, web.Response)
        assert isinstance(answer.body, bytes)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.content_length = len(answer.body)
        await response.prepare(request)
        await response.write(answer.body[: len(answer.body) // 2])
        assert request.transport is not None
        request.transport.close()
        return response


async def hangs(_: web.Request) -> web.StreamResponse:
    """Never answer."""
    await asyncio.Event().wait()
    raise AssertionError


def says(status: int, body: str, *, content_type: str = "application/json", **headers: str) -> Ask:
    """Return what gives this answer in place of the server's."""

    async def say(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text=body, content_type=content_type, headers=headers)

    return say
