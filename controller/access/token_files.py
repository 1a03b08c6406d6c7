"""Files of tokens: long random texts, of which digests alone are kept.

Each file is written whole by one command and read anew when it changed, so that what it holds is good, and what was
revoked is not, with the next request.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Generic, Protocol, TypeVar

import msgspec
import structlog

from controller.access.files import write
from wire.files import OTHERS, stamp_of

log = structlog.get_logger()

MAX_FILE_BYTES: Final = 4 << 20
VERSION: Final = 1

SECRET_BYTES: Final = 32
"""Of randomness in a token. Source: our choice; nobody guesses 256 bits, so that one SHA-256 keeps it well."""


class TokenError(Exception):
    """The tokens cannot be used or changed, with the file and why."""


class KeptToken(Protocol):
    """What is kept of any token: its id, and the SHA-256 of its secret half."""

    @property
    def id(self) -> str:
        """Which one it is, for people; no secret."""
        ...

    @property
    def sha256(self) -> str:
        """Of its secret half, in hexadecimal digits."""
        ...


Kept = TypeVar("Kept", bound=KeptToken)


@dataclass(frozen=True, slots=True)
class Minted:
    """A new token: what is kept of it, and the text that its owner is given once."""

    id: str
    sha256: str
    text: str = field(repr=False)


class TokenKind(Generic[Kept]):
    """One kind of token: how its texts begin, and what its file holds."""

    def __init__(self, prefix: str, kept: type[Kept]) -> None:
        """Args: prefix: letters that no other kind begins with. kept: what one token's row is."""
        self._prefix = prefix
        self._text = re.compile(rf"{prefix}_(?P<id>[0-9a-f]{{8}})_(?P<secret>[A-Za-z0-9_-]{{43}})", re.ASCII)
        shape = msgspec.defstruct("File", [("version", int), ("tokens", list[kept])])  # type: ignore[valid-type]
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(shape)

    def mint(self) -> Minted:
        """Return a new token."""
        token_id, secret = secrets.token_hex(4), secrets.token_urlsafe(SECRET_BYTES)
        return Minted(token_id, _digest(secret), f"{self._prefix}_{token_id}_{secret}")

    def halves(self, text: str) -> tuple[str, str]:
        """Return the id and the digest of the secret half of a text, both empty when it is no token of this kind."""
        parts = self._text.fullmatch(text)
        return (parts["id"], _digest(parts["secret"])) if parts else ("", "")

    def read(self, path: Path) -> list[Kept]:
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
            found = self._decoder.decode(content)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise TokenError(f"{path} holds no tokens: {error}") from error
        if found.version != VERSION:
            raise TokenError(f"{path} was written by another version of fleetmend ({found.version})")
        tokens: list[Kept] = found.tokens
        return tokens

    @contextmanager
    def changing(self, path: Path) -> Iterator[list[Kept]]:
        """Give the tokens of a file to be changed in place; they are written when the block ends well.

        Whoever runs as root leaves the file to the owner of its directory, who has to read it.

        Raises:
            TokenError: the file or its directory cannot be used.
        """
        try:
            with _locked(path):
                tokens = self.read(path)
                yield tokens
                write(path, msgspec.json.format(msgspec.json.encode({"version": VERSION, "tokens": tokens})))
        except OSError as error:
            raise TokenError(f"{path} cannot be written: {error.strerror}") from error


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@dataclass(slots=True)
class Shelf(Generic[Kept]):
    """The tokens of a file, as it is now. A file that cannot be used opens nothing to anybody, and the log says so."""

    kind: TokenKind[Kept]
    path: Path
    _stamp: tuple[int, ...] = ()
    _tokens: dict[str, Kept] = field(default_factory=dict)

    def shown(self, text: str) -> Kept | None:
        """Return the token that this text is, good still or not; `None` when it is none."""
        token_id, digest = self.kind.halves(text)
        found = self.with_id(token_id)
        return found if found is not None and hmac.compare_digest(digest, found.sha256) else None

    def with_id(self, token_id: str) -> Kept | None:
        """Return the token with this id, `None` when there is none."""
        self._look()
        return self._tokens.get(token_id)

    def _look(self) -> None:
        stamp = stamp_of(self.path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._tokens = {token.id: token for token in self.kind.read(self.path)}
        except TokenError as error:
            self._tokens = {}
            log.error("tokens.unusable", because=str(error))
        else:
            log.info("tokens.read", file=self.path.name, count=len(self._tokens))
