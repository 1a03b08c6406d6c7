"""Sessions of browsers: who signed in, in a signed cookie, so that a controller that starts again still knows them.

The cookie says who and until when, and is worth nothing without the key that signed it. A session by a token is as good
as that token is at the moment: a revoked one ends it. One by a provider says what groups somebody was in there, and has
the roles that the settings give those at the moment.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import structlog
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from controller.access.files import write
from controller.access.roles import Person
from controller.access.tokens import TokenBook
from controller.sections.oidc import OidcSection
from wire.files import OTHERS, stamp_of

log = structlog.get_logger()

KEY_BYTES: Final = 32
"""Source: RFC 7518 3.2: as long as the output of SHA-256."""

ALGORITHM: Final = "HS256"
ATTEMPT_S: Final = 600
"""So long somebody may take to sign in at a provider. Source: our choice."""

MAX_COOKIE: Final = 4096
"""Source: RFC 6265 6.1: browsers keep no more."""


class NoSessionKey(Exception):
    """The key that signs sessions cannot be used, with its file and why."""


def make_key(path: Path) -> None:
    """Make a key, in place of the one before: every session ends.

    Raises:
        OSError: it cannot be written.
    """
    write(path, secrets.token_hex(KEY_BYTES).encode())


@dataclass(slots=True)
class SessionKey:
    """The key in a file, as it is now. One that cannot be used makes no session good, and the log says so."""

    path: Path
    _stamp: tuple[int, ...] = ()
    _key: OctKey | None = None

    def now(self) -> OctKey | None:
        """Return the key, `None` when it cannot be used."""
        stamp = stamp_of(self.path)
        if stamp != self._stamp:
            self._stamp, self._key = stamp, self._read()
        return self._key

    def _read(self) -> OctKey | None:
        try:
            if self.path.stat().st_mode & OTHERS:
                raise ValueError("others than its owner can read it")
            key = bytes.fromhex(self.path.read_text("ascii").strip())
            if len(key) < KEY_BYTES:
                raise ValueError(f"it has to hold {KEY_BYTES} bytes in hexadecimal digits")
        except (OSError, ValueError) as error:
            log.error("session_key.unusable", file=str(self.path), because=str(error))
            return None
        return OctKey.import_key(key)


@dataclass(slots=True)
class Sessions:
    """Makes sessions and knows them again.

    Attributes:
        lasts_s: so long a session is good.
        secure: browsers send the cookie over TLS alone.
        provider: what the settings say of the provider, `None` without one.
    """

    key: SessionKey
    tokens: TokenBook
    clock: Callable[[], float]
    lasts_s: float
    secure: bool
    provider: OidcSection | None = None
    cookie: str = field(init=False)

    def __post_init__(self) -> None:
        self.cookie = "__Host-fleetmend" if self.secure else "fleetmend"

    def begin(self, person: Person) -> tuple[str, int]:
        """Return the cookie's value for somebody who said who they are, and how many seconds it is good.

        Raises:
            NoSessionKey: there is no key to sign it.
        """
        lasts_s = int(self.lasts_s)
        claims: dict[str, Any] = {"use": "session", "sub": person.name, "tid": person.token_id}
        if self.provider is not None and not person.token_id:
            claims["groups"] = sorted(person.groups)
            lasts_s = int(min(lasts_s, self.provider.session_s))
        return self._signed({**claims, "exp": int(self.clock()) + lasts_s}), lasts_s

    def person(self, text: str) -> Person | None:
        """Return who signed in, `None` when this is no session or good no more."""
        claims = self._claims(text, "session")
        try:
            return None if claims is None else self._person(claims)
        except (ValueError, TypeError, KeyError):
            return None

    def begin_attempt(self, brought: Mapping[str, str]) -> str:
        """Return a value for a cookie that has to come back before long, as it is.

        Raises:
            NoSessionKey: there is no key to sign it.
        """
        return self._signed({**brought, "use": "attempt", "exp": int(self.clock()) + ATTEMPT_S})

    def attempt(self, text: str) -> dict[str, str] | None:
        """Return what such a cookie holds, `None` when it is none or too old."""
        claims = self._claims(text, "attempt")
        return None if claims is None else {name: str(value) for name, value in claims.items()}

    def _signed(self, claims: dict[str, Any]) -> str:
        key = self.key.now()
        if key is None:
            raise NoSessionKey(f"{self.key.path} cannot be used; the log says why")
        return jwt.encode({"alg": ALGORITHM}, claims, key)

    def _claims(self, text: str, use: str) -> dict[str, Any] | None:
        """Return what a cookie of this use holds, `None` when it is not ours, of another use, or good no more."""
        key = self.key.now()
        if key is None or len(text) > MAX_COOKIE:
            return None
        try:
            claims = jwt.decode(text, key, algorithms=[ALGORITHM]).claims
            is_good = claims["use"] == use and self.clock() < int(claims["exp"])
        except (JoseError, ValueError, TypeError, KeyError, RecursionError):
            return None
        return claims if is_good else None

    def _person(self, claims: dict[str, Any]) -> Person | None:
        if claims["tid"]:
            token = self.tokens.named(str(claims["tid"]))
            return Person(token.name, frozenset(token.roles), "session", token.id) if token is not None else None
        roles = self.provider.roles_of(claims["groups"]) if self.provider is not None else frozenset()
        return Person(str(claims["sub"]), roles, "session") if roles else None
