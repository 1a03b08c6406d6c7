"""Attacks on the page and the API, in a real browser and by hand: scripts, pages of other sites, paths."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest
from aiohttp import web
from playwright.async_api import Page

from controller.access.roles import Role
from controller.events import ActProposed, OperatorActed
from tests.controller.api.test_pages import HOSTILE, hostile
from tests.support.browser import Browsing, browse, chromium
from tests.support.open_cell import OpenCell, open_cell
from tests.support.tokens import bearer, guarded, make_token

__all__ = ["browse", "chromium"]

NAME = HOSTILE[:64]
LOGIN_NEXT = quote("/nodes/" + quote(HOSTILE, safe=""), safe="")
INJECTED = (
    "main script, main img:not([src^='/static/']), main iframe, main object, [onerror], [onload], a[href^='javascript']"
)


@dataclass(slots=True)
class Site:
    """A cell in which everybody says the worst, and the token of somebody with such a name."""

    cell: OpenCell
    token: str

    async def signed_in(self, browsing: Browsing, path: str = "/") -> tuple[Page, list[str]]:
        """Sign in with a browser; return the page and what the browser complains of."""
        opened = await browsing(f"{self.cell.url}/login?next={quote(path, safe='')}")
        opened.page.on("dialog", lambda dialog: opened.complaints.append(f"it ran: {dialog.message}"))
        await opened.page.fill("#token", self.token)
        await opened.page.click("button[type=submit]")
        await opened.page.wait_for_selector("#account:not(:empty)")
        return opened.page, opened.complaints


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """A cell with n1 and n2."""
    file = tmp_path / "access-tokens.json"
    token = make_token(file, NAME, Role.ADMIN, Role.APPROVER)
    async with open_cell(tmp_path, access=guarded(file)) as cell:
        await cell.add_nodes("n1", "n2")
        yield Site(cell, token)


async def test_nothing_that_anybody_says_runs_on_any_page(site: Site, browse: Browsing) -> None:
    await hostile(site.cell)
    act = OperatorActed("resume", HOSTILE, HOSTILE, HOSTILE)
    await site.cell.tell(ActProposed("act-1", act, HOSTILE, HOSTILE, True, site.cell.clock.now + 999))
    page, complaints = await site.signed_in(browse)
    assert await page.text_content("#account") == NAME
    node = f"/nodes/{quote(HOSTILE, safe='')}"
    pages = ("/", node, "/incidents", "/incidents/inc-000001", "/budgets", "/playbooks", "/audit", "/report")
    for path in (*pages, f"{node}x", f"/audit?by={quote(HOSTILE)}", f"/incidents?node={quote(HOSTILE)}"):
        await page.goto(f"{site.cell.url}{path}")
        await page.wait_for_selector("#account:not(:empty)")
        assert await page.locator(INJECTED).count() == 0, path
    await page.goto(f"{site.cell.url}/budgets")
    await page.click("html[data-ready] #act-1 button[data-act=agree]")
    assert HOSTILE in (await page.text_content("#act-title") or "")
    await page.fill("#act-because", HOSTILE[:400])
    await page.click("#act-do")
    await site.cell.until_true(lambda: "act-1" not in site.cell.cell.belief.proposals)
    assert [each for each in complaints if "404" not in each] == []


async def test_the_sign_in_page_runs_nothing_of_its_address(site: Site, browse: Browsing) -> None:
    opened = await browse(f"{site.cell.url}/login?next={LOGIN_NEXT}&x={quote(HOSTILE)}#{quote(HOSTILE)}")
    assert await opened.page.locator(INJECTED).count() == 0
    await opened.page.fill("#token", HOSTILE)
    await opened.page.click("button[type=submit]")
    await opened.page.wait_for_selector("#failure:not([hidden])")
    assert await opened.page.locator(INJECTED).count() == 0


EVIL = """<!doctype html><title>evil</title>
<form id="plain" method="post" enctype="text/plain" action="{url}/api/v1/pause" target="there">
<input name='{{"scope":"fleet","because":"' value='"}}'></form>
<form id="out" method="post" action="{url}/logout" target="there"></form>
<iframe name="there"></iframe><iframe id="framed" src="{url}/"></iframe>
<script src="{url}/api/v1/me" onload="window.read = true"></script>
<script>
window.said = [];
const tries = [
  ["{url}/api/v1/pause", {{ method: "POST", mode: "no-cors", credentials: "include", body: "{{}}" }}],
  ["{url}/api/v1/pause", {{ method: "POST", credentials: "include", body: "{{}}",
    headers: {{ "Content-Type": "application/json" }} }}],
  ["{url}/api/v1/me", {{ credentials: "include" }}],
];
document.getElementById("plain").submit();
document.getElementById("out").submit();
Promise.allSettled(tries.map(([where, how]) => fetch(where, how).then((answer) => answer.type + answer.status)))
  .then((all) => {{ window.said = all.map((each) => each.value ?? "refused"); window.done = true; }});
</script>"""


async def test_a_page_of_another_site_does_and_reads_nothing_in_a_browser_that_is_signed_in(
    site: Site, browse: Browsing
) -> None:
    """Another port of the same host is the same site to a browser: it sends the cookie along."""
    page, _ = await site.signed_in(browse)
    before = site.cell.cell.belief.last_event_id
    app = web.Application()

    async def evil(_request: web.Request) -> web.Response:
        return web.Response(text=EVIL.format(url=site.cell.url), content_type="text/html")

    app.router.add_get("/", evil)
    runner = web.AppRunner(app)
    await runner.setup()
    listening = web.TCPSite(runner, "127.0.0.1", 0)
    await listening.start()
    try:
        other = await page.context.new_page()
        await other.goto(f"http://127.0.0.1:{runner.addresses[0][1]}/")
        await other.wait_for_function("() => Boolean(window.done)")
        assert await other.evaluate("window.said") == ["refused", "refused", "refused"]
        assert await other.evaluate("window.read ?? false") is False
        framed = other.frame_locator("#framed").locator("#account")
        assert await framed.count() == 0
    finally:
        await runner.cleanup()
    assert before == site.cell.cell.belief.last_event_id
    assert await page.evaluate("fetch('/api/v1/me').then((answer) => answer.status)") == 200


async def raw(site: Site, target: str) -> tuple[int, bytes]:
    """Ask for exactly this, as no well-behaved client would; return status and answer."""
    port = int(site.cell.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    shown = f"Authorization: {bearer(site.token)['Authorization']}"
    writer.write(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n{shown}\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return int(answer.split(b" ", 2)[1]), answer


PREFIXES = ("/static/", "/api/v1/evidence/", "/playbooks/", "/api/v1/playbooks/", "/nodes/", "/")
PATHS = (
    "../access-tokens.json",
    "../../../../../../etc/passwd",
    "..%2f..%2f..%2fetc%2fpasswd",
    "%2e%2e/%2e%2e/etc/passwd",
    "..%252f..%252fetc%252fpasswd",
    "....//....//etc/passwd",
    "..%5c..%5cetc%5cpasswd",
    "%2fetc%2fpasswd",
    "fleetmend.css%00.js",
    "%c0%ae%c0%ae/etc/passwd",
)


async def test_no_path_leads_out(site: Site) -> None:
    for target in (f"{prefix}{path}" for prefix in PREFIXES for path in PATHS):
        status, answer = await raw(site, target)
        assert status in {400, 403, 404}, (target, status)
        assert b"root:" not in answer and b"sha256" not in answer


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n",
        b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET http://evil.example/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: fleetmend=" + b"a." * 2_000 + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
async def test_requests_that_are_none_are_refused(site: Site, request_: bytes) -> None:
    port = int(site.cell.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request_)
    writer.write_eof()
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    assert not answer or int(answer.split(b" ", 2)[1]) in {303, 400, 401, 403, 404, 431}
    async with aiohttp.ClientSession(site.cell.url) as http, http.get("/healthz") as well:
        assert well.status == 200
