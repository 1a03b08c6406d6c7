"""Tickets or pages by HTTP: the notice as JSON, its key as `Idempotency-Key`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec

from controller.adapters import Notice
from controller.errors import InDoubt, Permanent, Retryable
from controller.notice_file import as_json
from controller.tracing import current

RETRY_AFTER_S = 5.0
PASSING = frozenset({408, 425, 429})
"""Refusals that pass, besides 5xx: timeout, too early, too many. Source: RFC 9110 15.5.9, RFC 8470 5.2, RFC 6585 4."""

MAX_ANSWER_BYTES = 65_536
MAX_REFERENCE_CHARACTERS = 200

NEVER_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


@dataclass(slots=True)
class WebhookNotifier:
    """POSTs a notice.

    A request that went out and was not answered may have arrived. Where the receiver drops a repeated key it is sent
    again; where it does not, the attempt is in doubt, and the next one carries another key.

    Attributes:
        url: where to; redirects are not followed, so that a notice goes nowhere else.
        repeatable: the receiver drops a repeated Idempotency-Key.
        timeout_s: limit for the whole exchange.
    """

    url: str
    repeatable: bool = False
    timeout_s: float = 10.0
    clock: Callable[[], float] = time.time
    name: str = "webhook"

    async def send(self, notice: Notice) -> str:
        """POST it and return the receiver's reference: `reference` or `id` of its JSON, else Location, else the key."""
        try:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self.timeout_s)) as session:
                return await self._post(session, notice)
        except aiohttp.InvalidURL as error:
            raise Permanent("the webhook's url is not one: it must be https://host/path") from error
        except aiohttp.ClientSSLError as error:
            raise Permanent(f"{_receiver(self.url)}: TLS: {error}") from error
        except NEVER_SENT as error:
            raise Retryable(f"{_receiver(self.url)} cannot be reached: {error}", after_s=RETRY_AFTER_S) from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._in_doubt(error) from error

    async def _post(self, session: aiohttp.ClientSession, notice: Notice) -> str:
        headers = {"Content-Type": "application/json", "Idempotency-Key": notice.key, "User-Agent": "fleetmend"}
        headers |= current.headers()
        async with session.post(self.url, data=as_json(notice), headers=headers, allow_redirects=False) as answer:
            if not 200 <= answer.status < 300:
                raise self._refusal(answer)
            return _reference(await _body(answer)) or answer.headers.get("Location", "") or notice.key

    def _refusal(self, answer: aiohttp.ClientResponse) -> Retryable | Permanent:
        said = f"{_receiver(self.url)} answered {answer.status} {answer.reason or ''}".rstrip()
        if answer.status in PASSING or answer.status >= 500:
            wait_s = retry_after_s(answer.headers.get("Retry-After", ""), now=self.clock())
            return Retryable(said, after_s=wait_s)
        if 300 <= answer.status < 400:
            return Permanent(f"{said}: redirects are not followed; set url to where it points")
        return Permanent(said)

    def _in_doubt(self, error: Exception) -> Retryable | InDoubt:
        said = f"{_receiver(self.url)} did not answer ({str(error) or type(error).__name__})"
        if self.repeatable:
            return Retryable(said, after_s=RETRY_AFTER_S)
        return InDoubt(f"{said}; the notice may have arrived all the same")


def retry_after_s(header: str, *, now: float) -> float:
    """Return how long a `Retry-After` asks to wait: seconds or a date, at least 1 s; 5 s when it says neither.

    Source: RFC 9110 10.2.3.
    """
    if header.isascii() and header.isdecimal():
        return max(1.0, float(header[:9]))
    try:
        return max(1.0, parsedate_to_datetime(header).timestamp() - now)
    except (ValueError, OverflowError):
        return RETRY_AFTER_S


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    """Return what fits of the answer. A 2xx that breaks off after its head was a 2xx."""
    body = b""
    try:
        while len(body) < MAX_ANSWER_BYTES and (chunk := await answer.content.read(MAX_ANSWER_BYTES)):
            body += chunk
    except (aiohttp.ClientError, TimeoutError):
        return b""
    return body


def _reference(body: bytes) -> str:
    try:
        read: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    found = (read.get("reference") or read.get("id")) if isinstance(read, dict) else None
    return str(found)[:MAX_REFERENCE_CHARACTERS] if isinstance(found, str | int) else ""


def _receiver(url: str) -> str:
    """The host alone: the rest of a webhook's URL is often its password."""
    return f"webhook {urlsplit(url).hostname}"
