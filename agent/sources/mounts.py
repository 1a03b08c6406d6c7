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
from pathlib import Path
from typing import Final

from agent.sources.child import ChildEnded, Command, DeadlineMissed, Slot, Stuck
from agent.sources.mount_table import STOOD_S, Mount, expected, is_lasting, learn_mounts, parse_fstab, parse_mounts
from agent.sources.remembered import texts
from agent.sources.source import Cost, Declaration, Privilege, Surroundings, Timing
from checks.errors import CannotObserve
from checks.filesystems import must_answer
from checks.manifest import Section
from checks.readings import ExpectedMount, FilesystemReading, MountsReading

STAT: Final = ("stat", "--file-system", "--format=%S %b %a %c %d", "--")
"""Block size, blocks, blocks that anybody may still use, inodes, free inodes. Source: coreutils manual, `stat`."""

_SPACE = re.compile(r"(\d{1,12}) (\d{1,20}) (\d{1,20}) (\d{1,20}) (\d{1,20})\n", re.ASCII)


@dataclass(frozen=True, slots=True)
class Space:
    """What one file system has."""

    total_bytes: int
    free_bytes: int
    total_inodes: int
    free_inodes: int


AskSpace = Callable[[str, float], Awaitable[Space]]


class NoAnswer(CannotObserve):
    """A file system did not answer.

    Attributes:
        word: `timeout` or `stuck`.
    """

    def __init__(self, word: str, detail: str) -> None:
        """Say by one word how it failed, and in a sentence what became of the process that asked."""
        super().__init__(detail)
        self.word = word


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
            NoAnswer: it did not come in time, or the one who asked before does not die.
            CannotObserve: what the system says about it.
        """
        command = self._commands.setdefault(mount, Command(self._make_slot()))
        try:
            ended = await command.run((*self._command, mount), deadline_s=deadline_s)
        except DeadlineMissed as late:
            raise NoAnswer("timeout", str(late)) from late
        except Stuck as stuck:
            raise NoAnswer("stuck", str(stuck)) from stuck
        except (ChildEnded, OSError) as error:
            raise CannotObserve(str(error)) from error
        if not command.stuck:
            del self._commands[mount]
        return parse_space(ended.text)


class MountsSource:
    """Every file system that a check looks at."""

    name = "mounts"

    def __init__(self, surroundings: Surroundings, timing: Timing, *, ask_space: AskSpace | None = None) -> None:
        """Read nothing yet. `ask_space` gives the space at a mount point, or raises CannotObserve."""
        self.timing = timing
        self._mountinfo, self._fstab = surroundings.procfs / "self/mountinfo", surroundings.root / "etc/fstab"
        self._ask_space = ask_space or StatCommand()
        self._monotonic = surroundings.monotonic
        self._store, self._approved = surroundings.store(self.name), surroundings.approved
        self._known = texts(self._store.load().get("known_mounts"))
        self._seen_since: dict[str, float] = {}

    async def read(self) -> MountsReading:
        """Return one reading.

        Raises:
            CannotObserve: procfs does not answer.
        """
        mounts = [mount for mount in parse_mounts(_text(self._mountinfo)) if must_answer(mount.filesystem)]
        fstab = parse_fstab(_text(self._fstab) if self._fstab.exists() else "")
        self._learn(mounts, fstab)
        filesystems = await self._asked(mounts)
        return MountsReading(self._monotonic(), filesystems, self._expected(fstab))

    async def close(self) -> None:
        """Leave nothing running: between readings nothing does."""

    def _learn(self, mounts: list[Mount], fstab: frozenset[str]) -> None:
        now = self._monotonic()
        self._seen_since = {
            mount.filesystem.mount: self._seen_since.get(mount.filesystem.mount, now)
            for mount in mounts
            if is_lasting(mount)
        }
        stood = {place for place, since in self._seen_since.items() if now - since >= STOOD_S}
        known = learn_mounts(self._known, mounts, fstab | stood)
        if known != self._known:
            self._known = known
            self._store.save({"known_mounts": known})

    def _expected(self, fstab: frozenset[str]) -> tuple[ExpectedMount, ...]:
        """Return what should be mounted: what was approved wins over what was learnt."""
        approved = self._approved.section(Section.MOUNTS)
        if approved is None:
            return expected(self._known, fstab)
        return tuple(ExpectedMount(each.mount, each.kind, each.mount in fstab) for each in approved.mounts)

    async def _asked(self, mounts: list[Mount]) -> tuple[FilesystemReading, ...]:
        """Return the file systems with what they answer; each is asked once, however often it is mounted."""
        asked = {mount.disk: mount.filesystem.mount for mount in reversed(mounts)}
        answers = await asyncio.gather(*(self._ask(mount) for mount in asked.values()))
        by_disk = dict(zip(asked, answers, strict=True))
        return tuple(_answered(mount.filesystem, by_disk[mount.disk]) for mount in mounts)

    async def _ask(self, mount: str) -> Space | CannotObserve:
        """Return the space at a mount point, or why it cannot be told."""
        try:
            return await self._ask_space(mount, self.timing.deadline_s / 2)
        except CannotObserve as error:
            return error


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


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError as error:
        raise CannotObserve(f"{path}: {error.strerror}") from error


def _answered(filesystem: FilesystemReading, answer: Space | CannotObserve) -> FilesystemReading:
    if isinstance(answer, NoAnswer):
        return replace(filesystem, unreadable=answer.word, detail=str(answer))
    if isinstance(answer, CannotObserve):
        return replace(filesystem, unreadable=str(answer))
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
