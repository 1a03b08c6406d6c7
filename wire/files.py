"""Files that hold secrets: nobody but who needs one may read it, and who uses one sees when it was replaced."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

OTHERS: Final = 0o077
CREDENTIALS: Final = Path("/run/credentials")
"""Below it systemd keeps the credentials of each service. Source: systemd.exec(5), `LoadCredential=`."""

MAX_SECRET_BYTES: Final = 64 << 10
"""Of a password or a key. Source: our choice; neither takes more than some thousand."""


class SecretError(Exception):
    """A secret cannot be used; the text is one sentence that names the file."""


def stamp_of(path: Path) -> tuple[int, ...]:
    """Return what tells one content of a file from another; who replaces it makes another inode."""
    try:
        found = path.stat()
    except OSError as error:
        return (error.errno or -1,)
    return (found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_mode)


def why_open(path: Path, found: os.stat_result) -> str:
    """Return why a secret is none, because others can read it; empty when they cannot."""
    if not found.st_mode & OTHERS or _is_credential(path) or _is_ours_by_group(found):
        return ""
    return f"{path} can be read by others than its owner: chmod 600 {path}"


def read_secret(path: Path) -> str:
    """Return the text of a file that nobody else may read, without white space around it.

    Raises:
        SecretError: it cannot be read, can be read by others, or is no text.
    """
    try:
        check_secret(path)
        with path.open("rb") as file:
            return file.read(MAX_SECRET_BYTES).decode("utf-8").strip()
    except OSError as error:
        raise SecretError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SecretError(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from error


def check_secret(path: Path) -> None:
    """Make sure that a secret is a file, which can be read without waiting, and that nobody else may read it.

    Raises:
        SecretError: it is not so.
        OSError: it cannot be looked at.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise SecretError(f"{path} is no regular file")
    if because := why_open(path, found):
        raise SecretError(because)


def _is_credential(path: Path) -> bool:
    """Return whether systemd made the file for a service; an access list of its own looks like rights of a group."""
    directory = os.environ.get("CREDENTIALS_DIRECTORY", "")
    return path.parent.parent == CREDENTIALS or (bool(directory) and path.parent == Path(directory))


def _is_ours_by_group(found: os.stat_result) -> bool:
    """Return whether a file is root's and its group, which is ours, may do no more than read it.

    Kubernetes gives the files of a Secret to a pod without root in no other way (`fsGroup`, `defaultMode: 0440`).
    """
    is_theirs = found.st_uid == 0 and not found.st_mode & (OTHERS & ~stat.S_IRGRP)
    return is_theirs and os.geteuid() != 0 and found.st_gid in {os.getegid(), *os.getgroups()}
