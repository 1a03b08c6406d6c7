"""Where a person says who they are, once a browser: a token is shown, and a session comes back as a cookie."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

import msgspec
from aiohttp import web

from controller.access.door import GuardedDoor, bad_token
from controller.access.roles import Person
from controller.access.sessions import NoSessionKey
from controller.api.problems import Problem
from controller.api.serving import body_of, json_response
from controller.api.shapes import Me
from controller.web.pages import Pages


class Shown(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a person shows."""

    token: Annotated[str, msgspec.Meta(max_length=200)]


class SignIn:
    """Serves the page, begins sessions and ends them."""

    def __init__(self, door: GuardedDoor, pages: Pages) -> None:
        self._door, self._pages = door, pages

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve it."""
        router.add_get("/login", self._page)
        router.add_post("/login", self._begin)
        router.add_post("/logout", self._end)

    async def _page(self, _request: web.Request) -> web.Response:
        return self._pages.sign_in()

    async def _begin(self, request: web.Request) -> web.Response:
        shown = await body_of(request, Shown)
        found = self._door.with_token(shown.token)
        if found is None:
            raise bad_token()
        response = json_response(Me(found.name, sorted(found.roles), "session"))
        begin_session(self._door, found, response)
        return response

    async def _end(self, _request: web.Request) -> web.Response:
        response = json_response({})
        sessions = self._door.sessions
        response.del_cookie(sessions.cookie, path="/", secure=sessions.secure, httponly=True, samesite="Lax")
        return response


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
