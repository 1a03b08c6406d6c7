"""The file systems that matter here: what they are, whether they answer, and the space on them.

Asking a file system for its space can block for ever, on a dead NFS server as on a dying disk. So that is left to
coreutils' `stat -f`, one killable process a file system, all of them at once, which is gone after a millisecond: a
long-lived Python child would cost 9 MiB of the agent's 60 for good.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from agent.sources.child import ChildEnded, Command, DeadlineMissed, Slot, Stuck
from agent.sources.source import Cost, Declaration, Privilege, Surroundings, Timing
from checks.errors import CannotObserve
from checks.filesystems import must_answer
from checks.readings import FilesystemReading, MountsReading

STAT: Final = ("stat", "--file-system", "--format=%S %b %a %c %d", "--")
"""Block size, blocks, blocks that anybody may still use, inodes, free inodes. Source: coreutils manual, `stat`."""


_SPACE = re.compile(r"(\d{1,12}) (\d{1,20}) (\d{1,20}) (\d{1,20}) (\d{1,20})\n", re.ASCII)
_ESCAPE = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Space:
    """What one file system has."""

    total_bytes: int
    free_bytes: int
    total_inodes: int
    free_inodes: int


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of mountinfo. `disk` is the kernel's number of the file system, which its bind mounts share."""

    disk: str
    filesystem: FilesystemReading


AskSpace = Callable[[str, float], Awaitable[Space]]


class StatCommand:
    """Asks for space by `stat`, never twice at once for a mount point that hangs."""

    def __init__(self, command: Sequence[str] = STAT, *, make_slot: Callable[[], Slot] = Slot) -> None:
        """Ask nothing yet. The mount point is the command's last argument."""
        self._command, self._make_slot = tuple(command), make_slot
        self._commands: dict[str, Command] = {}

    def is_stuck(self, mount: str) -> bool:
        """Return whether a process that asked this mount point does not die."""
        return mount in self._commands and self._commands[mount].stuck

    async def __call__(self, mount: str, deadline_s: float) -> Space:
        """Return the space at a mount point.

        Raises:
            CannotObserve: `timeout`, `stuck`, or what the system says about it.
        """
        command = self._commands.setdefault(mount, Command(self._make_slot()))
        try:
            ended = await command.run((*self._command, mount), deadline_s=deadline_s)
        except DeadlineMissed as late:
            raise CannotObserve("timeout") from late
        except Stuck as stuck:
            raise CannotObserve("stuck") from stuck
        except (ChildEnded, OSError) as error:
            raise CannotObserve(str(error)) from error
        return parse_space(ended.text)


class MountsSource:
    """Every file system that a check looks at."""

    name = "mounts"

    def __init__(self, surroundings: Surroundings, timing: Timing, *, ask_space: AskSpace | None = None) -> None:
        """Read nothing yet. `ask_space` gives the space at a mount point, or raises CannotObserve."""
        self.timing = timing
        self._mountinfo = surroundings.procfs / "self/mountinfo"
        self._ask_space = ask_space or StatCommand()
        self._monotonic = surroundings.monotonic

    async def read(self) -> MountsReading:
        """Return one reading.

        Raises:
            CannotObserve: procfs does not answer.
        """
        filesystems = await self._filesystems()
        return MountsReading(self._monotonic(), filesystems)

    async def close(self) -> None:
        """Leave nothing running: between readings nothing does."""

    async def _filesystems(self) -> tuple[FilesystemReading, ...]:
        """Return the file systems that any check looks at; each is asked once, however often it is mounted."""
        try:
            text = self._mountinfo.read_text(errors="replace")
        except OSError as error:
            raise CannotObserve(f"{self._mountinfo}: {error.strerror}") from error
        mounts = [mount for mount in parse_mounts(text) if must_answer(mount.filesystem)]
        asked = {mount.disk: mount.filesystem.mount for mount in reversed(mounts)}
        answers = await asyncio.gather(*(self._ask(mount) for mount in asked.values()))
        by_disk = dict(zip(asked, answers, strict=True))
        return tuple(_with_space(mount.filesystem, by_disk[mount.disk]) for mount in mounts)

    async def _ask(self, mount: str) -> Space | str:
        """Return the space at a mount point, or why it cannot be told."""
        try:
            return await self._ask_space(mount, self.timing.deadline_s / 2)
        except CannotObserve as error:
            return str(error)


SOURCE: Final = Declaration(
    name=MountsSource.name,
    summary="File systems from mountinfo, each asked by a `stat` of its own.",
    reading=MountsReading,
    timing=Timing(interval_s=30.0, fast_interval_s=10.0, deadline_s=10.0),
    cost=Cost.MEDIUM,
    privilege=Privilege.NONE,
    hangs_with="nothing: each file system is asked by a process of its own, which ends at half the deadline",
    make=MountsSource,
)


def _with_space(filesystem: FilesystemReading, answer: Space | str) -> FilesystemReading:
    if isinstance(answer, str):
        return replace(filesystem, unreadable=answer)
    return replace(
        filesystem,
        total_bytes=answer.total_bytes,
        free_bytes=answer.free_bytes,
        total_inodes=answer.total_inodes,
        free_inodes=answer.free_inodes,
    )


def parse_space(text: str) -> Space:
    """Return what `stat` printed.

    Raises:
        CannotObserve: it printed an error in place of numbers.
    """
    match = _SPACE.fullmatch(text)
    if match is None:
        raise CannotObserve(text.rpartition(": ")[2].strip() or "stat said nothing")
    block_bytes, blocks, available, inodes, free_inodes = map(int, match.groups())
    return Space(block_bytes * blocks, block_bytes * available, inodes, free_inodes)


def parse_mounts(text: str) -> list[Mount]:
    """Return the mounts that can be seen: of several at one place the last, which covers the others.

    Read-only is what the file system is, not the mount: a service's sandbox and a bind mount make it look read-only to
    one process. Source: proc_pid_mountinfo(5).
    """
    seen = {mount.filesystem.mount: mount for line in text.splitlines() if (mount := _parse_mount(line)) is not None}
    return list(seen.values())


def _parse_mount(line: str) -> Mount | None:
    fields, of_filesystem = (part.split(" ") for part in f"{line} - ".split(" - ")[:2])
    if len(fields) < 6 or len(of_filesystem) < 3:
        return None
    kind, device, options = of_filesystem[:3]
    is_read_only = "ro" in options.split(",")
    return Mount(fields[2], FilesystemReading(_unescape(fields[4]), _unescape(device), kind, is_read_only))


def _unescape(text: str) -> str:
    return _ESCAPE.sub(lambda octal: chr(int(octal[1], 8)), text)
