"""Finds out who makes a request. Where nobody is asked, everybody may do all, and says themselves who they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web

from controller.access.oidc import Provider
from controller.access.roles import Person, everything
from controller.access.sessions import Sessions
from controller.access.tokens import TokenBook
from controller.api import guards
from controller.api.problems import Problem

PERSON = web.RequestKey("person", Person)
"""Who makes a request, once the door let them in."""

STILL: web.RequestKey[Callable[[], bool]] = web.RequestKey("still")
"""Asks whether they may have it still, for what is answered for hours."""


class Door(Protocol):
    """Lets people in."""

    def person(self, request: web.Request) -> Person:
        """Return who asks.

        Raises:
            Problem: 401, they do not say who they are, or it is not so; 400, it is no name.
        """
        ...


class OpenDoor:
    """For a controller that only this machine reaches."""

    def person(self, request: web.Request) -> Person:
        """Return who asks, as they say themselves; who only looks is not asked."""
        looks = request.method in guards.READING
        return everything(guards.DEFAULT_USER if looks else guards.user_of(request))


@dataclass(frozen=True, slots=True)
class GuardedDoor:
    """Wants a token, or the session of a browser that has shown one or signed in at a provider."""

    tokens: TokenBook
    sessions: Sessions
    provider: Provider | None = None

    def person(self, request: web.Request) -> Person:
        """Return whom the token or the session stands for.

        Raises:
            Problem: 401, there is no good one; 403, nothing shows that the page of this controller acts.
        """
        if "Authorization" in request.headers:
            return self._by_token(request.headers["Authorization"])
        cookie = request.cookies.get(self.sessions.cookie, "")
        found = self.sessions.person(cookie) if cookie else None
        if found is None:
            raise Problem(401, "nobody said who asks", "sign in, or give a token: --token-file, Authorization: Bearer")
        if request.method not in guards.READING:
            _check_own_page(request)
        return found

    def _by_token(self, said: str) -> Person:
        scheme, _, text = said.partition(" ")
        found = self.with_token(text.strip()) if scheme.lower() == "bearer" else None
        if found is None:
            raise bad_token()
        return found

    def with_token(self, text: str) -> Person | None:
        """Return whom a token stands for, `None` when it is none."""
        found = self.tokens.owner_of(text)
        return Person(found.name, frozenset(found.roles), "token", found.id) if found is not None else None


def bad_token() -> Problem:
    """Return the problem with a token that opens nothing; it is not told which of the reasons it is."""
    because = "the token is none of this controller's, has expired or was revoked"
    return Problem(401, because, "an admin makes one: fleetmend access token make")


def _check_own_page(request: web.Request) -> None:
    """A browser sends the cookie with what other pages have it do, too, and says with every act whose page it was.

    `guards.check_origin` has refused what a browser says of other pages; what says nothing is refused here.
    """
    if "Origin" not in request.headers and "Sec-Fetch-Site" not in request.headers:
        raise Problem(
            403, "nothing says that the page of this controller acts", "programs give a token", field="Origin"
        )
