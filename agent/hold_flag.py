"""The flag file by which a node without a scheduler takes no new work: there while the node is held, gone when not.

Whatever starts work on the node looks at the folder /run/fleetmend before it does. `held` is fleetmend's own hold:

    {"incident":"inc-000007","reason":"GPU 3 has fallen off the bus.","since":1700000000.0,"key":"inc-000007/cordon/1"}

Any other file whose name begins with `held-by-` is somebody else's (`echo memory test > /run/fleetmend/held-by-anna`):
it holds the node just as well, and is never touched here. A copy of `held` lies in the agent's state directory, for
/run does not outlive the boot. Who deletes `held` within a boot gives the node back, and the copy goes, too.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from agent.plain_text import plain, printable
from agent.small_file import read_file
from checks.errors import CannotObserve

FOLDER: Final = "run/fleetmend"
"""Below the host's root."""

OURS: Final = "held"
FOREIGN: Final = "held-by-"
MOST_BYTES: Final = 4_096
"""Of a flag file. Source: our choice; a sentence and some names take a few hundred."""

MOST_LETTERS: Final = 300
READABLE_BY_ALL: Final = 0o644
"""Whatever starts work may run as any user, whatever the agent's umask."""


class Flag(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is in `held`. `since`: Unix time. `boot_id`: of the boot in which it was written or put back."""

    incident: str
    reason: str
    since: float
    key: str = ""
    boot_id: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """Who holds the node: ours, `None` when we do not, and whoever else does, empty when nobody."""

    ours: Flag | None = None
    foreign: str = ""

    @property
    def is_held(self) -> bool:
        """Whether the node is to take no new work."""
        return self.ours is not None or bool(self.foreign)


class HoldFlag:
    """The files of one node's holds."""

    def __init__(self, folder: Path, copy: Path, *, boot_id: Callable[[], str]) -> None:
        """Touch nothing yet.

        Args:
            folder: where the flag files are.
            copy: what outlives a reboot of our own one.
        """
        self.folder = folder
        self._copy, self._boot_id = copy, boot_id

    def look(self) -> Standing:
        """Return who holds the node now, with our own hold put back that a reboot took.

        Raises:
            CannotObserve: nobody can tell.
        """
        try:
            ours, strange = self._ours()
            foreign = [strange, *map(self._foreign, self._foreign_names())]
        except OSError as error:
            raise CannotObserve(f"{error.filename or self.folder}: {error.strerror}") from error
        return Standing(ours, "; ".join(filter(None, foreign))[:MOST_LETTERS])

    def put(self, flag: Flag) -> None:
        """Hold the node. The copy is first: a reboot between the two must not give the node back.

        Raises:
            OSError: it cannot be written.
        """
        content = _content(flag, boot_id=self._boot_id())
        self.folder.mkdir(parents=True, exist_ok=True)
        _replace(self._copy, content)
        _replace(self.folder / OURS, content)

    def take_away(self) -> None:
        """Hold the node no longer. The copy is first: a reboot between the two must not hold the node again.

        Raises:
            OSError: it cannot be taken away.
        """
        self._copy.unlink(missing_ok=True)
        (self.folder / OURS).unlink(missing_ok=True)

    def _ours(self) -> tuple[Flag | None, str]:
        """Return our hold, and what stands in our file when that is not ours.

        Raises:
            OSError: nobody can tell.
        """
        content, kept = _read(self.folder / OURS), _flag(_read(self._copy) or b"")
        if content is not None:
            flag = _flag(content)
            if flag is None:
                return None, f"{OURS}: {_sentence(content)}"
            if flag.boot_id != self._boot_id():
                self._put_back(flag)
            elif kept != flag:
                self._keep(_content(flag))
            return flag, ""
        if kept is None:
            return None, ""
        if kept.boot_id == self._boot_id():
            self._copy.unlink(missing_ok=True)
            return None, ""
        self._put_back(kept)
        return kept, ""

    def _put_back(self, flag: Flag) -> None:
        """Hold the node again after a reboot. The copy is last: a kill between the two must not look as if somebody had
        given the node back.

        Raises:
            OSError: it cannot be written.
        """
        content = _content(flag, boot_id=self._boot_id())
        self.folder.mkdir(parents=True, exist_ok=True)
        _replace(self.folder / OURS, content)
        self._keep(content)

    def _keep(self, content: bytes) -> None:
        """Write the copy. A full disk gives no node back: the next look tries again."""
        with contextlib.suppress(OSError):
            _replace(self._copy, content)

    def _foreign_names(self) -> list[str]:
        if not self.folder.is_dir():
            return []
        return sorted(entry.name for entry in self.folder.iterdir() if entry.name.startswith(FOREIGN))

    def _foreign(self, name: str) -> str:
        """Return who holds the node by this file and why; that it is there counts, whatever is in it."""
        content = b""
        with contextlib.suppress(OSError):
            content = _read(self.folder / name) or b""
        return f"{plain(printable(name.removeprefix(FOREIGN)))}: {_sentence(content)}"


def _content(flag: Flag, *, boot_id: str = "") -> bytes:
    """Return what stands in the file of a hold."""
    return msgspec.json.encode(msgspec.structs.replace(flag, boot_id=boot_id or flag.boot_id)) + b"\n"


def _flag(content: bytes) -> Flag | None:
    try:
        flag = msgspec.json.decode(content, type=Flag)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return flag if flag.incident else None


def _sentence(content: bytes) -> str:
    """Return the first line that says something, so that it can travel."""
    lines = (plain(printable(line)) for line in content.decode("utf-8", "replace").splitlines())
    return next((line[:MOST_LETTERS] for line in lines if line), "no reason given")


def _read(path: Path) -> bytes | None:
    """Return what is in a file, `None` when there is none.

    Raises:
        OSError: it cannot be read.
    """
    try:
        return read_file(path, most_bytes=MOST_BYTES)
    except FileNotFoundError:
        return None


def _replace(path: Path, content: bytes) -> None:
    """Put a file in place whole and for good; its name while it is written is none that holds a node. What lies there,
    a link or a pipe even, is never written into."""
    fresh = path.with_name(f".{path.name}.new")
    try:
        fresh.unlink(missing_ok=True)
        with fresh.open("xb") as file:
            os.fchmod(file.fileno(), READABLE_BY_ALL)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
