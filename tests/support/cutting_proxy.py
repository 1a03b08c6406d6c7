"""A proxy between a client and a server that breaks connections as a test says: nothing else knows of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field


@dataclass(slots=True)
class CuttingProxy:
    """Hands bytes on.

    Attributes:
        port: of the server behind it.
        budgets: after so many bytes from the client, the first, the second, ... connection breaks; later ones do not.
        closed: refuses everybody while set.
        connections: how many there were.
        passed: bytes from clients that were handed on.
    """

    port: int
    budgets: list[int] = field(default_factory=list)
    closed: bool = False
    connections: int = 0
    passed: int = 0
    own_port: int = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.own_port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        budget = self.budgets.pop(0) if self.budgets else None
        self.connections += 1
        with contextlib.suppress(OSError, asyncio.CancelledError):
            if not self.closed:
                await self._between(reader, writer, budget)
        writer.transport.abort()

    async def _between(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, budget: int | None) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            tasks = {asyncio.create_task(self._up(reader, back, budget)), asyncio.create_task(_down(there, writer))}
            _, open_ones = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in open_ones:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            back.transport.abort()

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, budget: int | None) -> None:
        left = budget
        while data := await reader.read(8_192 if left is None else min(8_192, left)):
            writer.write(data)
            await writer.drain()
            self.passed += len(data)
            left = None if left is None else left - len(data)
            if left == 0 or self.closed:
                return


async def _down(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(8_192):
        writer.write(data)
        await writer.drain()


@contextlib.asynccontextmanager
async def cutting_proxy(port: int, *budgets: int) -> AsyncIterator[CuttingProxy]:
    """Give a proxy before a server on loopback."""
    proxy = CuttingProxy(port, list(budgets))
    server = await asyncio.start_server(proxy._serve, "127.0.0.1", 0)
    proxy.own_port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
