"""The baseboard management controller, asked over HTTPS by Redfish, with an account that may only read.

One disposable process asks during one reading and then ends: a BMC that accepts and never answers holds up nothing, and
nothing stays in memory between readings. Each question carries the account, so that no session is left open on a BMC,
which has few. Nothing is ever written.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import msgspec

from agent.sources.bmc_log import Kept, kept_of, with_news
from agent.sources.child import Child, ChildEnded, DeadlineMissed, Slot, Stuck
from agent.sources.redfish_access import RedfishAccess
from agent.sources.redfish_documents import Document, Flawed, text_of
from agent.sources.redfish_walk import Walk
from agent.sources.source import Surroundings
from agent.sources.tool import Time
from checks.errors import CannotObserve
from checks.readings import BmcReading
from checks.readings.bmc import BmcEvent

ONE_S: Final = 30.0
"""For one question. Source: our choice; a busy BMC answers within seconds."""

MOST_FLAWS: Final = 3
"""That are told, of those that were found."""

MOST_LOGS: Final = 32
"""That are remembered. Source: our choice; a BMC that names its logs anew each time would else fill the disk."""

REFUSED: Final = (401, 403)
"""Source: RFC 9110; DMTF DSP0266, "Privilege model"."""


class RedfishBmc:
    """The BMC of the host, by Redfish."""

    def __init__(
        self, surroundings: Surroundings, access: RedfishAccess, *, make_slot: Callable[[], Slot] = Slot
    ) -> None:
        """Ask nothing yet."""
        self._monotonic, self._access = surroundings.monotonic, access
        self._store = surroundings.store("redfish")
        self._child = Child(access.command(), make_slot())

    async def read(self, deadline_s: float) -> BmcReading:
        """Return one reading, which says what could not be asked, and what would be right.

        Raises:
            CannotObserve: the process that asked cannot be killed.
        """
        at_s = self._monotonic()
        time = Time(deadline_s, ONE_S, monotonic=self._monotonic)
        walk = Walk(partial(self._get, time))
        try:
            await walk.run()
        except CannotObserve as error:
            if error.stuck:
                raise
            walk.flaws.insert(0, str(error))
        finally:
            await self._child.close()
        events = self._recent(walk.logs, at_s)
        return BmcReading(at_s, present=True, sensors=walk.sensors, events=events, failure=self._told(walk.flaws))

    async def close(self) -> None:
        """End what still runs."""
        await self._child.close()

    async def _get(self, time: Time, path: str) -> Document:
        """Return the document of a path.

        Raises:
            Flawed: it has none, or one that says nothing.
            CannotObserve: nothing more can be asked, or the process that asked cannot be killed.
        """
        where = f"{self._access.url}{path}"
        answer = await self._ask(where, path.encode(), time.left_s())
        if failure := answer.get("failure"):
            raise CannotObserve(str(failure))
        status, document = answer.get("status"), answer.get("document")
        if status in REFUSED:
            right = "user and password_file have to be those of an account of the BMC with the role ReadOnly"
            raise CannotObserve(f"{where} is refused to the user {self._access.user!r} (HTTP {status}): {right}")
        if status != 200:
            raise Flawed(f"{path} was answered with HTTP {status}")
        if not isinstance(document, dict):
            raise Flawed(f"{path} {text_of(answer.get('flaw')) or 'is no object'}")
        return document

    async def _ask(self, where: str, question: bytes, deadline_s: float) -> Mapping[str, Any]:
        try:
            answer = json.loads(await self._child.ask(question, deadline_s=deadline_s))
        except Stuck as stuck:
            raise CannotObserve(f"{where}: {stuck}", stuck=True) from stuck
        except (DeadlineMissed, ChildEnded, OSError) as error:
            raise CannotObserve(f"{where}: {error}: the BMC has to answer within {deadline_s:g} s") from error
        except (ValueError, RecursionError) as error:
            raise Flawed(f"{where} is no JSON: {error}") from error
        return answer if isinstance(answer, dict) else {}

    def _recent(self, logs: Mapping[str, tuple[BmcEvent, ...]], at_s: float) -> tuple[BmcEvent, ...]:
        """Return the last day's events of every log, also of one that could not be read this time."""
        saved = self._store.load()
        kept = {path: held for path, each in saved.items() if (held := kept_of(each)) is not None}
        now: dict[str, Kept] = kept | {path: with_news(kept.get(path), found, at_s) for path, found in logs.items()}
        if len(now) > MOST_LOGS:
            now = {path: now[path] for path in logs}
        if now != kept:
            self._store.save(msgspec.to_builtins(now))
        return tuple(event for path in sorted(now) for event in now[path].told)

    def _told(self, flaws: list[str]) -> str:
        """Return what could not be asked, with the address: the first few of the flaws stand for the rest."""
        if not flaws:
            return ""
        more = f"; and {len(flaws) - MOST_FLAWS} more" if len(flaws) > MOST_FLAWS else ""
        told = "; ".join(flaws[:MOST_FLAWS]) + more
        return told if told.startswith(self._access.url) else f"{self._access.url}: {told}"
