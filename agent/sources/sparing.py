"""Counters that cannot be read, left alone for longer and longer.

On an adapter that this host may not query in full (a restricted physical function), every read of a counter fails in
the firmware and writes a line into the kernel log: `ACCESS_REG(0x805) op_mod(0x1) failed`. Read every few seconds, they
would push the lines that matter out of the log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.sources.files import Contents, FileReader

FIRST_PAUSE_S: Final = 300.0
LAST_PAUSE_S: Final = 86_400.0
"""Source: our choice. A file fails for a moment while its adapter resets, and for good on a restricted function: the
pause doubles from the one to the other, which makes about nine lines on the first day and then one a day."""


@dataclass(frozen=True, slots=True)
class Pause:
    """A file that could not be read. `until_s`: monotonic time of the next try."""

    until_s: float
    length_s: float


class SparingReader:
    """Reads files, and of those marked as spared none whose last try failed too recently."""

    def __init__(self, reader: FileReader, monotonic: Callable[[], float]) -> None:
        """Read nothing yet."""
        self._reader, self._monotonic = reader, monotonic
        self._paused: dict[Path, Pause] = {}

    async def read(self, always: Iterable[Path], spared: Iterable[Path], *, deadline_s: float) -> Contents:
        """Return what the files say now; one that is left alone says nothing.

        Raises:
            CannotObserve: a driver does not let go of one of them.
        """
        now, wanted = self._monotonic(), list(spared)
        asked = [path for path in wanted if path not in self._paused or self._paused[path].until_s <= now]
        contents = await self._reader.read([*always, *asked], deadline_s=deadline_s)
        failed = {path for path in asked if not contents.text(path)}
        kept = {path: self._paused[path] for path in wanted if path in self._paused and path not in asked}
        self._paused = kept | {path: self._longer(path, now) for path in failed}
        return contents

    def _longer(self, path: Path, now: float) -> Pause:
        before = self._paused.get(path)
        length_s = min(2 * before.length_s, LAST_PAUSE_S) if before else FIRST_PAUSE_S
        return Pause(now + length_s, length_s)

    async def close(self) -> None:
        """End what still runs."""
        await self._reader.close()
