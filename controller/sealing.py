"""Has the log vouched for at intervals: a signed head in the log, in the state directory and among the log lines.

Without heads, whoever can write to the database could cut the log's end off, or write all of it anew. The one in the
state directory is out of reach of who has the database alone; the lines go wherever the journal goes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import structlog

from controller import durable
from controller.store.chain import Head
from controller.store.log import EventLog, StoreError
from controller.store.seals import Signer

log = structlog.get_logger()

SEAL_EVERY_S = 60.0
"""How much of a busy log nobody vouches for yet, at most. Source: our choice; a head costs a commit of 200 bytes."""

SOON_S = 1.0
"""After a person did something it is signed so soon, with what else came meanwhile. Source: our choice."""

FILE = "log-head.json"


@dataclass(slots=True)
class Sealing:
    """Signs the head of the log of the controller that leads.

    Attributes:
        error: why the log is not the one that was signed, empty when it is.
    """

    event_log: EventLog
    signer: Signer
    file: Path
    clock: Callable[[], float]
    error: str = ""
    _sealed_through: int = 0
    _wanted: asyncio.Event = field(default_factory=asyncio.Event)

    def soon(self) -> None:
        """A person did something: that is signed soon."""
        self._wanted.set()

    def check(self) -> None:
        """Hold the log to the head that was kept beside it. One that differs is told, and kept for whoever looks."""
        head = witness(self.file)
        if head is None:
            return
        self.error = self._why_another(head)
        if self.error:
            aside = self.file.with_name(f"log-head-{head.event_id}.contradicted.json")
            with contextlib.suppress(OSError):
                self.file.replace(aside)
            log.error("log.contradicted", because=self.error, kept=str(aside))

    def _why_another(self, head: Head) -> str:
        if because := self.signer.known.why_no_head(head):
            return f"{self.file} is nobody's: {because}"
        place = self.event_log.place(at_most=head.event_id)
        if place.event_id == head.event_id and place.link != head.link:
            return f"entry {head.event_id}, or what came before it, is not the one that was signed"
        if place.event_id < head.event_id and self.event_log.deleted_through() < head.event_id:
            return f"entry {head.event_id} was signed and is not there: the log was cut off, or is an older one"
        return ""

    async def run(self, *, every_s: float = SEAL_EVERY_S) -> None:
        """Sign at intervals, and soon after people act, until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(every_s):
                    await self._wanted.wait()
                    await asyncio.sleep(min(SOON_S, every_s))
            self._wanted.clear()
            await self.seal()

    async def seal(self) -> None:
        """Sign how far the log has come, where it came further. What fails is tried again later."""
        try:
            place = await self.event_log.last_place()
            if place.event_id <= self._sealed_through:
                return
            head = self.signer.sealed_head(Head(place.event_id, self.clock(), place.link))
            await self.event_log.keep_head(head)
            await asyncio.to_thread(durable.replace, self.file, msgspec.json.encode(head), mode=0o600)
        except (StoreError, OSError) as error:
            log.warning("seal.delayed", because=str(error))
            return
        self._sealed_through = place.event_id
        log.info("head.signed", event_id=head.event_id, link=head.link.hex(), key_id=head.key_id)


def witness(file: Path) -> Head | None:
    """Return the head that was kept in a file, `None` when there is none that can be read."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Head)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        log.warning("head.unreadable", file=str(file), because=str(error))
        return None
