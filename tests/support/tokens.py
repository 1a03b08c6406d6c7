"""Tokens for tests, and a door that wants them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from controller.access.admitting import Access
from controller.access.door import GuardedDoor
from controller.access.limits import Limits
from controller.access.roles import Role
from controller.access.sessions import SessionKey, Sessions, make_key
from controller.access.tokens import TokenBook, changing, new_token

NOW = 1_790_000_000.0
HOUR_S = 3_600.0
DAY_S = 86_400.0


def make_token(file: Path, name: str, *roles: Role, expires_at: float = 0.0) -> str:
    """Add a token to the file; return the text that its owner is given."""
    kept, text = new_token(name, list(roles), now=NOW, expires_at=expires_at)
    with changing(file) as tokens:
        tokens.append(kept)
    return text


def guarded(
    file: Path, clock: Callable[[], float] = lambda: NOW, *, limits: Limits | None = None, alone: bool = True
) -> Access:
    """Return an access that goes by the tokens of a file, with sessions of an hour."""
    tokens, key = TokenBook(file, clock), file.with_name("session-key")
    if not key.exists():
        make_key(key)
    door = GuardedDoor(tokens, Sessions(SessionKey(key), tokens, clock, HOUR_S, secure=False))
    return Access(door, limits=limits, alone=alone)


def bearer(text: str) -> dict[str, str]:
    """Return the headers that show a token."""
    return {"Authorization": f"Bearer {text}"}
