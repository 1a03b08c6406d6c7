"""The ranks of a group find each other through files beside their machines, and see when one of them dies.

A group is a folder in the cell's directory, named by its id. Each rank has a file in it that says what it brings, and
holds a lock on it, which the kernel takes away with its process.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from agent.bench.child import Broken, Rendezvous
from agent.simulation.bench.subject import CHUNK_S, Subject
from wire.bench import Rank

FOLDER: Final = "groups"
ID_BYTES: Final = 128
"""Of NCCL's unique id. Source: nccl.h, NCCL_UNIQUE_ID_BYTES."""

NAME_LENGTH: Final = 32
WAIT_S: Final = 60.0
SHARE_OF_LIMIT: Final = 0.5
"""How long the other ranks are waited for: this much at most, and this share of the wish's limit. Source: our choice;
their orders come over the broker within seconds, and each has its gate to pass."""

OLD_S: Final = 600.0
"""A folder that is older is what a group left behind that was killed. Source: our choice, longer than any run."""

_ID = re.compile(rf"[0-9a-f]{{{2 * ID_BYTES}}}")


class Missing(Broken):
    """Ranks never arrived, or died. `nodes`: theirs."""

    def __init__(self, because: str, nodes: tuple[str, ...]) -> None:
        """Keep the nodes."""
        super().__init__(because)
        self.nodes = nodes


class Brought(msgspec.Struct, frozen=True):
    """What a rank adds to its group.

    Attributes:
        share: what is left of its node's own part, from 0 to 1.
        rails: the same of each of its adapters.
        computes_wrong: whether its sums are wrong.
        has_ended: it is through, or gave up; a process that was killed says neither.
    """

    share: float
    rails: tuple[float, ...]
    computes_wrong: bool = False
    has_ended: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """A group that this process is a rank of."""

    folder: Path
    rank: Rank
    subject: Subject
    file: int

    def wait(self) -> tuple[Brought, ...]:
        """Return what each rank brings, as soon as all are there.

        Raises:
            Missing: some never came.
        """
        limit_s = min(WAIT_S, SHARE_OF_LIMIT * self.subject.wish.limit_s)
        until_s = self.subject.monotonic() + limit_s
        while late := [n for n in range(len(self.rank.nodes)) if self._read(n) is None]:
            if self.subject.monotonic() >= until_s:
                nodes = tuple(self.rank.nodes[number] for number in late)
                ranks = "rank" if len(nodes) == 1 else "ranks"
                raise Missing(f"the {ranks} of {', '.join(nodes)} never arrived within {limit_s:.0f} s", nodes)
            self.subject.sleep(CHUNK_S)
        return tuple(filter(None, map(self._read, range(len(self.rank.nodes)))))

    def refuse_dead(self) -> None:
        """Raise if a rank's process is gone before it was through.

        Raises:
            Missing: it is.
        """
        dead = tuple(node for number, node in enumerate(self.rank.nodes) if self._is_dead(number))
        if dead:
            raise Missing(f"the rank of {', '.join(dead)} died in the middle of it", dead)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number}.json"

    def _read(self, number: int) -> Brought | None:
        try:
            return msgspec.json.decode(self._path(number).read_bytes(), type=Brought)
        except (OSError, msgspec.DecodeError):
            return None

    def _is_dead(self, number: int) -> bool:
        if number == self.rank.number or _is_held(self._path(number)):
            return False
        found = self._read(number)
        return found is None or not found.has_ended


@contextlib.contextmanager
def joined(subject: Subject, rank: Rank, brought: Brought) -> Iterator[Group]:
    """Be a rank of a group meanwhile. Rank 0 makes the group, and says its id.

    Raises:
        Broken: the group's id is none.
    """
    unique_id = rank.unique_id or secrets.token_hex(ID_BYTES)
    if not _ID.fullmatch(unique_id) or bool(rank.unique_id) is (rank.number == 0):
        raise Broken(f"rank {rank.number} of a group cannot begin with the id {rank.unique_id!r}")
    groups = subject.directory.parent / FOLDER
    folder = groups / unique_id[:NAME_LENGTH]
    _sweep(groups)
    folder.mkdir(parents=True, exist_ok=True)
    file = os.open(folder / f"{rank.number}.json", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        _write(file, brought)
        if rank.number == 0:
            subject.say(Rendezvous(unique_id))
        yield Group(folder, rank, subject, file)
    finally:
        _write(file, msgspec.structs.replace(brought, has_ended=True))
        os.close(file)
        if not any(_is_held(path) for path in folder.glob("*.json")):
            shutil.rmtree(folder, ignore_errors=True)


def _is_held(path: Path) -> bool:
    """Return whether the process that wrote the file still runs."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _write(file: int, brought: Brought) -> None:
    text = msgspec.json.encode(brought)
    os.pwrite(file, text, 0)
    os.ftruncate(file, len(text))


def _sweep(groups: Path) -> None:
    """Take away what ranks left behind that were killed."""
    for folder in groups.glob("*"):
        with contextlib.suppress(OSError):
            if folder.stat().st_mtime < time.time() - OLD_S:
                shutil.rmtree(folder, ignore_errors=True)
