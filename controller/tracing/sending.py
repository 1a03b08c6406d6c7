"""Sends spans by OTLP/HTTP, beside everything else: nothing waits for it, and what it cannot send is counted.

A span is sent once. A receiver that did not answer may have it, so that what was on its way then is given up; what a
receiver says it did not take for now is sent again.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import structlog

from controller.notices.http import MAX_SAID, retry_after_s
from controller.notices.wording import one_line
from controller.tracing.span import Span
from controller.unreached import NEVER_SENT, why_unreached

log = structlog.get_logger()

MOST_WAITING: Final = 8_192
"""So many spans wait at most, some 10 MB, the oldest kept. Source: our choice; 500 faults at once are about 10,000."""

BATCH: Final = 32
"""So many go at once: filling them in takes 0.7 ms, in which nothing else is done. Source: our measurement."""

EVERY_S: Final = 1.0
TIMEOUT_S: Final = 10.0
"""Source: OpenTelemetry, OTLP exporter configuration: the usual time limit."""

FIRST_RETRY_S: Final = 1.0
LAST_RETRY_S: Final = 30.0
"""Each next try waits twice as long, from the first of these to the last. Source: our choice."""

CLOSE_LIMIT_S: Final = 2.0
LOG_EVERY_S: Final = 600.0
"""The same trouble is said again after this time at the earliest. Source: our choice."""

PASSING: Final = frozenset({429, 502, 503, 504})
"""Answers after which the same may be sent again. Source: OTLP 1.x, "Retryable Response Codes"."""

PROTOBUF: Final = "application/x-protobuf"
MOST_ANSWER_BYTES: Final = 65_536


class NotOtlp(ValueError):
    """An answer that is none."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """What a receiver did not take of a request, and what it says about that."""

    spans: int
    because: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a batch.

    Attributes:
        kind: of the trouble, empty when there is none.
        lost: spans that are not known to have arrived.
        again_s: after how many seconds at least the same is sent again, `None` for never.
    """

    kind: str = ""
    because: str = ""
    lost: int = 0
    again_s: float | None = None


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where spans go.

    Attributes:
        headers: read anew for each request, so that a token may be changed.
        encode: spans → the body of a request.
        rejected: the body of an answer → what was not taken; raises NotOtlp.
    """

    url: str
    encode: Callable[[Sequence[Span]], bytes]
    rejected: Callable[[bytes], Rejected]
    headers: Callable[[], Mapping[str, str]] = dict
    ca_file: Path | None = None
    timeout_s: float = TIMEOUT_S

    @property
    def name(self) -> str:
        """Where it is, without what may be secret in its address."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.hostname}:{parts.port}" if parts.port else f"{parts.scheme}://{parts.hostname}"

    def tls(self) -> ssl.SSLContext | bool:
        """Return whom it must prove itself to.

        Raises:
            OSError: the certificates cannot be used.
        """
        return ssl.create_default_context(cafile=self.ca_file) if self.ca_file else True

    def session(self) -> aiohttp.ClientSession:
        """Return what talks to it."""
        limit = aiohttp.ClientTimeout(total=self.timeout_s)
        # A connection that the receiver closed meanwhile looks like a request that was not answered.
        connector = aiohttp.TCPConnector(ssl=self.tls(), force_close=True)
        return aiohttp.ClientSession(connector=connector, timeout=limit)

    async def post(self, session: aiohttp.ClientSession, spans: Sequence[Span]) -> Answer:
        """Send a batch once."""
        count = len(spans)
        try:
            headers = {**self.headers(), "Content-Type": PROTOBUF, "User-Agent": "fleetmend"}
        except (OSError, UnicodeDecodeError, ValueError) as error:
            return Answer("unsent", f"the headers for {self.name} cannot be read: {error}", again_s=0.0)
        try:
            async with session.post(self.url, data=self.encode(spans), headers=headers, allow_redirects=False) as said:
                body = await said.content.read(MOST_ANSWER_BYTES)
                return self._judged(said, body, count)
        except NEVER_SENT as error:
            return Answer("unreachable", f"{self.name} cannot be reached: {why_unreached(error)}", again_s=0.0)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            why = one_line(str(error), MAX_SAID) or type(error).__name__
            return Answer("unanswered", f"{self.name} did not answer, and may have them: {why}", lost=count)

    def _judged(self, said: aiohttp.ClientResponse, body: bytes, count: int) -> Answer:
        told = f"{self.name} answered {said.status} {one_line(said.reason or '', MAX_SAID)}".rstrip()
        if said.status in PASSING:
            asked = said.headers.get("Retry-After", "")
            return Answer("busy", told, again_s=retry_after_s(asked, now=time.time()) if asked else 0.0)
        if said.status != 200:
            return Answer("refused", told, lost=count)
        if body and said.content_type != PROTOBUF:
            return Answer("not_otlp", f"{told} with {said.content_type}: that is no receiver of traces", lost=count)
        try:
            left = self.rejected(body)
        except NotOtlp as error:
            return Answer("not_otlp", f"{told} with what is no answer to traces: {error}", lost=count)
        if left.spans or left.because:
            lost = min(left.spans, count)
            return Answer("partial", f"{told} and did not take {lost} of {count} spans: {left.because}", lost=lost)
        return Answer()


@dataclass(slots=True)
class Sender:
    """Spans that wait, and how sending them goes.

    Attributes:
        sent: spans that arrived.
        dropped: spans that did not, or are not known to have.
        problem: what is wrong now, empty when nothing is.
    """

    receiver: Receiver
    every_s: float = EVERY_S
    retry_s: float = FIRST_RETRY_S
    clock: Callable[[], float] = time.monotonic
    sent: int = 0
    dropped: int = 0
    problem: str = ""
    _waiting: deque[Span] = field(default_factory=deque)
    _wanted: asyncio.Event = field(default_factory=asyncio.Event)
    _closing: asyncio.Event = field(default_factory=asyncio.Event)
    _said_at: dict[str, float] = field(default_factory=dict)

    @property
    def waiting(self) -> int:
        """How many spans wait."""
        return len(self._waiting)

    def offer(self, spans: Iterable[Span]) -> None:
        """Take spans to be sent; those for which there is no room are dropped."""
        for span in spans:
            if len(self._waiting) < MOST_WAITING:
                self._waiting.append(span)
            else:
                self.drop(1, "overflowed", f"{self.receiver.name} takes fewer spans than come")
        self._wanted.set()

    def drop(self, count: int, kind: str, because: str) -> None:
        """Count what is not sent, and say so."""
        self.dropped += count
        self._say(kind, because)

    async def run(self) -> None:
        """Send until closed, and then what is left, without waiting for a receiver that wants to be left alone."""
        async with self.receiver.session() as session:
            while not (self._closing.is_set() and not self._waiting):
                await self._until_wanted()
                await self._send(session)

    def close(self) -> None:
        """Have `run` end."""
        self._closing.set()
        self._wanted.set()

    async def _until_wanted(self) -> None:
        await self._wanted.wait()
        self._wanted.clear()
        await self._pause(self.every_s)

    async def _pause(self, seconds: float) -> None:
        """Wait, unless it is time to end."""
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            return

    async def _send(self, session: aiohttp.ClientSession) -> None:
        tries = 0
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            answer = await self._posted(session, batch)
            if answer.again_s is None:
                tries = 0
                self._note(answer, len(batch))
                continue
            self._waiting.extendleft(reversed(batch))
            self._say(answer.kind, answer.because)
            if self._closing.is_set():
                self.drop(len(self._waiting), "closed", "the controller ends before they were taken")
                self._waiting.clear()
                return
            await self._pause(min(LAST_RETRY_S, max(answer.again_s, self.retry_s * 2.0 ** min(tries, 8))))
            tries += 1

    async def _posted(self, session: aiohttp.ClientSession, batch: list[Span]) -> Answer:
        try:
            return await self.receiver.post(session, batch)
        except asyncio.CancelledError:
            self.drop(len(batch), "closed", "the controller ended while they were on their way")
            raise
        except Exception as error:
            log.exception("traces.crashed")
            return Answer("crashed", f"{type(error).__name__}: {error}", lost=len(batch))

    def _note(self, answer: Answer, count: int) -> None:
        self.sent += count - answer.lost
        if answer.kind:
            self.drop(answer.lost, answer.kind, answer.because)
        elif self.problem:
            self.problem = ""
            log.info("traces.accepted", receiver=self.receiver.name, sent=self.sent, dropped=self.dropped)

    def _say(self, kind: str, because: str) -> None:
        self.problem = because
        now = self.clock()
        if now - self._said_at.get(kind, -LOG_EVERY_S) >= LOG_EVERY_S:
            self._said_at[kind] = now
            log.warning("traces.interrupted", because=because, dropped=self.dropped, waiting=len(self._waiting))
