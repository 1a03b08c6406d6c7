"""A headless Chromium, spoken to by its DevTools protocol: one page, JavaScript evaluated in it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome") or ""
LIMIT_S = 20.0
_LISTENING = re.compile(rb"DevTools listening on ws://127\.0\.0\.1:(\d+)/")

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
)


@dataclass(slots=True)
class BrowserPage:
    """One open page. `complaints`: what the browser logged as an error, policy violations among it."""

    socket: aiohttp.ClientWebSocketResponse
    complaints: list[str] = field(default_factory=list)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Return what a DevTools command answers."""
        number = next(self._numbers)
        await self.socket.send_json({"id": number, "method": method, "params": parameters})
        async with asyncio.timeout(LIMIT_S):
            while True:
                message = await self.socket.receive_json()
                if message.get("id") == number:
                    assert "error" not in message, message["error"]
                    result: dict[str, Any] = message["result"]
                    return result
                self._keep(message)

    def _keep(self, message: dict[str, Any]) -> None:
        if message.get("method") == "Log.entryAdded" and message["params"]["entry"]["level"] == "error":
            self.complaints.append(message["params"]["entry"]["text"])
        if message.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(message["params"]["exceptionDetails"]["text"])

    async def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression."""
        answer = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def until(self, condition: str) -> None:
        """Wait until a JavaScript expression is true."""
        async with asyncio.timeout(LIMIT_S):
            while True:
                if await self.evaluate(f"Boolean({condition})"):
                    return
                await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def browse(profile: Path, url: str) -> AsyncIterator[BrowserPage]:
    """Open an address in a fresh browser, which ends with the context."""
    spoken = profile.with_name(f"{profile.name}.log")
    with spoken.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            CHROMIUM,
            *_FLAGS,
            f"--user-data-dir={profile}",
            "about:blank",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=log,
        )
    try:
        port = await _port(spoken)
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                targets = await answer.json()
            address = next(target["webSocketDebuggerUrl"] for target in targets if target["type"] == "page")
            async with session.ws_connect(address, max_msg_size=1 << 24) as socket:
                page = BrowserPage(socket)
                for domain in ("Page", "Runtime", "Log"):
                    await page.call(f"{domain}.enable")
                await page.call("Page.navigate", url=url)
                await page.until("location.href !== 'about:blank' && document.readyState === 'complete'")
                yield page
    finally:
        process.terminate()
        await process.wait()


async def _port(spoken: Path) -> int:
    """Return the port that the browser names.

    Its profile has it too, but Ubuntu's browser is a snap with a file system of its own, where nobody else can read.
    """
    async with asyncio.timeout(LIMIT_S):
        while True:
            if found := _listening(spoken):
                return found
            await asyncio.sleep(0.05)


def _listening(spoken: Path) -> int:
    found = _LISTENING.search(spoken.read_bytes())
    return int(found[1]) if found else 0
