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
        raise AuthorityError(f"{path} is not there: {_way_to(path)}") from error
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


def is_founded(folder: Path) -> bool:
    """Return whether there is an authority, or was one that gave something out."""
    return (folder / "ca.pem").exists() or (folder / "issued").exists()


def make_private(folder: Path) -> None:
    """Make a folder for its owner alone, if it is not there; that is whoever owns the folder above.

    Root may do this in a folder of the controller's user, who could have put a link there: root would then give that
    user, or fill, whatever it leads to.

    Raises:
        AuthorityError: something else is there.
        OSError: it cannot be made.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise AuthorityError(f"{folder} is no folder, but a link or something else: look who made it") from error
    try:
        if os.geteuid() == 0:
            above = folder.parent.stat()
            os.fchown(descriptor, above.st_uid, above.st_gid)
    finally:
        os.close(descriptor)


def _way_to(missing: Path) -> str:
    if is_founded(missing.parent):
        return "other files of the authority are; put it back from the copy of the folder"
    return "`fleetmend pki init` makes a certificate authority"
