"""Signing in at a real OpenID provider, and every way in which what comes back is not good."""

from __future__ import annotations

import base64
import hmac
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet
from playwright.async_api import expect
from pydantic import ValidationError

from controller.access.admitting import Access
from controller.access.door import GuardedDoor
from controller.access.oidc import Attempt, Provider
from controller.access.roles import Role
from controller.api.problems import Problem
from controller.sections.oidc import OidcSection
from controller.web.sign_in import own_address
from tests.support.browser import Browsing, browse, chromium
from tests.support.oidc_provider import CLIENT, SECRET, OidcProvider, running_provider
from tests.support.open_cell import OpenCell, open_cell
from tests.support.tokens import guarded

__all__ = ["browse", "chromium"]

ROLES = {Role.OPERATOR: ["sre", "noc"], Role.APPROVER: ["leads"]}
SESSION_S = 600
ATTEMPT = Attempt("state", "verifier", "nonce-of-this-attempt")


@pytest.fixture(scope="module")
def provider() -> Iterator[OidcProvider]:
    """A provider that knows alice, who is in sre and leads, and bob, who is a guest."""
    with running_provider() as running:
        yield running


@pytest.fixture
async def cell(tmp_path: Path, provider: OidcProvider) -> AsyncIterator[OpenCell]:
    """A cell with n1 where people sign in at the provider."""
    async with open_cell(tmp_path) as opened:
        await opened.add_nodes("n1")
        await opened.hang_up()
        opened.access = access(tmp_path, provider.issuer, opened.url)
        await opened.answer()
        yield opened


def access(
    directory: Path, issuer: str, page: str, secret: str = SECRET, *, roles: dict[Role, list[str]] = ROLES
) -> Access:
    """Return an access with a provider."""
    found = guarded(directory / "access-tokens.json", time.time)
    assert isinstance(found.door, GuardedDoor)
    section = OidcSection(issuer=issuer, client_id=CLIENT, roles=roles, session_s=SESSION_S, label="Example")
    client = Provider(section, f"{page}/login/back", secret, ssl.create_default_context())
    sessions = replace(found.door.sessions, provider=section)
    return replace(found, door=replace(found.door, provider=client, sessions=sessions))


@pytest.fixture
async def http(cell: OpenCell) -> AsyncIterator[aiohttp.ClientSession]:
    """A browser's worth of cookies."""
    async with aiohttp.ClientSession(cell.url, cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        yield session


async def at_the_provider(http: aiohttp.ClientSession, who: str, *, action: str = "") -> str:
    """Go to the provider and say who one is there; return the address to which it sends back."""
    async with http.get("/login/oidc?next=/nodes/n1", allow_redirects=False) as sent:
        assert sent.status == 303, await sent.text()
    async with http.post(
        sent.headers["Location"], data={"sub": who} | ({"action": action} if action else {}), allow_redirects=False
    ) as back:
        return back.headers["Location"]


async def status(http: aiohttp.ClientSession, address: str) -> tuple[int, str]:
    """Return the status of an address, and where it sends one."""
    async with http.get(address, allow_redirects=False) as answer:
        return answer.status, answer.headers.get("Location", "")


async def test_a_person_signs_in_at_the_provider_with_a_browser(cell: OpenCell, browse: Browsing) -> None:
    opened = await browse(f"{cell.url}/nodes/n1?")
    page = opened.page
    await page.click("text=Sign in with Example")
    await page.wait_for_url("**/oauth2/authorize?**")
    await page.click("button:has-text('alice')")
    await page.wait_for_url(f"{cell.url}/nodes/n1")
    await expect(page.locator("#account")).to_have_text("alice")
    assert await opened.evaluate("document.cookie") == ""
    me = await opened.evaluate("fetch('/api/v1/me').then((answer) => answer.json())")
    assert me == {
        "name": "alice",
        "roles": ["operator", "approver"],
        "how": "session",
        "may": ["viewer", "operator", "approver"],
    }


async def test_who_signs_in_is_sent_where_they_wanted_to_go(http: aiohttp.ClientSession) -> None:
    assert await status(http, await at_the_provider(http, "alice")) == (303, "/nodes/n1")
    assert (await status(http, "/api/v1/me"))[0] == 200


async def test_who_has_no_role_does_not_come_in(http: aiohttp.ClientSession) -> None:
    assert (await status(http, await at_the_provider(http, "bob")))[0] == 403
    assert (await status(http, "/api/v1/me"))[0] == 401


async def test_whom_the_provider_refuses_does_not_come_in(cell: OpenCell, http: aiohttp.ClientSession) -> None:
    await at_the_provider(http, "alice", action="deny")
    state = "x"
    assert (await status(http, f"{cell.url}/login/back?error=access_denied&state={state}"))[0] == 403


async def test_a_code_is_good_once_and_in_the_browser_that_asked_for_it(
    cell: OpenCell, http: aiohttp.ClientSession
) -> None:
    """An attacker who has a victim follow his own way back would sign the victim in as himself."""
    back = await at_the_provider(http, "alice")
    async with aiohttp.ClientSession(cell.url, cookie_jar=aiohttp.CookieJar(unsafe=True)) as another:
        assert (await status(another, back))[0] == 403
        await at_the_provider(another, "alice")
        assert (await status(another, back))[0] == 403
    assert (await status(http, back))[0] == 303
    assert (await status(http, back))[0] == 403


async def test_a_code_of_another_attempt_is_not_taken(http: aiohttp.ClientSession) -> None:
    """Its ID token has the nonce of the other one, even where the provider would take the verifier."""
    first = parse_qs(urlsplit(await at_the_provider(http, "alice")).query)
    second = parse_qs(urlsplit(await at_the_provider(http, "alice")).query)
    mixed = f"/login/back?code={first['code'][0]}&state={second['state'][0]}"
    assert (await status(http, mixed))[0] == 403


async def test_a_wrong_secret_of_the_client_lets_nobody_in(
    cell: OpenCell, http: aiohttp.ClientSession, provider: OidcProvider, tmp_path: Path
) -> None:
    await cell.hang_up()
    cell.access = access(tmp_path, provider.issuer, cell.url, secret="wrong")
    await cell.answer()
    assert (await status(http, await at_the_provider(http, "alice")))[0] == 403


async def test_a_provider_that_tells_what_it_was_sent_is_not_passed_on(
    cell: OpenCell, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sent: list[str] = []

    async def document(request: web.Request) -> web.Response:
        base = f"http://{request.host}"
        endpoints = {"authorization_endpoint": f"{base}/a", "token_endpoint": f"{base}/t", "jwks_uri": f"{base}/k"}
        return web.json_response({"issuer": base, **endpoints})

    async def echo(request: web.Request) -> web.Response:
        sent.append(f"{request.headers} {await request.text()}")
        return web.json_response({"error": sent[-1]}, status=500, reason=request.headers["Authorization"])

    app = web.Application()
    app.router.add_get("/.well-known/openid-configuration", document)
    app.router.add_post("/t", echo)
    async with TestServer(app) as server:
        await cell.hang_up()
        cell.access = access(tmp_path, f"http://127.0.0.1:{server.port}", cell.url)
        await cell.answer()
        async with aiohttp.ClientSession(cell.url, cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
            async with http.get("/login/oidc", allow_redirects=False) as begun:
                state = parse_qs(urlsplit(begun.headers["Location"]).query)["state"][0]
            async with http.get(f"/login/back?code=x&state={state}") as answer:
                assert answer.status == 502
                told = f"{await answer.text()}{answer.headers}{begun.headers}"
    spelled = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
    assert spelled in sent[0]
    captured = capsys.readouterr()
    assert not [each for each in (SECRET, spelled) if each in told + captured.out + captured.err]


async def test_a_provider_that_does_not_answer_is_told(cell: OpenCell, tmp_path: Path) -> None:
    await cell.hang_up()
    cell.access = access(tmp_path, "http://127.0.0.1:9", cell.url)
    await cell.answer()
    async with aiohttp.ClientSession(cell.url) as http, http.get("/login/oidc") as answer:
        assert (answer.status, "127.0.0.1:9" in await answer.text()) == (502, True)


KEY, OTHER = ECKey.generate_key("P-256", {"kid": "1"}), ECKey.generate_key("P-256", {"kid": "1"})
KEYS: Any = KeySet([KEY]).as_dict(private=False)


def client() -> Provider:
    """Return a client of a provider that nobody asks."""
    section = OidcSection(issuer="https://login.example", client_id=CLIENT, roles=ROLES)
    return Provider(section, "https://fleet.example/login/back", "", ssl.create_default_context())


def claims(**others: Any) -> dict[str, Any]:
    """Return good claims, but for these."""
    now = int(time.time())
    good = {"iss": "https://login.example", "aud": CLIENT, "sub": "7", "iat": now, "exp": now + 60}
    found = {**good, "nonce": ATTEMPT.nonce, **others}
    return {name: value for name, value in found.items() if value is not None}


def signed(key: Any = KEY, alg: str = "ES256", **others: Any) -> str:
    """Return an ID token with good claims, but for these."""
    return jwt.encode({"alg": alg, "kid": "1"}, claims(**others), key, algorithms=[alg])


def test_a_good_id_token_is_taken() -> None:
    assert client()._checked(signed(), KEYS, ATTEMPT)["sub"] == "7"
    assert client()._checked(signed(aud=["x", CLIENT], azp=CLIENT), KEYS, ATTEMPT)["sub"] == "7"


def part(content: dict[str, Any]) -> str:
    """Return a part of a token."""
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


def signed_with_public_key() -> str:
    """Return a token whose secret is the provider's public key. joserfc makes none, so it is made by hand."""
    begun = f"{part({'alg': 'HS256', 'kid': '1'})}.{part(claims())}"
    digest = hmac.digest(KEY.as_pem(private=False), begun.encode(), "sha256")
    return f"{begun}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


BAD: dict[str, Callable[[], str]] = {
    "another issuer": lambda: signed(iss="https://evil.example"),
    "no issuer": lambda: signed(iss=None),
    "another audience": lambda: signed(aud="another"),
    "made for another client": lambda: signed(aud=[CLIENT, "another"], azp="another"),
    "another attempt": lambda: signed(nonce="of another one"),
    "no nonce": lambda: signed(nonce=None),
    "too old": lambda: signed(exp=int(time.time()) - 60),
    "for ever": lambda: signed(exp=None),
    "not yet": lambda: signed(nbf=int(time.time()) + 600),
    "nobody": lambda: signed(sub=None),
    "another key": lambda: signed(OTHER),
    "signed with what everybody knows": lambda: signed_with_public_key(),
    "signed with nothing": lambda: f"{part({'alg': 'none'})}.{part(claims())}.",
    "nonsense": lambda: "a.b.c",
    "nothing": lambda: "",
}


@pytest.mark.parametrize("what", BAD)
def test_an_id_token_that_is_not_good_lets_nobody_in(what: str) -> None:
    with pytest.raises(Problem) as refused:
        client()._checked(BAD[what](), KEYS, ATTEMPT)
    assert refused.value.status == 403


@pytest.mark.parametrize("keys", [{}, {"keys": []}, {"keys": "x"}, {"keys": [{"kty": "EC"}]}])
def test_keys_that_are_none_let_nobody_in(keys: Any) -> None:
    with pytest.raises(Problem) as refused:
        client()._checked(signed(), keys, ATTEMPT)
    assert refused.value.status == 403


@pytest.mark.parametrize(
    ("said", "roles"),
    [
        ({"groups": ["sre"]}, {Role.OPERATOR}),
        ({"groups": "leads"}, {Role.APPROVER}),
        ({"groups": ["noc", "leads", 7, None]}, {Role.OPERATOR, Role.APPROVER}),
    ],
)
def test_groups_give_roles(said: dict[str, Any], roles: set[Role]) -> None:
    found = client().person_of({"preferred_username": "alice", **said})
    assert (found.name, set(found.roles)) == ("alice", roles)


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"preferred_username": "alice"},
        {"preferred_username": "alice", "groups": []},
        {"preferred_username": "alice", "groups": {"sre": True}.get("x")},
        {"preferred_username": "fleetmend", "groups": ["sre"]},
        {"preferred_username": "a\x1b[2J", "groups": ["sre"]},
        {"preferred_username": "x" * 65, "groups": ["sre"]},
        {"preferred_username": ["alice"], "groups": ["sre"]},
    ],
)
def test_who_has_no_name_or_no_role_does_not_come_in(said: dict[str, Any]) -> None:
    with pytest.raises(Problem) as refused:
        client().person_of(said)
    assert refused.value.status == 403


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("/nodes/n1?x=1", "/nodes/n1?x=1"),
        ("", "/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example", "/"),
        ("/a\r\nSet-Cookie: x=y", "/"),
        ("/" + "x" * 2_000, "/"),
    ],
)
def test_nobody_is_sent_to_another_site(text: str, address: str) -> None:
    assert address == own_address(text)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"issuer": "http://login.example"}, "without TLS"),
        ({"scopes": ["profile"]}, "openid"),
        ({"roles": {}}, "nobody could do anything"),
        ({"roles": {"root": ["sre"]}}, "viewer"),
    ],
)
def test_settings_that_would_let_anybody_or_nobody_in(more: dict[str, Any], said: str) -> None:
    good = {"issuer": "https://login.example", "client_id": "x", "roles": {"viewer": ["all"]}}
    with pytest.raises(ValidationError, match=said):
        OidcSection.model_validate({**good, **more})


async def test_who_is_taken_off_the_roles_in_the_settings_loses_them_at_once(
    cell: OpenCell, http: aiohttp.ClientSession, tmp_path: Path, provider: OidcProvider
) -> None:
    """A reload has the controller let people in by other settings; whoever signed in before is held to them too."""
    await status(http, await at_the_provider(http, "alice"))

    async def roles() -> list[str]:
        async with http.get("/api/v1/me") as answer:
            return list((await answer.json())["roles"]) if answer.status == 200 else [f"{answer.status}"]

    assert cell.access is not None
    assert await roles() == ["operator", "approver"]
    for given, had in (
        ({Role.OPERATOR: ["noc"], Role.APPROVER: ["leads"]}, ["approver"]),
        ({Role.ADMIN: ["leads"]}, ["admin"]),
        ({Role.OPERATOR: ["noc"]}, ["401"]),
        (ROLES, ["operator", "approver"]),
    ):
        cell.access.follow(access(tmp_path, provider.issuer, cell.url, roles=given))
        assert await roles() == had


async def test_who_left_a_group_at_the_provider_keeps_its_role_no_longer_than_a_session_there(
    cell: OpenCell, http: aiohttp.ClientSession
) -> None:
    back = await at_the_provider(http, "alice")
    async with http.get(back, allow_redirects=False) as answer:
        assert int(answer.cookies["fleetmend"]["max-age"]) == SESSION_S
    assert cell.access is not None and isinstance(cell.access.door, GuardedDoor)
    now = time.time()
    cell.access.follow(replace(cell.access, door=at(cell.access.door, now + SESSION_S - 60)))
    assert (await status(http, "/api/v1/me"))[0] == 200
    cell.access.follow(replace(cell.access, door=at(cell.access.door, now + SESSION_S + 1)))
    assert (await status(http, "/api/v1/me"))[0] == 401


def at(door: GuardedDoor, now: float) -> GuardedDoor:
    """Return the door at another time."""
    return replace(door, sessions=replace(door.sessions, clock=lambda: now))
