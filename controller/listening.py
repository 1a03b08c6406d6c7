"""The port of the page and the API: with TLS where there is a certificate, and never full of people who say nothing."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import Counter
from dataclasses import dataclass
from typing import Final

import structlog
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from controller.access.limits import network_of

log = structlog.get_logger()

MOST_CONNECTIONS: Final = 2_000
"""At a time. Source: our choice; four for each page that is told of changes, some 40 MB."""

SILENT_S: Final = 15.0
"""A connection that asks nothing whole for so long is closed. Source: our choice; TCP repairs a loss within seconds."""

UNTAKEN_MS: Final = 30_000
"""A connection whose other end takes nothing of an answer for so long is closed. Source: our choice."""

HANDSHAKE_S: Final = 10.0
BACKLOG: Final = 512


@dataclass(slots=True)
class Listener:
    """Answers on one port.

    Attributes:
        tls: `None` for plain HTTP.
        most: connections at a time; one more, and whoever has most of them loses the oldest.
    """

    runner: web.AppRunner
    tls: ssl.SSLContext | None = None
    most: int = MOST_CONNECTIONS
    untaken_ms: int = UNTAKEN_MS
    _server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen; return the address and the port that it is.

        Raises:
            OSError: the port is taken, or there is no such address.
        """
        handshake_s = HANDSHAKE_S if self.tls is not None else None
        server = await asyncio.get_running_loop().create_server(
            self._meet, host, port, ssl=self.tls, backlog=BACKLOG, ssl_handshake_timeout=handshake_s
        )
        for listening in server.sockets:
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, self.untaken_ms)
        self._server = server
        address: tuple[str, int] = server.sockets[0].getsockname()[:2]
        return address

    async def stop(self) -> None:
        """Take no more, and end what is under way."""
        if self._server is not None:
            self._server.close()
        await self.runner.cleanup()

    def _meet(self) -> asyncio.BaseProtocol:
        assert self.runner.server is not None
        connections = self.runner.server.connections
        if len(connections) >= self.most:
            _make_room(connections)
        return self.runner.server()


def _make_room(connections: list[RequestHandler]) -> None:
    """End the oldest connection of the client that has most: who comes in numbers pays for it alone."""
    clients = Counter(map(_client_of, connections))
    busiest, count = clients.most_common(1)[0]
    oldest = next(each for each in connections if _client_of(each) == busiest)
    if oldest.transport is not None:
        oldest.transport.abort()
    log.debug("connection.ended", client=busiest, connections=count)


def _client_of(connection: RequestHandler) -> str:
    transport = connection.transport
    peer = transport.get_extra_info("peername") if transport is not None else None
    return network_of(peer[0]) if peer else ""


def runner_of(app: web.Application, *, shutdown_s: float) -> web.AppRunner:
    """Return what answers. Nothing is unpacked: what is small on its way could have any length after that."""
    return web.AppRunner(
        app, access_log=None, shutdown_timeout=shutdown_s, auto_decompress=False, keepalive_timeout=SILENT_S
    )
