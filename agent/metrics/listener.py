"""The port at which Prometheus scrapes an agent, by as little HTTP as a scrape needs.

aiohttp would take more memory than everything else here, and prometheus_client's own server a thread for each scrape,
which would read what the agent's one thread changes. Whatever comes in gets one answer within a few seconds, and
nothing that it sends delays the agent: what is slow, large or no request is hung up on.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import structlog

from agent.clock import Clock
from agent.metrics.text import exposition
from wire.metrics import Values

log = structlog.get_logger()

PATH: Final = "/metrics"
REQUEST_LIMIT_S: Final = 5.0
MAX_REQUEST_BYTES: Final = 16_384
MOST_AT_ONCE: Final = 8
"""Source: our choice; two Prometheus servers and a person at once are four."""

RETRY_S: Final = 60.0
"""How soon a port that was taken is tried again. Source: our choice."""

_PLAIN: Final = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Request:
    """What is needed of a request: its method, its path without a query, and what its sender accepts."""

    method: str
    path: str
    accept: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back."""

    status: HTTPStatus
    body: bytes
    content_type: str = _PLAIN

    def encoded(self, *, with_body: bool) -> bytes:
        """Return it as it travels; the connection ends with it."""
        lines = (
            f"HTTP/1.1 {self.status.value} {self.status.phrase}",
            f"Content-Type: {self.content_type}",
            f"Content-Length: {len(self.body)}",
            "Cache-Control: no-store",
            "X-Content-Type-Options: nosniff",
            "Connection: close",
        )
        return "\r\n".join((*lines, "", "")).encode() + (self.body if with_body else b"")


def parse(head: bytes) -> Request:
    """Return the request that these bytes begin with, up to its empty line.

    Raises:
        ValueError: they are no request.
    """
    lines = head.decode("latin-1").split("\r\n")
    method, target, protocol = lines[0].split(" ")
    if not (method.isalpha() and method.isupper() and target.startswith("/") and protocol.startswith("HTTP/1.")):
        raise ValueError("no HTTP request")
    accepts = [value for line in lines[1:] for name, _, value in [line.partition(":")] if name.lower() == "accept"]
    return Request(method, target.partition("?")[0], ",".join(value.strip() for value in accepts))


class Listener:
    """Answers scrapes. A port that is taken is said, and tried again: the agent's work goes on meanwhile.

    Attributes:
        address: where it listens, empty while it does not.
    """

    def __init__(self, host: str, port: int, values: Callable[[], Values], *, clock: Clock) -> None:
        """Listen to nothing yet.

        Args:
            values: gives the metrics as they are now.
        """
        self.address = ""
        self._host, self._port, self._values, self._clock = host, port, values, clock
        self._busy = 0

    async def run(self) -> None:
        """Answer until cancelled."""
        while True:
            try:
                server = await asyncio.start_server(self._serve, self._host, self._port, limit=MAX_REQUEST_BYTES)
            except OSError as error:
                because = error.strerror or str(error)
                log.warning("metrics.unavailable", host=self._host, port=self._port, because=because, retry_s=RETRY_S)
                await self._clock.sleep(RETRY_S)
                continue
            async with server:
                host, port = server.sockets[0].getsockname()[:2]
                self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
                log.info("metrics.served", url=f"http://{self.address}{PATH}")
                await server.serve_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._busy += 1
        try:
            if self._busy <= MOST_AT_ONCE:
                async with asyncio.timeout(REQUEST_LIMIT_S):
                    await self._answer(reader, writer)
        except TimeoutError:
            writer.transport.abort()
        except (OSError, asyncio.IncompleteReadError):
            pass  # whoever asked went away
        finally:
            self._busy -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = parse(await reader.readuntil(b"\r\n\r\n"))
        except (ValueError, asyncio.LimitOverrunError):
            request = Request("GET", "")
        writer.write(self.answer(request).encoded(with_body=request.method != "HEAD"))
        await writer.drain()
        writer.write_eof()
        with contextlib.suppress(ConnectionError):
            await reader.read(1)  # its end: what is sent must not be lost to a reset

    def answer(self, request: Request) -> Answer:
        """Return the answer to a request."""
        if not request.path:
            return Answer(HTTPStatus.BAD_REQUEST, b"this is no HTTP request\n")
        if request.path != PATH:
            return Answer(HTTPStatus.NOT_FOUND, f"metrics are at {PATH}\n".encode())
        if request.method not in {"GET", "HEAD"}:
            return Answer(HTTPStatus.METHOD_NOT_ALLOWED, b"metrics can only be got\n")
        try:
            return Answer(HTTPStatus.OK, *exposition(self._values(), accept=request.accept))
        except Exception:
            log.exception("scrape.failed")
            return Answer(HTTPStatus.INTERNAL_SERVER_ERROR, b"the agent's log says why\n")
