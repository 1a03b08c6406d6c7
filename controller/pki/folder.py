"""How the files of an authority are read: with sentences for what is wrong, and no secret that others can read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from wire.files import OTHERS

MAX_FILE_BYTES: Final = 64 << 20
"""Of one file. Source: our choice; a list of 100,000 revoked certificates takes 5 MiB."""


class AuthorityError(Exception):
    """The authority cannot do what was asked; the text is one sentence that says why and names the file."""


def content(path: Path) -> bytes:
    """Return what a file holds.

    Raises:
        AuthorityError: it is not there or cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES)
    except FileNotFoundError as error:
        raise AuthorityError(f"{path} is not there: `fleetmend pki init` makes a certificate authority") from error
    except OSError as error:
        raise AuthorityError(f"{path} cannot be read: {error.strerror}") from error


def secret(path: Path) -> bytes:
    """Return what a file holds that its owner alone may read.

    Raises:
        AuthorityError: it is not there, cannot be read, or can be read by others.
    """
    found = content(path)
    if path.stat().st_mode & OTHERS:
        raise AuthorityError(f"{path} can be read by others than its owner: chmod 600 {path}")
    return found


def leave_to_owner(folder: Path) -> None:
    """Let whoever owns the folder above own this one: root may have made it for them."""
    if os.geteuid() == 0:
        above = folder.parent.stat()
        os.chown(folder, above.st_uid, above.st_gid)
