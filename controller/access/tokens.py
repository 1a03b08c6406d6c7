"""Tokens: long random texts that stand for a person or a program, of which the controller keeps digests alone.

They live in one file that `fleetmend access token` writes and the controller reads anew when it changed, so that a
token is good, and a revoked one is not, with the next request.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
import structlog

from controller.access.files import write
from controller.access.roles import Role
from wire.files import OTHERS, stamp_of

log = structlog.get_logger()

MAX_FILE_BYTES: Final = 4 << 20
MAX_NAME: Final = 64

SECRET_BYTES: Final = 32
"""Of randomness in a token. Source: our choice; nobody guesses 256 bits, so that one SHA-256 keeps it well."""

_TOKEN = re.compile(r"fmt_(?P<id>[0-9a-f]{8})_(?P<secret>[A-Za-z0-9_-]{43})", re.ASCII)
OWN_NAME: Final = "fleetmend"
"""Who acts when no person does: nobody may be called so."""


class TokenError(Exception):
    """The tokens cannot be used or changed, with the file and why."""


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


class _File(msgspec.Struct, frozen=True):
    version: int
    tokens: list[Token]


VERSION: Final = 1
_decoder = msgspec.json.Decoder(_File)


def why_no_name(name: str) -> str:
    """Return why nobody can be called so in the log, empty when somebody can."""
    if not name or name != name.strip() or len(name) > MAX_NAME or not name.isprintable():
        return f"a name has 1 to {MAX_NAME} printable characters"
    return f"{OWN_NAME} is who acts when no person does" if name == OWN_NAME else ""


def new_token(name: str, roles: list[Role], *, now: float, expires_at: float) -> tuple[Token, str]:
    """Return a token as it is kept, and the text that its owner is given once."""
    token_id, secret = secrets.token_hex(4), secrets.token_urlsafe(SECRET_BYTES)
    return Token(token_id, name, roles, _digest(secret), now, expires_at), f"fmt_{token_id}_{secret}"


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def read(path: Path) -> list[Token]:
    """Return the tokens of a file, none when it is not there.

    Raises:
        TokenError: it cannot be read, can be read by others, or holds something else.
    """
    try:
        with path.open("rb") as file:
            mode, content = os.fstat(file.fileno()).st_mode, file.read(MAX_FILE_BYTES)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise TokenError(f"{path} cannot be read: {error.strerror}") from error
    if mode & OTHERS:
        raise TokenError(f"{path} can be read by others than its owner: chmod 600 {path}")
    try:
        found = _decoder.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TokenError(f"{path} holds no tokens: {error}") from error
    if found.version != VERSION:
        raise TokenError(f"{path} was written by another version of fleetmend ({found.version})")
    return found.tokens


@contextmanager
def changing(path: Path) -> Iterator[list[Token]]:
    """Give the tokens of a file to be changed in place; they are written when the block ends well.

    Whoever runs as root leaves the file to the owner of its directory, who has to read it.

    Raises:
        TokenError: the file or its directory cannot be used.
    """
    try:
        with _locked(path):
            tokens = read(path)
            yield tokens
            write(path, msgspec.json.format(msgspec.json.encode(_File(VERSION, tokens))))
    except OSError as error:
        raise TokenError(f"{path} cannot be written: {error.strerror}") from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@dataclass(slots=True)
class TokenBook:
    """The tokens of a file, as it is now. A file that cannot be used opens nothing to anybody, and the log says so."""

    path: Path
    clock: Callable[[], float]
    _stamp: tuple[int, ...] = ()
    _tokens: dict[str, Token] = field(default_factory=dict)

    def owner_of(self, text: str) -> Token | None:
        """Return the token that this text is, `None` when it is none or good no more."""
        parts = _TOKEN.fullmatch(text)
        found = self.named(parts["id"]) if parts else None
        if parts is None or found is None:
            return None
        return found if hmac.compare_digest(_digest(parts["secret"]), found.sha256) else None

    def named(self, token_id: str) -> Token | None:
        """Return the token with this id, `None` when there is none or it is good no more."""
        self._look()
        found = self._tokens.get(token_id)
        return found if found is not None and found.is_good(self.clock()) else None

    def _look(self) -> None:
        stamp = stamp_of(self.path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._tokens = {token.id: token for token in read(self.path)}
        except TokenError as error:
            self._tokens = {}
            log.error("tokens.unusable", because=str(error))
        else:
            log.info("tokens.read", count=len(self._tokens))
