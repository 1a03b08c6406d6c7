"""Signing in at an OpenID provider: authorization code with PKCE, and an ID token that was made for this sign-in.

Nothing is kept here meanwhile: what has to come back is in a signed cookie of the browser, so that any controller that
shares the key may end what another one began. Source: OpenID Connect Core 1.0, 3.1; RFC 7636; RFC 9700.
"""

from __future__ import annotations

import base64
import secrets
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote_plus

import aiohttp
import msgspec
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri, prepare_token_request
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from controller.access.roles import Person
from controller.access.tokens import why_no_name
from controller.api.problems import Problem
from controller.sections.oidc import OidcSection

LIMIT_S: Final = 10.0
MAX_ANSWER_BYTES: Final = 1 << 20
LEEWAY_S: Final = 30

ALGORITHMS: Final = ("RS256", "PS256", "ES256", "ES384", "RS512", "PS512", "EdDSA", "Ed25519")
"""Of ID tokens. Source: our choice: those where the provider alone can sign, none with a secret that both have."""

METADATA: Final = "/.well-known/openid-configuration"
"""Source: OpenID Connect Discovery 1.0, 4."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What one browser's way to the provider and back has to bring along."""

    state: str
    verifier: str
    nonce: str


def new_attempt() -> Attempt:
    """Return what nobody else can know."""
    return Attempt(secrets.token_urlsafe(32), secrets.token_urlsafe(48), secrets.token_urlsafe(32))


class ProviderError(Exception):
    """The provider does not answer as one, with why."""


@dataclass(frozen=True, slots=True)
class Provider:
    """One OpenID provider, to which this controller is a client.

    Attributes:
        back: the address of ours to which it sends browsers.
        secret: of the client, empty for a public one.
        tls: how it proves who it is.
    """

    section: OidcSection
    back: str
    secret: str
    tls: ssl.SSLContext

    async def address_for(self, attempt: Attempt) -> str:
        """Return where the browser goes to sign in.

        Raises:
            Problem: 502, the provider does not answer as one.
        """
        async with self._asking() as http:
            metadata = await self._metadata(http)
        address: str = prepare_grant_uri(
            _text(metadata, "authorization_endpoint"),
            self.section.client_id,
            "code",
            redirect_uri=self.back,
            scope=" ".join(self.section.scopes),
            state=attempt.state,
            nonce=attempt.nonce,
            code_challenge=create_s256_code_challenge(attempt.verifier),
            code_challenge_method="S256",
        )
        return address

    async def person(self, code: str, attempt: Attempt) -> Person:
        """Return who signed in.

        Raises:
            Problem: 403, they may not or what they brought is not good; 502, the provider does not answer as one.
        """
        async with self._asking() as http:
            metadata = await self._metadata(http)
            answer = await self._exchange(http, metadata, code, attempt)
            keys = await _get(http, _text(metadata, "jwks_uri"))
            claims = self._checked(_text(answer, "id_token"), keys, attempt)
            if not {self.section.name_claim, self.section.roles_claim} <= claims.keys():
                claims = {**await self._more(http, metadata, answer, str(claims["sub"])), **claims}
        return self.person_of(claims)

    def person_of(self, claims: Mapping[str, Any]) -> Person:
        """Return whom these claims are about.

        Raises:
            Problem: 403, they have no name that can be written down, or no role.
        """
        name, had = claims.get(self.section.name_claim), claims.get(self.section.roles_claim)
        if not isinstance(name, str) or why_no_name(name):
            raise Problem(403, f"the provider gives no usable {self.section.name_claim}", "access.oidc.name_claim")
        if self.section.name_claim == "email" and claims.get("email_verified") is False:
            raise Problem(403, f"the provider has not verified the address {name}", "verify it there")
        given = had if isinstance(had, list) else [had]
        values = {each for each in given if isinstance(each, str)}
        roles = self.section.roles_of(values)
        if not roles:
            raise Problem(403, f"{name} has no role here", "an admin says in access.oidc.roles who has which")
        return Person(name, roles, "session", groups=self.section.named_in(values))

    def _checked(self, token: str, keys: Any, attempt: Attempt) -> dict[str, Any]:
        """Return the claims of an ID token that the provider made for us and for this attempt."""
        registry = jwt.JWTClaimsRegistry(
            leeway=LEEWAY_S,
            iss={"essential": True, "value": self.section.issuer},
            aud={"essential": True, "value": self.section.client_id},
            exp={"essential": True},
            iat={"essential": True},
            sub={"essential": True},
            nonce={"essential": True, "value": attempt.nonce},
        )
        try:
            claims = jwt.decode(token, KeySet.import_key_set(keys), algorithms=ALGORITHMS).claims
            registry.validate(claims)
        except (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise Problem(403, f"the ID token is not good: {error}", "sign in again") from error
        if claims.get("azp", self.section.client_id) != self.section.client_id:
            raise Problem(403, "the ID token was made for another client", "sign in again")
        return claims

    async def _exchange(
        self, http: aiohttp.ClientSession, metadata: Mapping[str, Any], code: str, attempt: Attempt
    ) -> dict[str, Any]:
        public = {} if self.secret else {"client_id": self.section.client_id}
        body = prepare_token_request(
            "authorization_code", redirect_uri=self.back, code=code, code_verifier=attempt.verifier, **public
        )
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        if self.secret:
            headers["Authorization"] = _basic(self.section.client_id, self.secret)
        async with http.post(
            _text(metadata, "token_endpoint"), data=body, headers=headers, allow_redirects=False
        ) as answer:
            if 400 <= answer.status < 500:
                raise Problem(403, "the provider does not take the code", "sign in again")
            return await _object(answer)

    async def _more(
        self,
        http: aiohttp.ClientSession,
        metadata: Mapping[str, Any],
        answer: Mapping[str, Any],
        subject: str,
    ) -> dict[str, Any]:
        """Return what the provider says of the person besides, where the ID token leaves it out."""
        if "userinfo_endpoint" not in metadata or "access_token" not in answer:
            return {}
        shown = {"Authorization": f"Bearer {_text(answer, 'access_token')}"}
        said = await _get(http, _text(metadata, "userinfo_endpoint"), shown)
        if said.get("sub") != subject:
            raise Problem(403, "the provider speaks of somebody else", "sign in again")
        return said

    async def _metadata(self, http: aiohttp.ClientSession) -> dict[str, Any]:
        found = await _get(http, f"{self.section.issuer.rstrip('/')}{METADATA}")
        if found.get("issuer") != self.section.issuer:
            raise ProviderError(f"it calls itself {str(found.get('issuer'))[:80]!r}")
        return found

    def _asking(self) -> _Asking:
        return _Asking(self.section.issuer, self.tls)


class _Asking:
    """A conversation with the provider; what goes wrong in it is the provider's fault, said in one sentence."""

    def __init__(self, issuer: str, tls: ssl.SSLContext) -> None:
        self._issuer, self._tls = issuer, tls

    async def __aenter__(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(ssl=self._tls)
        self._http = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(LIMIT_S))
        return self._http

    async def __aexit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        await self._http.close()
        if isinstance(error, aiohttp.ClientError | ProviderError | TimeoutError | ValueError | RecursionError):
            why = str(error) or "it takes too long"
            raise Problem(
                502, f"the provider {self._issuer} does not answer as one: {why[:200]}", "try again"
            ) from error


async def _get(http: aiohttp.ClientSession, address: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    async with http.get(address, headers={"Accept": "application/json", **(headers or {})}) as answer:
        return await _object(answer)


async def _object(answer: aiohttp.ClientResponse) -> dict[str, Any]:
    if answer.status != 200:
        raise ProviderError(f"{answer.url.path} is answered with {answer.status}")
    content = bytearray()
    async for piece in answer.content.iter_chunked(65_536):
        content += piece
        if len(content) > MAX_ANSWER_BYTES:
            raise ProviderError(f"{answer.url.path} is answered with too much")
    found = msgspec.json.decode(content)
    if not isinstance(found, dict):
        raise ProviderError(f"{answer.url.path} is answered with no object")
    return found


def _basic(client: str, secret: str) -> str:
    """Return how a client says who it is. Source: RFC 6749 2.3.1: both are encoded as in a form before."""
    both = f"{quote_plus(client)}:{quote_plus(secret)}"
    return f"Basic {base64.b64encode(both.encode()).decode()}"


def _text(found: Mapping[str, Any], key: str) -> str:
    value = found.get(key)
    if not isinstance(value, str) or not value:
        raise ProviderError(f"its answer has no {key}")
    return value
