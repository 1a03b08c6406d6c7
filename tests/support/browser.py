"""A real headless Chromium by Playwright: one browser a module, and for each test pages that share nothing with others.

The browser is this machine's own; Playwright downloads none.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome") or ""
LIMIT_S = 20.0
_LISTENING = re.compile(rb"DevTools listening on (ws://127\.0\.0\.1:\d+/\S+)")

FLAGS = (
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

    page: Page
    complaints: list[str] = field(default_factory=list)

    async def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression."""
        return await self.page.evaluate(expression)

    async def until(self, condition: str) -> None:
        """Wait until a JavaScript expression is true."""
        await self.page.wait_for_function(f"() => Boolean({condition})", polling="raf")

    async def text(self, selector: str) -> str:
        """Return what an element says, in single spaces."""
        return " ".join((await self.page.text_content(selector) or "").split())


@dataclass(slots=True)
class Browsing:
    """Opens pages, each as a person who was never here before."""

    browser: Browser
    contexts: list[BrowserContext] = field(default_factory=list)

    async def __call__(self, url: str, **options: Any) -> BrowserPage:
        """Open an address. `options`: of Playwright's `new_context`, e.g. `color_scheme` or `viewport`."""
        context = await self.browser.new_context(**options)
        context.set_default_timeout(LIMIT_S * 1_000)
        self.contexts.append(context)
        opened = BrowserPage(await context.new_page())
        opened.page.on("console", lambda said: opened.complaints.append(said.text) if said.type == "error" else None)
        opened.page.on("pageerror", lambda error: opened.complaints.append(str(error)))
        await opened.page.goto(url)
        return opened


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the address of a browser that runs as long as the module's tests."""
    if not CHROMIUM and os.environ.get("CI") != "true":
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    profile = tmp_path_factory.mktemp("chromium")
    spoken = profile / "said.log"
    with spoken.open("wb") as log:
        command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile / 'profile'}", "about:blank"]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log)
    try:
        yield _address(spoken)
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
async def browse(chromium: str) -> AsyncIterator[Browsing]:
    """Open pages that are gone after the test."""
    async with async_playwright() as playwright:
        browsing = Browsing(await playwright.chromium.connect_over_cdp(chromium))
        yield browsing
        for context in browsing.contexts:
            await context.close()


def _address(spoken: Path) -> str:
    """Return the address that the browser names.

    Its profile has it too, but Ubuntu's browser is a snap with a file system of its own, where nobody else can read.
    """
    for _ in range(int(LIMIT_S / 0.02)):
        if found := _LISTENING.search(spoken.read_bytes()):
            return found[1].decode()
        time.sleep(0.02)
    raise AssertionError(f"the browser does not listen: {spoken.read_text(errors='replace')[-500:]}")
