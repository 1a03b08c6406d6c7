"""Small files with secrets: written whole, for their owner alone."""

from __future__ import annotations

import os
from pathlib import Path


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
    _keep_name(path.parent)


def _keep_name(folder: Path) -> None:
    """Have the disk keep that a file was replaced: a revocation is not to be undone by a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
