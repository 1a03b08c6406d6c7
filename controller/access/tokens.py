"""Tokens that stand for a person or a program, which `fleetmend access token` makes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from controller.access.roles import Role
from controller.access.token_files import Shelf, TokenKind
from controller.access.token_files import TokenError as TokenError

MAX_NAME: Final = 64
OWN_NAME: Final = "fleetmend"
"""Who acts when no person does: nobody may be called so."""


class Token(msgspec.Struct, frozen=True):
    """What is kept of a token. `expires_at`: Unix seconds, 0 for never; `sha256`: of its secret half."""

    id: str
    name: str
    roles: list[Role]
    sha256: str
    made_at: float
    expires_at: float

    def is_good(self, now: float) -> bool:
        """Return whether it opens anything at this moment."""
        return not self.expires_at or now < self.expires_at


KIND: Final = TokenKind("fmt", Token)


def why_no_name(name: str) -> str:
    """Return why nobody can be called so in the log, empty when somebody can."""
    if not name or name != name.strip() or len(name) > MAX_NAME or not name.isprintable():
        return f"a name has 1 to {MAX_NAME} printable characters"
    return f"{OWN_NAME} is who acts when no person does" if name == OWN_NAME else ""


def new_token(name: str, roles: list[Role], *, now: float, expires_at: float) -> tuple[Token, str]:
    """Return a token as it is kept, and the text that its owner is given once."""
    minted = KIND.mint()
    return Token(minted.id, name, roles, minted.sha256, now, expires_at), minted.text


def read(path: Path) -> list[Token]:
    """Return the tokens of a file, none when it is not there.

    Raises:
        TokenError: it cannot be read, can be read by others, or holds something else.
    """
    return KIND.read(path)


def changing(path: Path) -> AbstractContextManager[list[Token]]:
    """Give the tokens of a file to be changed in place; they are written when the block ends well.

    Raises:
        TokenError: the file or its directory cannot be used.
    """
    return KIND.changing(path)


@dataclass(slots=True)
class TokenBook:
    """The tokens of a file, as it is now. A file that cannot be used opens nothing to anybody, and the log says so."""

    path: Path
    clock: Callable[[], float]
    _shelf: Shelf[Token] = field(init=False)

    def __post_init__(self) -> None:
        self._shelf = Shelf(KIND, self.path)

    def owner_of(self, text: str) -> Token | None:
        """Return the token that this text is, `None` when it is none or good no more."""
        return self._good(self._shelf.shown(text))

    def named(self, token_id: str) -> Token | None:
        """Return the token with this id, `None` when there is none or it is good no more."""
        return self._good(self._shelf.with_id(token_id))

    def _good(self, found: Token | None) -> Token | None:
        return found if found is not None and found.is_good(self.clock()) else None
