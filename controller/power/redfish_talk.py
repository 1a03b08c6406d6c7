"""One conversation with a BMC over HTTPS: bounded in time and size, and each answer classified once.

What is asked for is sent over a connection of its own: one that was kept open may have been closed meanwhile, and then
nobody could say whether it arrived. Source: DMTF DSP0266 (status codes, sessions, privileges), RFC 9110.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import math
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp

from controller.errors import InDoubt, Permanent, Retryable
from controller.notices.wording import without_secrets
from controller.power.bmcs import Bmc
from controller.power.redfish_documents import ROOT, Document, inner, objects_in, text_of

SESSIONS = "/redfish/v1/SessionService/Sessions"
"""Source: DSP0266, "Redfish session login authentication"."""

MOST_BYTES = 1 << 20
"""Of one document. Source: our choice; a page of log entries takes some 100 KiB."""

CONNECT_S = 10.0
"""For TCP and TLS. Source: our choice; the TLS handshake of a slow BMC takes about a second."""

AGAIN_S = 10.0
"""How long a BMC that is busy is left alone, unless it says so itself. Source: our choice."""

NOT_NOW = frozenset({408, 409, 423, 425, 429, 503})
"""It was not done and may be later. Source: RFC 9110; DSP0266: 409 is a conflict with the state at the moment."""

NOT_OFFERED = frozenset({400, 405, 501})
"""The BMC does not know what was asked for; it may know another way. Source: DSP0266; sushy-tools 2.2 says 501 to every
type of reset that it does not know."""

NOT_IN_THIS_STATE = ("InvalidOperationForSystemState", "ResourceInUse", "ResourceInStandby")
"""Messages of a 400 that passes: HPE's iLO answers so while a host is off or starts. Source: iLO's and DMTF's Base
registry of messages; goldyfruit/ansible-ilo issue 1."""


class Untrusted(Exception):
    """The CA file cannot be used."""


class NotOffered(Exception):
    """The BMC knows no such thing."""


@dataclass(slots=True)
class Access:
    """How BMCs are reached.

    Attributes:
        by_session: log in once for each conversation, where BMCs take no account with each question.
        deadline_s: for one conversation.

    Raises:
        Untrusted: the CA file holds no certificates.
    """

    ca_file: Path | None = None
    verify: bool = True
    by_session: bool = False
    deadline_s: float = 30.0
    _context: ssl.SSLContext = field(init=False)

    def __post_init__(self) -> None:
        self._context = ssl.create_default_context()
        try:
            if self.ca_file is not None:
                self._context.load_verify_locations(self.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise Untrusted(f"{self.ca_file} holds no certificates in PEM: {error.strerror or error}") from error

    def trusted(self, bmc: Bmc) -> ssl.SSLContext | aiohttp.Fingerprint | bool:
        """Return by what the certificate of a BMC is judged."""
        if bmc.fingerprint:
            return aiohttp.Fingerprint(bytes.fromhex(bmc.fingerprint))
        return self._context if self.verify else False


class Talk:
    """A conversation, from its beginning to its end."""

    def __init__(self, bmc: Bmc, access: Access, *, at_most_s: float = math.inf) -> None:
        """Connect to nothing yet."""
        self.bmc, self._access = bmc, access
        self._limit_s = min(access.deadline_s, at_most_s)
        self._end = time.monotonic() + self._limit_s
        self._headers = {"Accept": "application/json", "Accept-Encoding": "identity", "OData-Version": "4.0"}
        self._session_path = ""

    async def __aenter__(self) -> Self:
        trusted = self._access.trusted(self.bmc)
        self._reading = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusted, limit=1))
        self._writing = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusted, limit=1, force_close=True))
        try:
            await self._log_in()
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        try:
            if self._session_path:
                with contextlib.suppress(Retryable, Permanent, InDoubt, NotOffered):
                    await self._ask(self._writing, "DELETE", self._session_path)
        finally:
            await self._close()

    async def _close(self) -> None:
        await self._reading.close()
        await self._writing.close()

    async def _log_in(self) -> None:
        password = await asyncio.to_thread(self.bmc.password)
        if not self._access.by_session:
            account = base64.b64encode(f"{self.bmc.user}:{password}".encode()).decode()
            self._headers["Authorization"] = f"Basic {account}"
            return
        login = {"UserName": self.bmc.user, "Password": password}
        try:
            headers = (await self._ask(self._writing, "POST", SESSIONS, login)).headers
        except NotOffered as error:
            raise Permanent(f"{error}: login = 'session' has to be offered by the BMC") from error
        self._headers["X-Auth-Token"] = headers.get("X-Auth-Token", "")
        # The path alone: the token goes to no other host.
        path = headers.get("Location", "").removeprefix(self.bmc.address.rstrip("/"))
        self._session_path = path if path.startswith(ROOT) else ""

    async def get(self, path: str) -> Document:
        """Return a document.

        Raises:
            Retryable: it may be read later.
            Permanent: it is not there, or not for this account.
        """
        try:
            answer = await self._ask(self._reading, "GET", path)
        except NotOffered as error:
            raise Permanent(str(error)) from error
        try:
            document = json.loads(answer.body)
        except (ValueError, RecursionError) as error:
            raise Retryable(f"{self._where(path)} was answered with no JSON", after_s=AGAIN_S) from error
        if not isinstance(document, dict):
            raise Retryable(f"{self._where(path)} was answered with JSON that is no object", after_s=AGAIN_S)
        return document

    async def post(self, path: str, body: Mapping[str, str]) -> None:
        """Ask for something to be done; return once it was taken up.

        Raises:
            InDoubt: nobody can say whether it was.
            NotOffered: the BMC knows no such thing; it was not done.
            Retryable, Permanent: it was not done.
        """
        await self._ask(self._writing, "POST", path, body, changes=True)

    async def _ask(
        self,
        session: aiohttp.ClientSession,
        method: str,
        path: str,
        body: Mapping[str, str] | None = None,
        *,
        changes: bool = False,
    ) -> _Answer:
        where, left_s = self._where(path), self._end - time.monotonic()
        if left_s <= 0:
            raise Retryable(f"{where}: no time is left of {self._limit_s:g} s", after_s=AGAIN_S)
        limits = aiohttp.ClientTimeout(total=left_s, sock_connect=min(CONNECT_S, left_s * 0.8))
        try:
            async with session.request(
                method,
                f"{self.bmc.address.rstrip('/')}{path}",
                json=body,
                headers=self._headers,
                allow_redirects=False,
                timeout=limits,
            ) as response:
                answer = await _answer_of(response, lenient=changes)
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ServerFingerprintMismatch) as error:
            raise Permanent(self._not_trusted(error)) from error
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise Retryable(f"{where} cannot be reached: {_cause(error)}", after_s=AGAIN_S) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            late = f"{where} was not answered: {_cause(error)}"
            raise (
                InDoubt(f"{late}; it may have been done all the same.") if changes else Retryable(late, after_s=AGAIN_S)
            ) from error
        if not 200 <= answer.status < 300:
            raise self._classified(answer, where, changes=changes)
        return answer

    def _classified(self, answer: _Answer, where: str, *, changes: bool) -> Exception:
        """Return what an answer other than 2xx means."""
        status, said = (
            answer.status,
            f"{where} was answered with HTTP {answer.status}{without_secrets(_told(answer.body))}",
        )
        if status in {401, 403}:
            right = "user and password have to be those of an account of the BMC with the role Operator"
            return Permanent(f"{where} is refused to the user {self.bmc.user!r} (HTTP {status}): {right}")
        if status in NOT_NOW or (status == 400 and any(word in said for word in NOT_IN_THIS_STATE)):
            return Retryable(said, after_s=_asked_for_s(answer.headers.get("Retry-After", "")))
        if status in NOT_OFFERED:
            return NotOffered(said)
        if status >= 500:
            return (
                InDoubt(f"{said}; it may have been done all the same.") if changes else Retryable(said, after_s=AGAIN_S)
            )
        return Permanent(f"{said}: redirects are not followed" if 300 <= status < 400 else said)

    def _where(self, path: str) -> str:
        return f"{self.bmc.address.rstrip('/')}{path[:200]}"

    def _not_trusted(self, error: Exception) -> str:
        right = "name its CA in ca_file, or the certificate's SHA-256 in fingerprint"
        why = "it has another certificate than fingerprint says" if self.bmc.fingerprint else _cause(error)
        return f"the certificate of {self.bmc.address} is not trusted: {why}: {right}"


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


async def _answer_of(response: aiohttp.ClientResponse, *, lenient: bool) -> _Answer:
    """Return an answer. Of what was asked for the status says all: a body that breaks off or has no end takes nothing
    back."""
    body = bytearray()
    try:
        async for piece in response.content.iter_any():
            body += piece
            if len(body) > MOST_BYTES and lenient:
                response.close()
                break
            if len(body) > MOST_BYTES:
                raise Permanent(f"{response.url}: the document is larger than {MOST_BYTES >> 10} KiB")
    except (aiohttp.ClientError, TimeoutError):
        if not lenient:
            raise
    return _Answer(response.status, response.headers, bytes(body))


def _told(body: bytes) -> str:
    """Return what an error's document says, for people. Source: DSP0266, "Error responses"."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    error = inner(document, "error") if isinstance(document, dict) else {}
    first = next(iter(objects_in(error, "@Message.ExtendedInfo")), {})
    name, sentence = first.get("MessageId") or first.get("MessageID"), first.get("Message") or error.get("message")
    said = " ".join(filter(None, (text_of(name), text_of(sentence))))
    return f": {said}" if said else ""


def _asked_for_s(retry_after: str) -> float:
    is_number = retry_after.isascii() and retry_after.isdecimal()
    return min(max(1.0, float(retry_after[:6])), 600.0) if is_number else AGAIN_S


def _cause(error: Exception) -> str:
    return text_of(str(getattr(error, "strerror", None) or error)) or type(error).__name__
