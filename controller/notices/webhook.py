"""Tickets or pages by HTTP: the notice as JSON, its key as `Idempotency-Key`.

What is new about one, and its end, are further requests to the same address: `event` says which of `filed`, `updated`
and `closed` it is, and `reference` is what the first one was answered with.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from controller.adapters import Filed, Notice
from controller.notices.http import HttpClient, Reply
from controller.notices.json_lines import as_json

MAX_REFERENCE_CHARACTERS = 200


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

    async def send(self, notice: Notice) -> Filed:
        """POST it. Its reference: `reference` or `id` of the answer's JSON, else its Location, else the key."""
        reply = await self._post(notice.key, as_json(notice, "filed"))
        return Filed(_reference(reply) or _plain(reply.headers.get("Location", "")) or notice.key)

    async def update(self, reference: str, notice: Notice) -> None:
        """POST what is new."""
        await self._post(notice.key, as_json(notice, "updated", reference))

    async def close(self, reference: str, notice: Notice) -> None:
        """POST what came of it."""
        await self._post(notice.key, as_json(notice, "closed", reference))

    async def _post(self, key: str, text: bytes) -> Reply:
        client = HttpClient("webhook", self.url, timeout_s=self.timeout_s, clock=self.clock)
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        return await client.call("POST", data=text, headers=headers, once=not self.repeatable)


def _reference(reply: Reply) -> str:
    try:
        read: Any = msgspec.json.decode(reply.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    found = (read.get("reference") or read.get("id")) if isinstance(read, dict) else None
    return _plain(str(found)) if isinstance(found, str | int) else ""


def _plain(reference: str) -> str:
    """Return a reference as it can be logged and shown, cut: it is for people, and for the receiver to be told."""
    shown = (character for character in reference[:MAX_REFERENCE_CHARACTERS] if character.isprintable())
    return "".join(shown).strip()
