"""Small files that people and programs leave for fleetmend: read without ever waiting for them.

A named pipe would keep whoever opens it waiting for ever, and a device has no end. Nobody means either, yet a slip of
the hand must not stop the agent of a host.
"""

from __future__ import annotations

import os
import stat
from errno import EINVAL, EISDIR
from pathlib import Path
from typing import Any, Final

from wire import toml

KINDS: Final = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


class NoToml(Exception):
    """The text says what is wrong with the file, and where; not its name."""


def read_file(path: Path, *, most_bytes: int) -> bytes:
    """Return the first bytes of a file, `most_bytes` at most.

    Raises:
        OSError: it cannot be read, or is no regular file; `strerror` says why.
    """
    _want_file(path, path.stat().st_mode)
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
        return file.read(most_bytes)


def parse_toml(content: bytes, *, most_bytes: int) -> dict[str, Any]:
    """Return the document that the bytes hold.

    Raises:
        NoToml: they are more than `most_bytes`, not UTF-8, or not TOML.
    """
    if len(content) > most_bytes:
        raise NoToml(f"longer than {most_bytes} bytes")
    try:
        return toml.loads(content.decode())
    except UnicodeDecodeError as error:
        raise NoToml(f"not UTF-8: {error.reason} at byte {error.start}") from error
    except ValueError as error:
        raise NoToml(f"not TOML: {error}") from error


def _want_file(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(EISDIR, os.strerror(EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(
            EINVAL, f"it is {KINDS.get(stat.S_IFMT(mode), 'something else')}, and a file is wanted", str(path)
        )
