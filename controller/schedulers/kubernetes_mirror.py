"""A copy of one kind of objects that a watch keeps up to date: asked of the API once, and told of every change.

It outlives what ends a watch: streams that end, stand still or break off, an API that restarts, and a version that the
API has forgotten (410), after which everything is listed anew. Level-triggered: what is missed is in the next list.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import msgspec
import structlog

from controller.errors import Permanent, Refused, Retryable
from controller.schedulers.kubernetes_access import PAGE, Access, Page
from controller.schedulers.kubernetes_answers import TOO_OLD, Answered, Status, answer_of, failure_of
from controller.schedulers.kubernetes_objects import Metadata

log = structlog.get_logger()

WATCH_S = 30
"""So long a stream lives before the server ends it: a new one that it opens is proof that both are well."""
QUIET_S = 40.0
"""A stream that says nothing for longer is dead: the server would have ended it. Source: our choice, above WATCH_S."""
MAX_AGE_S = 60.0
"""What was not confirmed for longer is not told any more. Source: our choice, above QUIET_S and an API's restart."""
SHORT_S = 1.0
"""A stream that lived no longer counts as a failure, whatever ended it: nothing is asked for in a hot loop."""
BACK_OFF_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Source: our choice; an API that restarts is back within 5 s."""


class Versioned(Protocol):
    """What a mirror keeps of an object."""

    @property
    def version(self) -> str:
        """Its resourceVersion."""
        ...


class _Object(Protocol):
    @property
    def metadata(self) -> Metadata: ...


Found = TypeVar("Found", bound=_Object)
Kept = TypeVar("Kept", bound=Versioned)
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Kind(Generic[Found, Kept]):
    """What is mirrored.

    Attributes:
        path: of all objects.
        selector: which of them, as a fieldSelector; empty is all.
        shape: how one is decoded.
        keep: what is kept of one, `None` for one that does not matter.
    """

    path: str
    shape: type[Found]
    keep: Callable[[Found], Kept | None]
    selector: str = ""

    def params(self, **more: str) -> dict[str, str]:
        """Return the query of a question for them."""
        return {**({"fieldSelector": self.selector} if self.selector else {}), **more}


class _Change(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _Forgotten(Exception):
    """The API knows no more what came after the version that we had."""


@dataclass(slots=True)
class Mirror(Generic[Found, Kept]):
    """The copy.

    Attributes:
        changed: told what was and what is now, at every change.
    """

    access: Access
    kind: Kind[Found, Kept]
    changed: Callable[[Kept | None, Kept | None], None]
    clock: Callable[[], float]
    items: dict[Key, Kept] = field(default_factory=dict)
    failure: Retryable | Permanent | Refused | None = None
    lists: int = 0
    _version: str = ""
    _heard_at: float = float("-inf")
    _tried: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Keep the copy up to date until cancelled."""
        failures = 0
        while True:
            began = self.clock()
            try:
                if not self._version:
                    await self._list()
                await self._watch()
            except _Forgotten:
                self._version = ""
            except (Retryable, Permanent, Refused) as error:
                self._note(error)
            except Exception as error:
                self._forget(error)
            failures = 0 if self.clock() - began > SHORT_S else failures + 1
            if failures:
                await asyncio.sleep(BACK_OFF_S[min(failures, len(BACK_OFF_S)) - 1])

    async def confirmed(self) -> None:
        """Return once the copy is known to be no older than `MAX_AGE_S`.

        Raises:
            Retryable, Permanent, Refused: it is not, and why.
        """
        await self._tried.wait()
        age_s = self.clock() - self._heard_at
        if age_s <= MAX_AGE_S and not isinstance(self.failure, Permanent):
            return
        raise self.failure or Retryable(f"Kubernetes has said nothing of /{self.kind.path} for {age_s:.0f} s")

    def put(self, found: Found) -> None:
        """Take in what a write answered: nobody is to see the time before our own deed."""
        kept = self.kind.keep(found)
        key = _key(found.metadata)
        if kept is not None and not _newer(self.items.get(key), kept):
            self._set(key, kept)

    async def _list(self) -> None:
        found: dict[Key, Kept] = {}
        params = self.kind.params(limit=str(PAGE))
        while True:
            page = await self._page(params)
            found.update(self._kept(page.items))
            if not page.metadata.more:
                break
            params["continue"] = page.metadata.more
        self.lists += 1
        for key in [*(self.items.keys() - found.keys()), *found]:
            if not _newer_than(self.items.get(key), page.metadata.version):
                self._set(key, found.get(key))
        self._version, self._heard_at = page.metadata.version, self.clock()

    async def _page(self, params: Mapping[str, str]) -> Page:
        try:
            body = await self.access.page(self.kind.path, params)
        except Answered as error:
            if error.answer.code == TOO_OLD:
                raise _Forgotten from error
            raise failure_of(error.answer, f"listing /{self.kind.path}") from error
        page: Page = self._decoded(body, Page)
        return page

    def _kept(self, items: Iterable[msgspec.Raw]) -> Iterable[tuple[Key, Kept]]:
        for raw in items:
            found = self._decoded(raw, self.kind.shape)
            kept = self.kind.keep(found)
            if kept is not None:
                yield _key(found.metadata), kept

    async def _watch(self) -> None:
        params = self.kind.params(
            watch="true", resourceVersion=self._version, allowWatchBookmarks="true", timeoutSeconds=str(WATCH_S)
        )
        try:
            async with self.access.stream(self.kind.path, params, QUIET_S) as lines:
                self._heard(self._version)
                async for line in lines:
                    self._take(line)
        except Answered as error:
            if error.answer.code == TOO_OLD:
                raise _Forgotten from error
            raise failure_of(error.answer, f"watching /{self.kind.path}") from error
        self._heard(self._version)

    def _take(self, line: bytes) -> None:
        change = self._decoded(line, _Change)
        if change.type == "ERROR":
            status = self._decoded(change.object, Status)
            raise Answered(answer_of(status.code, bytes(change.object)))
        found = self._decoded(change.object, self.kind.shape)
        if change.type != "BOOKMARK":
            kept = None if change.type == "DELETED" else self.kind.keep(found)
            key = _key(found.metadata)
            if not _newer_than(self.items.get(key), found.metadata.version):
                self._set(key, kept)
        self._heard(found.metadata.version)

    def _set(self, key: Key, kept: Kept | None) -> None:
        before = self.items.get(key)
        if before != kept:
            self.changed(before, kept)
        if kept is None:
            self.items.pop(key, None)
        else:
            self.items[key] = kept

    def _heard(self, version: str) -> None:
        if self.failure is not None:
            log.info("mirror.recovered", path=self.kind.path)
        self.failure, self._version, self._heard_at = None, version, self.clock()
        self._tried.set()

    def _note(self, error: Retryable | Permanent | Refused) -> None:
        if str(error) != str(self.failure):
            log.warning("mirror.interrupted", path=self.kind.path, because=str(error))
        self.failure = error
        self._tried.set()

    def _forget(self, error: Exception) -> None:
        """Begin anew after a mistake of our own: a copy that nothing keeps up to date would be asked for ever."""
        log.error("mirror.crashed", path=self.kind.path, exc_info=error)
        self._version = ""
        self._note(Retryable(f"Kubernetes, /{self.kind.path}: what was heard of it could not be taken in: {error!r}"))

    def _decoded(self, raw: bytes | msgspec.Raw, shape: type[msgspec.Struct] | type[Found]) -> Any:
        try:
            return msgspec.json.decode(raw, type=shape)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            because = f"Kubernetes, /{self.kind.path}: what was sent cannot be read, or broke off: {error}"
            raise Retryable(because) from error


def _key(metadata: Metadata) -> Key:
    return metadata.namespace, metadata.name


def _newer(known: Versioned | None, other: Versioned) -> bool:
    return _newer_than(known, other.version)


def _newer_than(known: Versioned | None, version: str) -> bool:
    """Return whether what is known is of a later version. Versions count up for one kind of objects.

    Source: Kubernetes, "API Concepts": they are opaque by promise, and are etcd's revision in every release.
    """
    if known is None or not known.version.isdecimal() or not version.isdecimal():
        return False
    return int(known.version) > int(version)
