"""Requests to a system for tickets, and its refusals in words that say what to set right."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any, TypeVar

from controller.notices.http import HttpClient, HttpRefusal, Reply

T = TypeVar("T")

CREDENTIALS = frozenset({401, 403})
NOT_THERE = frozenset({404, 410})

MAX_TITLE = 200
"""Characters of a title where the system sets no limit. Source: our choice; more is no title."""

MAX_TEXT = 60_000
"""Characters of a text where the system takes more. Source: our choice; nobody reads more in a ticket."""

MOST_BYTES = 64 << 20
"""Of one answer. Source: our choice; a page of 100 tickets with their whole texts has some 10 MB at most."""

MAX_WORDS = 300
"""Characters of what a person wrote who closed a ticket."""


def basic(user: str, password: str) -> dict[str, str]:
    """Return the header of HTTP's basic authentication. Source: RFC 7617."""
    account = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"Authorization": f"Basic {account}"}


@dataclass(frozen=True, slots=True)
class Talk:
    """How one system is asked.

    Attributes:
        account: what its credentials are called in the settings, e.g. `token_file`.
    """

    client: HttpClient
    account: str

    @property
    def receiver(self) -> str:
        """What it is called in messages."""
        return self.client.receiver

    async def ask(
        self,
        method: str,
        path: str,
        *,
        what: str = "",
        json: object = None,
        query: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        """Return the answer.

        Args:
            what: what the path names, for a refusal: `project OPS`.

        Raises:
            Retryable, HttpRefusal, Permanent: as controller.notices.http says.
        """
        try:
            return await self.client.call(method, path, json=json, query=query, headers=headers)
        except HttpRefusal as refusal:
            raise self._worded(refusal, what) from refusal

    async def read(self, path: str, kind: type[T], *, what: str = "", query: dict[str, str] | None = None) -> T:
        """Return what is read at a path."""
        found: T = (await self.ask("GET", path, what=what, query=query)).read(kind)
        return found

    async def read_or_none(
        self, path: str, kind: type[T], *, what: str = "", query: dict[str, str] | None = None
    ) -> T | None:
        """Return what is read at a path, `None` where nothing is, or nothing is any more."""
        try:
            return await self.read(path, kind, what=what, query=query)
        except HttpRefusal as refusal:
            if refusal.status in NOT_THERE:
                return None
            raise

    async def change(self, method: str, path: str, json: object, kind: Any = Any, *, what: str = "") -> Any:
        """Return what a change is answered with."""
        return (await self.ask(method, path, what=what, json=json)).read(kind)

    def _worded(self, refusal: HttpRefusal, what: str) -> HttpRefusal:
        said = str(refusal)
        if refusal.status in CREDENTIALS:
            said = f"the credentials of {self.account} were refused, or lack a right for {what or 'this'}: {said}"
        elif refusal.status in NOT_THERE and what:
            said = f"{self.receiver} has no {what}, or hides it from the account of {self.account}: {said}"
        return HttpRefusal(said, status=refusal.status, body=refusal.body)
