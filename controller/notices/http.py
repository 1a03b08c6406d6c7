"""Calls of other people's HTTP interfaces, and what their answers mean to the engine.

What passes is `Retryable`: no connection, 408, 425, 429, 5xx, a 403 that is a rate limit, no answer. What does not is
`HttpRefusal`, which is `Permanent` and knows its status, so that an adapter can tell a 404 from a 401. A write that
went out, was not answered and must not be sent twice is `InDoubt`; an adapter that can look first needs no such care.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec

from controller.errors import InDoubt, Permanent, Retryable
from controller.notices.wording import one_line
from controller.tracing import current
from controller.unreached import NEVER_SENT, why_unreached

RETRY_AFTER_S = 5.0
PASSING = frozenset({408, 425, 429})
"""Refusals that pass, besides 5xx: timeout, too early, too many. Source: RFC 9110 15.5.9, RFC 8470 5.2, RFC 6585 4."""

RESETS = ("X-RateLimit-Reset", "RateLimit-Reset")
"""When a rate limit ends: seconds of Unix time, or a time in ISO 8601 (Jira). Source: GitHub, "Rate limits for the REST
API"; GitLab, "Rate limits"; ServiceNow, "Inbound REST API rate limiting"; Atlassian, "Rate limiting"."""

MAX_RESET_S = 3_600.0
"""No rate limit of these lasts longer; a header that says so comes from a clock that is wrong. A `Retry-After` of years
would be a page that nobody gets."""

MAX_ANSWER_BYTES = 1_048_576
MAX_SAID = 300
"""So many characters of an answer's text are told to people."""


class HttpRefusal(Permanent):
    """The other side answered no, and will again."""

    def __init__(self, because: str, *, status: int, body: bytes) -> None:
        super().__init__(because)
        self.status = status
        self.body = body


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of 2xx. `whole`: it did not break off, and was not longer than may be read."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    whole: bool
    receiver: str

    def read(self, kind: Any = Any) -> Any:
        """Return the body's JSON as `kind`.

        Raises:
            Retryable: it broke off.
            Permanent: it is not that.
        """
        if not self.whole:
            raise Retryable(f"{self.receiver} broke off in its answer", after_s=RETRY_AFTER_S)
        try:
            return msgspec.json.decode(self.body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Permanent(f"{self.receiver} answered something else than expected: {error}") from error


@dataclass(slots=True)
class HttpClient:
    """One system that is reached by HTTP.

    Attributes:
        kind: what it is, in messages; its host is added, and never the rest of an address, which is often a password.
        url: what paths are added to.
        headers: sent with each request.
        timeout_s: limit for one whole exchange.
        most_bytes: so much of an answer is read.
    """

    kind: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    auth: aiohttp.BasicAuth | None = None
    timeout_s: float = 10.0
    clock: Callable[[], float] = time.time
    most_bytes: int = MAX_ANSWER_BYTES

    @property
    def receiver(self) -> str:
        """What it is called in messages."""
        return f"{self.kind} {urlsplit(self.url).hostname}"

    async def call(
        self,
        method: str,
        path: str = "",
        *,
        json: object = None,
        data: bytes | Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        once: bool = False,
    ) -> Reply:
        """Return the answer to one request. Redirects are not followed, so that nothing goes anywhere else.

        Args:
            json: body as JSON; `data`: body as it is, or as a form.
            once: a request that was sent and not answered must not be sent again.

        Raises:
            Retryable, HttpRefusal, Permanent: as the module says.
            InDoubt: with `once`, nobody knows whether it arrived.
        """
        body, kind = _encoded(json, data)
        every = {"User-Agent": "fleetmend", **current.headers(), **kind, **self.headers, **(headers or {})}
        timeout = aiohttp.ClientTimeout(total=self.timeout_s)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, auth=self.auth) as session,
                session.request(
                    method, self.url + path, data=body, params=query, headers=every, allow_redirects=False
                ) as answer,
            ):
                return await self._reply(answer)
        except aiohttp.InvalidURL as error:
            raise Permanent(f"the {self.kind}'s url is not one: it must be https://host/path") from error
        except aiohttp.ClientSSLError as error:
            raise Permanent(f"{self.receiver}: {why_unreached(error)}") from error
        except NEVER_SENT as error:
            raise Retryable(
                f"{self.receiver} cannot be reached: {why_unreached(error)}", after_s=RETRY_AFTER_S
            ) from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._unanswered(error, once=once) from error

    async def _reply(self, answer: aiohttp.ClientResponse) -> Reply:
        body, whole = await _body(answer, self.most_bytes)
        if 200 <= answer.status < 300:
            return Reply(answer.status, answer.headers, body, whole, self.receiver)
        said = f"{self.receiver} answered {answer.status} {one_line(answer.reason or '', MAX_SAID)}".rstrip()
        if answer.status in PASSING or answer.status >= 500 or _is_limited(answer):
            raise Retryable(said, after_s=wait_s(answer.headers, now=self.clock()))
        if 300 <= answer.status < 400:
            said += ": redirects are not followed; set url to where it points"
        elif words := _words(body):
            said += f": {words}"
        raise HttpRefusal(said, status=answer.status, body=body)

    def _unanswered(self, error: Exception, *, once: bool) -> Retryable | InDoubt:
        said = f"{self.receiver} did not answer ({_why(error)})"
        if once:
            return InDoubt(f"{said}; the notice may have arrived all the same")
        return Retryable(said, after_s=RETRY_AFTER_S)


def retry_after_s(header: str, *, now: float) -> float:
    """Return how long a `Retry-After` asks to wait: seconds or a date, 1 s to an hour; 5 s when it says neither.

    Source: RFC 9110 10.2.3.
    """
    if header.isascii() and header.isdecimal():
        return min(MAX_RESET_S, max(1.0, float(header[:9])))
    try:
        return min(MAX_RESET_S, max(1.0, parsedate_to_datetime(header).timestamp() - now))
    except (ValueError, OverflowError):
        return RETRY_AFTER_S


def wait_s(headers: Mapping[str, str], *, now: float) -> float:
    """Return how long an answer asks to wait: by `Retry-After`, else until its rate limit ends, else 5 s."""
    if "Retry-After" in headers:
        return retry_after_s(headers["Retry-After"], now=now)
    said = next((headers[name] for name in RESETS if name in headers), "")
    return min(MAX_RESET_S, max(1.0, _moment(said) - now)) if said and _moment(said) else RETRY_AFTER_S


def _moment(said: str) -> float:
    """Return Unix seconds, 0 for what is no time."""
    if said.isascii() and said.isdecimal():
        return float(said[:12])
    try:
        moment = datetime.fromisoformat(said)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def _is_limited(answer: aiohttp.ClientResponse) -> bool:
    """Return whether a 403 is a rate limit. Source: GitHub, "Rate limits for the REST API"."""
    headers = answer.headers
    return answer.status == 403 and ("Retry-After" in headers or headers.get("X-RateLimit-Remaining") == "0")


def _encoded(json: object, data: bytes | Mapping[str, str] | None) -> tuple[Any, dict[str, str]]:
    if json is None:
        return data, {}
    return msgspec.json.encode(json), {"Content-Type": "application/json"}


async def _body(answer: aiohttp.ClientResponse, most_bytes: int) -> tuple[bytes, bool]:
    """Return what fits of the answer, and whether that is all. A 2xx that breaks off after its head was a 2xx."""
    body = bytearray()
    try:
        while len(body) < most_bytes:
            chunk = await answer.content.read(MAX_ANSWER_BYTES)
            if not chunk:
                return bytes(body), True
            body += chunk
    except (aiohttp.ClientError, TimeoutError):
        return bytes(body), False
    return bytes(body), False


def _words(body: bytes) -> str:
    """Return what an answer's text says, on one line."""
    return one_line(body[: 4 * MAX_SAID].decode(errors="replace"), MAX_SAID)


def _why(error: Exception) -> str:
    """Return what went wrong. aiohttp's own text of an answer that is no HTTP has the whole address."""
    said = error.message if isinstance(error, aiohttp.ClientResponseError) else str(error)
    return one_line(said, MAX_SAID) or type(error).__name__
