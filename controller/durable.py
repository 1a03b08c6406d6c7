"""Files that are still there, whole, after a kill -9 or a power cut."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def replace(path: Path, content: bytes, *, mode: int | None = None) -> None:
    """Put the content in place of a file: at any moment there is the whole old one or the whole new one.

    Whoever runs as root leaves it to the owner of the one before it, or of its directory, who has to read it.

    Args:
        mode: of the file, that of any new file when it is not given.
    """
    fresh = path.with_name(path.name + ".new")
    try:
        with fresh.open("wb") as file:
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            leave_to_owner(file.fileno(), path)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise
    sync_directory(path.parent)


def append(path: Path, content: bytes) -> None:
    """Put the content at the end of a file, which is made when it is not there. After an error a part may be there."""
    is_new = not path.exists()
    with path.open("ab", buffering=0) as file:
        written = 0
        while written < len(content):
            written += file.write(content[written:])
        os.fsync(file.fileno())
    if is_new:
        sync_directory(path.parent)


def leave_to_owner(descriptor: int, path: Path) -> None:
    """Give an open file that is to be at a path to whom it belongs there, where root has opened it."""
    if os.geteuid() == 0:
        found = (path if path.exists() else path.parent).stat()
        os.fchown(descriptor, found.st_uid, found.st_gid)


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
