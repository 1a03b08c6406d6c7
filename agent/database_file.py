"""The file under a SQLite connection: whether it is still the one that was opened, and where one goes that is none.

SQLite goes on with a file that was deleted, replaced or cut short beneath it and says nothing; what it writes from then
on is gone when the connection is closed.
"""

from __future__ import annotations

import contextlib
import sqlite3
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

SIDES: Final = ("", "-wal", "-shm")
"""What the files of one database end in. Source: sqlite.org/wal.html, section 4."""

LASTING: Final = ("", "-wal")
"""Those that hold what was written; neither gets shorter while a connection is open. Source: sqlite.org/wal.html."""

SET_ASIDE_KEPT: Final = 3
"""So many damaged files are kept for a person to look at, the newest ones."""


class Damaged(sqlite3.DatabaseError):
    """The file is not one of ours, or not sound."""


@dataclass(slots=True)
class OpenFile:
    """The files of an open database, as they were last seen: name → device, inode and size."""

    path: Path
    _seen: dict[str, tuple[int, int, int]] = field(default_factory=dict)

    def is_gone(self) -> bool:
        """Return whether one of the files is another than before, or shorter."""
        for side in LASTING:
            now, before = _identity(Path(f"{self.path}{side}")), self._seen.get(side)
            if before is not None and (now is None or now[:2] != before[:2] or now[2] < before[2]):
                return True
            if now is not None:
                self._seen[side] = now
        return False


def why_no_file(path: Path) -> str:
    """Return why no database can ever be here, empty when one is, or may be made."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return ""
    return "" if stat.S_ISREG(mode) else "it is no file"


def is_damage(error: Exception) -> bool:
    """Return whether an error says that the file itself is no good.

    Source: sqlite.org/rescode.html: the low byte is the primary result code.
    """
    if isinstance(error, Damaged):
        return True
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK)
    return (code & 0xFF) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def set_aside(path: Path, number: int) -> Path:
    """Move what is in the way, with what belongs to it, and return where it is; the oldest of these are deleted.

    Raises:
        OSError: it cannot be moved.
    """
    aside = path.with_name(f"{path.name}.damaged-{number}")
    for side in SIDES:
        with contextlib.suppress(FileNotFoundError):
            Path(f"{path}{side}").replace(f"{aside}{side}")
    for old in sorted(path.parent.glob(f"{path.name}.damaged-*[0-9]"))[:-SET_ASIDE_KEPT]:
        for side in SIDES:
            with contextlib.suppress(OSError):
                Path(f"{old}{side}").unlink()
    return aside


def _identity(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size
