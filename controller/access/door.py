"""Finds out who makes a request. Where nobody is asked, everybody may do all, and says themselves who they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from aiohttp import web

from controller.access.roles import Person, everything
from controller.access.tokens import Token, TokenBook
from controller.api import guards
from controller.api.problems import Problem

PERSON = web.RequestKey("person", Person)
"""Who makes a request, once the door let them in."""


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
    """Wants a token."""

    tokens: TokenBook

    def person(self, request: web.Request) -> Person:
        """Return whom the token stands for.

        Raises:
            Problem: 401, there is no good one.
        """
        scheme, _, text = request.headers.get("Authorization", "").partition(" ")
        if not text:
            raise Problem(401, "nobody said who asks", "give a token: Authorization: Bearer, or --token-file")
        found = self.tokens.owner_of(text.strip()) if scheme.lower() == "bearer" else None
        if found is None:
            raise Problem(401, "the token is none of this controller's, has expired or was revoked", _ASK)
        return person_of(found)


_ASK = "an admin makes one: fleetmend access token make"


def person_of(token: Token, how: str = "token") -> Person:
    """Return whom a token stands for."""
    return Person(token.name, frozenset(token.roles), how, token.id)
