"""Puts refused attempts into the event log: few by themselves, then by number, so that nobody who guesses fills it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import msgspec
import structlog

from controller.enrolment_events import EnrolmentRefused

log = structlog.get_logger()

SPAN_S: Final = 60.0
MOST_BY_THEMSELVES: Final = 30
"""In that span, one entry each; the others are one entry at its end. Source: our choice; some 40 MB of log a day."""


@dataclass(slots=True)
class Refusals:
    """Refused attempts on their way into the log.

    Attributes:
        submit: puts an event into the log.
        sleep: seconds.
    """

    submit: Callable[[EnrolmentRefused], Awaitable[object]]
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    span_s: float = SPAN_S
    _told: int = 0
    _untold: EnrolmentRefused | None = None
    _span: asyncio.Task[None] | None = field(default=None)

    async def note(self, refused: EnrolmentRefused) -> None:
        """Have an attempt told, at once or at the end of the span."""
        if self._span is None or self._span.done():
            self._span = asyncio.create_task(self._end_span(), name="enrolment-refusals")
        if self._told < MOST_BY_THEMSELVES:
            self._told += 1
            await self.submit(refused)
            return
        before = self._untold.attempts if self._untold is not None else 0
        self._untold = msgspec.structs.replace(refused, attempts=before + refused.attempts)

    async def close(self) -> None:
        """End; what is not in the event log goes into the program's."""
        if self._span is not None:
            self._span.cancel()
            await asyncio.gather(self._span, return_exceptions=True)
        if self._untold is not None:
            log.warning("enrolments.refused", count=self._untold.attempts, because=self._untold.because)

    async def _end_span(self) -> None:
        await self.sleep(self.span_s)
        self._told = 0
        untold, self._untold = self._untold, None
        if untold is not None:
            because = f"{untold.attempts} attempts within {self.span_s:g} s; the last: {untold.because}"
            await self.submit(msgspec.structs.replace(untold, because=because))
