"""Where a person says who they are, once a browser: a token is shown, and a session comes back as a cookie."""

from __future__ import annotations

from dataclasses import asdict, replace
from hmac import compare_digest
from typing import Annotated
from urllib.parse import quote

import msgspec
from aiohttp import web

from controller.access.admitting import Access
from controller.access.door import GuardedDoor, bad_token
from controller.access.oidc import Attempt, Provider, new_attempt
from controller.access.roles import Person
from controller.access.sessions import ATTEMPT_S, NoSessionKey
from controller.api.problems import Problem
from controller.api.reading import told_of
from controller.api.serving import body_of, json_response
from controller.web.pages import Pages

MAX_ADDRESS = 1_000


class Shown(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a person shows."""

    token: Annotated[str, msgspec.Meta(max_length=200)]


class SignIn:
    """Serves the page, begins sessions and ends them."""

    def __init__(self, access: Access, pages: Pages) -> None:
        self._access, self._pages = access, pages

    @property
    def _door(self) -> GuardedDoor:
        return guarded_door(self._access)

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve it."""
        router.add_get("/login", self._page)
        router.add_post("/login", self._begin)
        router.add_post("/logout", self._end)

        if self._door.provider is not None:
            Elsewhere(self._access).add_to(router)

    async def _page(self, _request: web.Request) -> web.Response:
        provider = self._door.provider
        return self._pages.sign_in(provider.section.label if provider is not None else "")

    async def _begin(self, request: web.Request) -> web.Response:
        shown = await body_of(request, Shown)
        found = self._door.with_token(shown.token)
        if found is None:
            raise bad_token()
        response = json_response(told_of(replace(found, how="session")))
        begin_session(self._door, found, response)
        return response

    async def _end(self, _request: web.Request) -> web.Response:
        response = json_response({})
        sessions = self._door.sessions
        response.del_cookie(sessions.cookie, path="/", secure=sessions.secure, httponly=True, samesite="Lax")
        return response


class Elsewhere:
    """Sends browsers to the provider, and takes them in when they come back."""

    def __init__(self, access: Access) -> None:
        self._access = access

    @property
    def _door(self) -> GuardedDoor:
        return guarded_door(self._access)

    @property
    def _provider(self) -> Provider:
        provider = self._door.provider
        assert provider is not None, "it is taken away by a restart alone"
        return provider

    @property
    def _cookie(self) -> str:
        return f"{self._door.sessions.cookie}-attempt"

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve both."""
        router.add_get("/login/oidc", self._go)
        router.add_get("/login/back", self._back)

    async def _go(self, request: web.Request) -> web.Response:
        attempt, sessions = new_attempt(), self._door.sessions
        response = web.Response(status=303, headers={"Location": await self._provider.address_for(attempt)})
        brought = {**asdict(attempt), "next": own_address(request.query.get("next", ""))}
        try:
            value = sessions.begin_attempt(brought)
        except NoSessionKey as error:
            raise Problem(503, "nobody can sign in now", str(error)) from error
        response.set_cookie(
            self._cookie, value, max_age=ATTEMPT_S, path="/", secure=sessions.secure, httponly=True, samesite="Lax"
        )
        return response

    async def _back(self, request: web.Request) -> web.Response:
        brought = self._door.sessions.attempt(request.cookies.get(self._cookie, ""))
        if brought is None or not compare_digest(brought["state"].encode(), request.query.get("state", "").encode()):
            raise Problem(403, "this sign-in was not begun in this browser, or too long ago", "sign in again")
        if not request.query.get("code"):
            raise Problem(403, f"the provider says no: {request.query.get('error', '')[:80]!r}", "sign in again")
        attempt = Attempt(brought["state"], brought["verifier"], brought["nonce"])
        person = await self._provider.person(request.query["code"], attempt)
        response = web.Response(status=303, headers={"Location": brought["next"]})
        response.del_cookie(self._cookie, path="/", secure=self._door.sessions.secure, httponly=True, samesite="Lax")
        begin_session(self._door, person, response)
        return response


def guarded_door(access: Access) -> GuardedDoor:
    """Return the door as it is now: it is another one after a reload."""
    assert isinstance(access.door, GuardedDoor), "it is taken away by a restart alone"
    return access.door


def own_address(text: str) -> str:
    """Return an address of a page of ours, `/` when the text is none: nobody is sent to another site from here."""
    is_ours = text.startswith("/") and text[1:2] not in {"/", "\\"} and text.isascii() and text.isprintable()
    return text if is_ours and len(text) <= MAX_ADDRESS else "/"


def begin_session(door: GuardedDoor, person: Person, response: web.StreamResponse) -> None:
    """Have the browser keep who signed in.

    Raises:
        Problem: 503, there is nothing to sign that with.
    """
    sessions = door.sessions
    try:
        value, lasts_s = sessions.begin(person)
    except NoSessionKey as error:
        raise Problem(503, "nobody can sign in now", str(error)) from error
    response.set_cookie(
        sessions.cookie, value, max_age=lasts_s, path="/", secure=sessions.secure, httponly=True, samesite="Lax"
    )


def is_whole(request: web.Request) -> bool:
    """Return whether a browser asks for a whole page, and no script for a part of one."""
    return request.method == "GET" and "part" not in request.query


def sign_in_first(request: web.Request) -> web.Response:
    """Return where to say who one is; from there one comes back."""
    return web.Response(status=303, headers={"Location": f"/login?next={quote(request.path_qs, safe='/')}"})
