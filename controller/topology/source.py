"""What every source of places offers to the watch, and how a file's mistakes are told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from controller.policy.places import Places

MAX_PROBLEMS = 20
"""A file whose every line is wrong is one mistake: more lines of error than this help nobody."""

M = TypeVar("M", bound="Map", covariant=True)


class Unreadable(Exception):
    """A source cannot be read, or says what cannot be. The text has one line for each problem, with file and line."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to mend in a file. `line` counts from 1; `key` is the field, empty for the line as a whole."""

    line: int
    key: str
    wrong: str


class Map(Protocol):
    """What a source said, asked node by node."""

    def places_of(self, node: str, guids: Iterable[str]) -> Places:
        """Return where a node stands, nothing when the source does not know it. `guids`: of its RDMA adapters."""
        ...


class Source(Protocol):
    """One that knows where nodes stand."""

    @property
    def name(self) -> str:
        """As in `controller.policy.places.PRECEDENCE`."""
        ...

    @property
    def interval_s(self) -> float:
        """Between two readings."""
        ...

    async def read(self) -> Map:
        """Return what it says now.

        Raises:
            Unreadable: it cannot be asked, or says what cannot be.
        """
        ...


@dataclass(frozen=True, slots=True)
class ByName:
    """A map by node name. A node that is not in it by its full name is looked up by the part before the first dot."""

    nodes: Mapping[str, Places]

    def places_of(self, node: str, guids: Iterable[str] = ()) -> Places:  # noqa: ARG002 - a map's whole question
        """Return where a node stands."""
        return self.nodes.get(node) or self.nodes.get(node.partition(".")[0]) or {}


@dataclass(frozen=True, slots=True)
class Placing:
    """Collects names for nodes.

    Attributes:
        nodes: node → kind → names, in the order in which they came.
    """

    nodes: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)

    def put(self, node: str, kind: str, *names: str) -> None:
        """Place a node, besides where it stands already."""
        places = self.nodes.setdefault(node, {})
        before = places.get(kind, ())
        places[kind] = (*before, *(name for name in names if name not in before))


def told(path: Path, problems: Iterable[Problem]) -> str:
    """Return problems as text, one a line: `file:line: key: what is wrong`."""
    known = sorted(problems, key=lambda each: each.line)
    lines = [f"{path}:{each.line}: " + (f"{each.key}: " if each.key else "") + each.wrong for each in known]
    more = len(lines) - MAX_PROBLEMS
    return "\n".join(lines[:MAX_PROBLEMS] + ([f"{path}: and {more} more"] if more > 0 else []))


class Parse(Protocol[M]):
    """Turns a file's text into a map."""

    def __call__(self, text: str, path: Path) -> M:
        """Return the map.

        Raises:
            Unreadable: with every problem.
        """
        ...


@dataclass(slots=True)
class FileSource(Generic[M]):
    """A file, parsed anew only when it has changed."""

    name: str
    path: Path
    parse: Parse[M]
    interval_s: float = 60.0
    _seen: tuple[int, int, int] | None = None
    _map: M | None = None

    async def read(self) -> M:
        """Return what the file says; in a thread, for a large one takes a second and the cell must not wait.

        Raises:
            Unreadable: it is not there, or what is wrong with it.
        """
        return await asyncio.to_thread(self.load)

    def load(self) -> M:
        """Return what the file says.

        Raises:
            Unreadable: it is not there, or what is wrong with it.
        """
        try:
            at = self.path.stat()
            seen = (at.st_ino, at.st_size, at.st_mtime_ns)
            if self._map is None or seen != self._seen:
                self._map, self._seen = self.parse(self.path.read_text("utf-8"), self.path), seen
        except OSError as error:
            raise Unreadable(f"{self.path}: cannot be read: {error.strerror or error}") from error
        except UnicodeDecodeError as error:
            raise Unreadable(f"{self.path}: not UTF-8: {error}") from error
        return self._map
