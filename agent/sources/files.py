"""Many small files of sysfs, read by one short-lived process.

A driver whose firmware is dead can hang a read for ever, and a thread that hangs in the kernel makes the whole agent
unkillable. So these reads are left to `grep`, which prints any number of files with their names and is gone after some
milliseconds: a Python child would cost 9 MiB for good. Listing folders is done here, as it asks no driver.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from agent.sources.child import Slot
from agent.sources.tool import Tool
from checks.errors import CannotObserve

GREP: Final = ("--no-messages", "--text", "--with-filename", "--null", "--regexp=", "--")
"""Every line, as `<path> NUL <line>`; what cannot be read is left out. Source: grep(1)."""

MAX_FILES: Final = 8192
"""More are not asked in one go: their names would not fit on a command line (2 MiB; execve(2))."""

_NUMBER = re.compile(r"\d{1,20}", re.ASCII)


class Contents:
    """What files said. One that could not be read, or is empty, says nothing."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        """Hold path → text."""
        self._texts = texts

    def text(self, path: Path) -> str:
        """Return all that the file said."""
        return self._texts.get(str(path), "")

    def line(self, path: Path) -> str:
        """Return the first line, printable characters only."""
        first = self.text(path).partition("\n")[0]
        return "".join(character for character in first if character.isprintable()).strip()

    def number(self, path: Path) -> int | None:
        """Return the number that the file holds; some drivers write `N/A (no PMA)` in place of one."""
        line = self.line(path)
        return int(line) if _NUMBER.fullmatch(line) else None


class FileReader:
    """Reads files in a child of its own."""

    def __init__(self, grep: str, *, make_slot: Callable[[], Slot] = Slot) -> None:
        """Start nothing yet. `grep` is the path of the program."""
        self._grep = Tool(grep, make_slot=make_slot)

    async def read(self, paths: Iterable[Path], *, deadline_s: float) -> Contents:
        """Return what the files say now.

        Raises:
            CannotObserve: a driver does not let go of one of them.
        """
        asked = [str(path) for path in paths]
        if len(asked) > MAX_FILES:
            raise CannotObserve(f"{len(asked)} files in place of at most {MAX_FILES}: {asked[0]} and more")
        if not asked:
            return Contents({})
        ended = await self._grep.run(*GREP, *asked, deadline_s=deadline_s)
        return Contents(parse(ended.text, frozenset(asked)))

    async def close(self) -> None:
        """End what still runs."""
        await self._grep.close()


def parse(printed: str, asked: frozenset[str]) -> dict[str, str]:
    """Return path → text of what grep printed; lines that name no file that was asked for are left out."""
    texts: dict[str, list[str]] = {}
    for line in printed.split("\n"):
        path, separator, text = line.partition("\0")
        if separator and path in asked:
            texts.setdefault(path, []).append(text)
    return {path: "\n".join(lines) for path, lines in texts.items()}


def entries(folder: Path) -> list[Path]:
    """Return what is in a folder, in the order of names; nothing when there is no such folder."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []
