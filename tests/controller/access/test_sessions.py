"""Sessions of browsers: begun by a token, kept in a cookie that nobody can forge, ended with the token behind them."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from http.cookies import Morsel
from pathlib import Path

import aiohttp
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey

from controller.access.roles import Role
from controller.access.sessions import make_key
from controller.access.tokens import changing
from controller.events import OperatorActed
from tests.support.open_cell import OpenCell, open_cell
from tests.support.tokens import HOUR_S, NOW, guarded, make_token

PAUSE = "/api/v1/pause"


@dataclass(slots=True)
class Site:
    """A cell that asks for tokens, and a browser's worth of cookies."""

    cell: OpenCell
    http: aiohttp.ClientSession
    file: Path
    now: list[float] = field(default_factory=lambda: [NOW])

    async def sign_in(self, *roles: Role) -> Morsel[str]:
        """Sign in as alice; return the cookie."""
        token = make_token(self.file, "alice", *roles)
        async with self.http.post("/login", json={"token": token}) as answer:
            assert (answer.status, token in await answer.text()) == (200, False)
            return answer.cookies["fleetmend"]

    async def status(self, method: str = "GET", path: str = "/api/v1/me", **headers: str) -> int:
        """Return the status of a request with the cookies that are kept."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        body: dict[str, str] | None = {} if method == "POST" else None
        async with self.http.request(method, path, headers=named, allow_redirects=False, json=body) as answer:
            return answer.status


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """A cell with n1."""
    now, file = [NOW], tmp_path / "access-tokens.json"
    async with open_cell(tmp_path, access=guarded(file, lambda: now[0])) as cell:
        await cell.add_nodes("n1")
        async with aiohttp.ClientSession(cell.url, cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
            yield Site(cell, http, file, now)


async def test_a_session_acts_as_whoever_signed_in(site: Site) -> None:
    cookie = await site.sign_in(Role.OPERATOR)
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Lax", "/")
    assert await site.status("POST", PAUSE, Origin=site.cell.url) == 200
    acts = [e.event.by for e in await site.cell.front.timeline() if isinstance(e.event, OperatorActed)]
    assert acts == ["alice"]


async def test_a_session_survives_a_restart_of_what_answers(site: Site) -> None:
    await site.sign_in(Role.VIEWER)
    await site.cell.hang_up()
    site.cell.access = guarded(site.file)
    await site.cell.answer()
    assert await site.status() == 200


async def test_a_session_ends_with_its_time_its_token_its_key_and_by_signing_out(site: Site) -> None:
    await site.sign_in(Role.VIEWER)
    site.now[0] = NOW + HOUR_S
    assert await site.status() == 401
    site.now[0] = NOW
    await site.sign_in(Role.VIEWER)
    with changing(site.file) as tokens:
        tokens.clear()
    assert await site.status() == 401
    await site.sign_in(Role.VIEWER)
    make_key(site.file.with_name("session-key"))
    assert await site.status() == 401
    await site.sign_in(Role.VIEWER)
    assert await site.status("POST", "/logout", Origin=site.cell.url) == 200
    assert await site.status() == 401


async def test_a_session_has_the_roles_that_its_token_has_now(site: Site) -> None:
    await site.sign_in(Role.VIEWER)
    assert await site.status("POST", PAUSE, Origin=site.cell.url) == 403
    with changing(site.file) as tokens:
        tokens[:] = [type(each)(each.id, each.name, [Role.OPERATOR], each.sha256, NOW, 0.0) for each in tokens]
    assert await site.status("POST", PAUSE, Origin=site.cell.url) == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
async def test_another_page_cannot_act_with_the_cookie(site: Site, headers: dict[str, str]) -> None:
    await site.sign_in(Role.ADMIN)
    before = site.cell.cell.belief.last_event_id
    assert await site.status("POST", PAUSE, **headers) == 403
    assert before == site.cell.cell.belief.last_event_id


async def test_another_page_cannot_sign_a_browser_in_or_out(site: Site) -> None:
    await site.sign_in(Role.VIEWER)
    assert await site.status("POST", "/login", Origin="https://evil.example") == 403
    assert await site.status("POST", "/logout", Origin="https://evil.example") == 403
    assert await site.status() == 200


def forged(site: Site) -> dict[str, str]:
    """Return cookies that nobody signed who may."""
    claims = {"sub": "mallory", "tid": "", "roles": ["admin"], "iat": int(NOW), "exp": int(NOW) + 99}
    other = OctKey.import_key(b"x" * 32)
    parts = (json.dumps({"alg": "none"}), json.dumps(claims))
    unsigned = [base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts]
    key = OctKey.import_key(bytes.fromhex(site.file.with_name("session-key").read_text()))
    return {
        "another key": jwt.encode({"alg": "HS256"}, claims, other),
        "no signature": f"{'.'.join(unsigned)}.",
        "another algorithm": jwt.encode({"alg": "HS512"}, claims, key, algorithms=["HS512"]),
        "without an end": jwt.encode({"alg": "HS256"}, {"sub": "a", "tid": ""}, key),
        "an unknown role": jwt.encode({"alg": "HS256"}, claims | {"roles": ["root"]}, key),
        "an unknown token": jwt.encode({"alg": "HS256"}, claims | {"tid": "00000000"}, key),
        "nonsense": "a.b.c",
        "too much": "a" * 5_000,
    }


async def test_a_cookie_that_was_not_made_here_opens_nothing(site: Site) -> None:
    for what, value in forged(site).items():
        assert await site.status(Cookie=f"fleetmend={value}") == 401, what


async def test_one_bit_less_or_more_and_it_is_no_session(site: Site) -> None:
    cookie = await site.sign_in(Role.VIEWER)
    site.http.cookie_jar.clear()
    assert await site.status(Cookie=f"fleetmend={cookie.value}") == 200
    for place in range(0, len(cookie.value) - 1, 7):
        other = "A" if cookie.value[place] != "A" else "B"
        changed = cookie.value[:place] + other + cookie.value[place + 1 :]
        assert await site.status(Cookie=f"fleetmend={changed}") == 401, place


async def test_a_page_sends_to_the_sign_in_page_and_its_live_part_does_not(site: Site) -> None:
    async with site.http.get("/nodes/n1?part=live", headers={"Accept": "text/html"}, allow_redirects=False) as part:
        assert part.status == 401
    async with site.http.get("/audit?by=a", headers={"Accept": "text/html"}, allow_redirects=False) as page:
        assert (page.status, page.headers["Location"]) == (303, "/login?next=/audit%3Fby%3Da")


async def test_a_bad_token_begins_nothing(site: Site) -> None:
    for body in ({"token": "fmt_00000000_x"}, {"token": ""}):
        async with site.http.post("/login", json=body) as answer:
            assert (answer.status, "Set-Cookie" in answer.headers) == (401, False)


async def test_an_open_stream_ends_soon_after_its_token_is_revoked(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.api.live.BEAT_S", 0.05)
    await site.sign_in(Role.VIEWER)
    async with site.http.get("/api/v1/live") as stream:
        assert (await stream.content.readline()).startswith(b"retry")
        with changing(site.file) as tokens:
            tokens.clear()
        await stream.content.read()
        assert stream.content.at_eof()
