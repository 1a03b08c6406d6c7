"""Small files with secrets: written whole, for their owner alone, and read anew when they changed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

OTHERS: Final = 0o077


def write(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Replace a file, or make it. Whoever runs as root leaves it to the owner of its directory, who has to read it.

    Args:
        mode: the file's, whatever the umask is. The default is for secrets.

    Raises:
        OSError: it cannot be written.
    """
    partial, owner = path.with_name(f"{path.name}.partial"), path.parent.stat()
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(content)
        file.flush()
        if os.geteuid() == 0:
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
        os.fsync(descriptor)
    partial.replace(path)


def stamp_of(path: Path) -> tuple[int, ...]:
    """Return what tells one content of a file from another; who replaces it makes another inode."""
    try:
        found = path.stat()
    except OSError as error:
        return (error.errno or -1,)
    return (found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_mode)
